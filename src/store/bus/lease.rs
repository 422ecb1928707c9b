//! Which process does a periodic job: one document per job in `leases`, decided by the server's clock.
//!
//! # Theory of operation
//! A single `findAndModify` acquires and renews. Its pipeline compares `until` with `$$NOW`, so no clock of a host
//! takes part. The holder counts its validity on its own *monotonic* clock from before the request, less a margin,
//! and so believes for a shorter time than the server does. A process that was frozen may still wake up after its
//! lease: each change of holder raises `term`, a fencing number that effects can carry.

use std::time::{Duration, Instant};

use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use crate::connect::REQUEST;
use crate::error::{DUPLICATE_KEY, code};
use crate::{Store, StoreError};

/// The right to do a job, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Raised with every change of holder.
    pub term: i64,
    /// Work must end before this instant, unless the lease is renewed.
    pub valid_until: Instant,
}

impl Lease {
    /// Whether the holder may still act.
    pub fn is_valid(&self) -> bool {
        Instant::now() < self.valid_until
    }
}

#[derive(Deserialize)]
struct LeaseDoc {
    holder: Option<String>,
    term: Option<i64>,
}

impl Store {
    /// Takes the lease of `job`, or renews it, for `ttl`. `holder` is an id of this process instance (not of the
    /// host: two processes may run on one). `None` when another process has it.
    pub async fn take_lease(&self, job: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let asked = Instant::now();
        let leases = self.rows::<LeaseDoc>("leases");
        let take = || {
            leases
                .find_one_and_update(doc! { "_id": job }, take_or_renew(holder, ttl))
                .upsert(true)
                .return_document(ReturnDocument::After)
        };
        let answer = self
            .write(REQUEST, async {
                match take().await {
                    // Two first users at once: the other one made the document.
                    Err(error) if code(&error) == Some(DUPLICATE_KEY) => take().await,
                    answer => answer,
                }
            })
            .await?;
        let held = answer.filter(|lease| lease.holder.as_deref() == Some(holder));
        let validity = ttl.saturating_sub(ttl / 8);
        Ok(held.map(|lease| Lease { term: lease.term.unwrap_or(0), valid_until: asked + validity }))
    }

    /// Gives the lease back, if `holder` has it, so that another process need not wait for its end.
    pub async fn release_lease(&self, job: &str, holder: &str) -> Result<(), StoreError> {
        let leases = self.rows::<Document>("leases");
        let release = vec![doc! { "$set": { "until": "$$NOW" } }, doc! { "$unset": "holder" }];
        self.write(REQUEST, leases.update_one(doc! { "_id": job, "holder": holder }, release)).await?;
        Ok(())
    }
}

/// The pipeline. All expressions of one stage see the values from before it, hence the stage of `_ok`.
fn take_or_renew(holder: &str, ttl: Duration) -> Vec<Document> {
    let holder = doc! { "$literal": holder };
    let ttl = Bson::Int64(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let epoch = DateTime::from_millis(0);
    vec![
        doc! { "$set": { "_ok": { "$or": [
            { "$eq": ["$holder", &holder] },
            { "$lte": [{ "$ifNull": ["$until", epoch] }, "$$NOW"] },
        ] } } },
        doc! { "$set": {
            "term": { "$cond": [
                { "$and": ["$_ok", { "$ne": ["$holder", &holder] }] },
                { "$add": [{ "$ifNull": ["$term", Bson::Int64(0)] }, Bson::Int64(1)] },
                "$term",
            ] },
            "holder": { "$cond": ["$_ok", &holder, "$holder"] },
            "until": { "$cond": ["$_ok", { "$add": ["$$NOW", ttl] }, "$until"] },
        } },
        doc! { "$unset": "_ok" },
    ]
}
