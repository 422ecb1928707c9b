//! What is taken away when it has become old.

use crate::areas::{Cluster, ClusterChange};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};

use crate::StoreError;
use crate::entity::{date, timestamp};
use crate::evidence::audit::entry;
use crate::evidence::entry::AUDIT;
use crate::evidence::statements::SIGNED;
use domain::audit::AuditEntry;
use domain::chain::{Cut, NOTHING};
use domain::ids::{ChainId, Id as _, ProfileId, UserId};
use domain::retention::shortened;
use runtime::random;

/// So many rows of a kind are looked at in one round.
const ROUND: i64 = 1000;

/// So many entries of one chain go in one transaction.
const ENTRIES: u64 = 2000;

/// So many chains are cut in one transaction.
const CHAINS: usize = 20;

impl Cluster<'_> {
    /// Deletes the sessions that ended before a moment; answers how many.
    pub async fn delete_ended_sessions(self, before: Timestamp) -> Result<u64, StoreError> {
        let old = doc! { "ended_at": { "$lt": date(before) } };
        Ok(self.access().sessions().delete_many(old).await?.deleted_count)
    }

    /// Leaves of the addresses of sessions that ended before a moment only their networks; answers of how many.
    pub async fn shorten_addresses(self, before: Timestamp) -> Result<u64, StoreError> {
        let old = doc! { "ended_at": { "$lt": date(before) }, "shortened": { "$ne": true } };
        let (sessions, mut count) = (self.access().sessions(), 0);
        loop {
            let found = sessions.find(old.clone()).projection(doc! { "remote_address": 1 }).limit(ROUND);
            let rows: Vec<Document> = found.await?.try_collect().await?;
            if rows.is_empty() {
                return Ok(count);
            }
            for row in &rows {
                let id = row.get("_id").cloned().unwrap_or(Bson::Null);
                let mut set = doc! { "shortened": true };
                if let Some(address) = row.get_str("remote_address").ok().and_then(|text| text.parse().ok()) {
                    set.insert("remote_address", shortened(address).to_string());
                }
                sessions.update_one(doc! { "_id": id }, doc! { "$set": set }).await?;
                count += 1;
            }
        }
    }

    /// Takes users and profiles out of the sessions that ended before a moment, where the user is gone. What was one
    /// profile stays one, under another name that nothing leads to. Answers how many sessions that were.
    pub async fn unname_departed(self, before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
        let old = doc! { "ended_at": { "$lt": date(before) }, "nameless": { "$ne": true } };
        let pipeline = [
            doc! { "$match": &old },
            doc! { "$group": { "_id": { "user_id": "$user_id", "profile_id": "$profile_id" } } },
            doc! { "$lookup": { "from": "users", "localField": "_id.user_id", "foreignField": "_id", "as": "user" } },
            doc! { "$match": { "user": { "$size": 0 } } },
            doc! { "$replaceRoot": { "newRoot": "$_id" } },
        ];
        let gone: Vec<Document> = self.access().sessions().aggregate(pipeline).await?.try_collect().await?;
        let mut count = 0;
        for whose in gone {
            let mut of_theirs = old.clone();
            of_theirs.extend(whose);
            let user = UserId::from_parts(now, random::u128()).to_string();
            let profile = ProfileId::from_parts(now, random::u128()).to_string();
            let set = doc! { "user_id": user, "profile_id": profile, "nameless": true };
            count += self.access().sessions().update_many(of_theirs, doc! { "$set": set }).await?.modified_count;
        }
        Ok(count)
    }

    /// The next cuts of the audit log: for each chain its beginning, as far as it was recorded before a moment.
    pub async fn due_cuts(self, before: Timestamp) -> Result<Vec<Cut>, StoreError> {
        let old = doc! { "link.seq": { "$exists": true }, "at": { "$lt": date(before) } };
        let pipeline = [
            doc! { "$match": old },
            doc! { "$group": { "_id": "$link.chain", "first": { "$min": "$link.seq" }, "last": { "$max": "$link.seq" } } },
            doc! { "$sort": { "_id": 1 } },
        ];
        let rows: Vec<Document> = self.evidence().audit().aggregate(pipeline).await?.try_collect().await?;
        let mut cuts: Vec<Cut> = self.due_cut_before_chains(before).await?.into_iter().collect();
        for row in rows {
            if cuts.len() >= CHAINS {
                break;
            }
            let read = || {
                let places = (row.get_i64("first").ok()?, row.get_i64("last").ok()?);
                Some((row.get_str("_id").ok()?.parse().ok()?, places))
            };
            if let Some((chain, (first, last))) = read() {
                cuts.extend(self.due_cut(chain, first, last, before).await?);
            }
        }
        Ok(cuts)
    }

    async fn due_cut(
        self,
        chain: ChainId,
        first: i64,
        last: i64,
        before: Timestamp,
    ) -> Result<Option<Cut>, StoreError> {
        let of_chain = |seq: Document| doc! { "link.chain": chain.to_string(), "link.seq": seq };
        // Two that were recorded at once may stand in another order than their moments.
        let mut kept = of_chain(doc! { "$exists": true });
        kept.insert("at", doc! { "$gte": date(before) });
        let kept = self.evidence().audit().find_one(kept).sort(doc! { "link.chain": 1, "link.seq": 1 }).await?;
        let kept = kept.map(entry).transpose()?.and_then(|entry| entry.link).map(|link| link.seq);
        let most = i64::try_from(ENTRIES).unwrap_or(i64::MAX);
        let through = kept.map_or(last, |seq| i64::try_from(seq).unwrap_or(i64::MAX) - 1).min(first + most - 1);
        let facts = self.facts_of(of_chain(doc! { "$lte": through })).await?;
        let end = self.evidence().audit().find_one(of_chain(doc! { "$eq": through })).await?.map(entry).transpose()?;
        let cut = |(count, from, to), AuditEntry { link, .. }: AuditEntry| {
            let link = link?;
            Some(Cut { chain: Some(chain), through: link.seq, hash: link.hash, count, from, to })
        };
        Ok(facts.zip(end).and_then(|(facts, end)| cut(facts, end)))
    }

    async fn due_cut_before_chains(self, before: Timestamp) -> Result<Option<Cut>, StoreError> {
        let facts = self.facts_of(before_chains(before)).await?;
        Ok(facts.map(|(count, from, to)| Cut { chain: None, through: 0, hash: NOTHING, count, from, to }))
    }

    /// How many entries, and when the oldest and the newest of them were recorded.
    async fn facts_of(self, filter: Document) -> Result<Option<(u64, Timestamp, Timestamp)>, StoreError> {
        let group = doc! {
            "_id": null, "count": { "$sum": 1_i64 }, "from": { "$min": "$at" }, "to": { "$max": "$at" },
        };
        let pipeline = [doc! { "$match": filter }, doc! { "$group": group }];
        let row: Option<Document> = self.evidence().audit().aggregate(pipeline).await?.try_next().await?;
        let read = |row: Document| {
            let moment = |name| timestamp(*row.get_datetime(name).ok()?);
            Some((row.get_i64("count").ok()?.unsigned_abs(), moment("from")?, moment("to")?))
        };
        Ok(row.and_then(read))
    }
}

/// The entries that no chain holds, recorded before a moment.
fn before_chains(before: Timestamp) -> Document {
    doc! { "link": Bson::Null, "at": { "$lt": date(before) } }
}

impl ClusterChange<'_> {
    /// Deletes what a cut names; `before` is the moment that it was made for.
    pub async fn delete_cut(self, cut: &Cut, before: Timestamp) -> Result<(), StoreError> {
        let Some(chain) = cut.chain else {
            return self.delete_rows(AUDIT, before_chains(before)).await.map(drop);
        };
        let through = i64::try_from(cut.through).map_err(StoreError::unexpected)?;
        let beginning = doc! { "link.chain": chain.to_string(), "link.seq": { "$lte": through } };
        self.delete_rows(AUDIT, beginning).await?;
        // If a chain of which nothing is left grows again, it is signed for again.
        let whole = doc! { "_id": chain.to_string(), "head.seq": { "$lte": through } };
        self.delete_rows(SIGNED, whole).await.map(drop)
    }
}
