//! The one read that keeps a snapshot up to date: everything that changed after a revision.
//!
//! One aggregation with read concern *snapshot* reads the cluster's revision and, from each policy collection, what is
//! newer than the revision that the reader has: all as of one moment, in one round trip. From revision zero it reads
//! everything, so a process that starts and one that follows take the same road.

use crate::areas::Access;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;

use crate::StoreError;
use crate::access::change::{Files, change};
use crate::entity::Entity;
use crate::pause::pause;
use domain::Revision;
use domain::access::Change;
use domain::host::Host;
use domain::server::{Attachment, Server};
use domain::settings::Settings;

/// Tombstones are kept for 30 days; a reader that has not read for longer than this reads everything.
pub const DELTA_REACH: Duration = Duration::from_hours(7 * 24);

/// What changed.
#[derive(Debug)]
pub struct Delta {
    /// The revision up to which it is complete.
    pub revision: Revision,
    /// The timeline that the revision is of; each restore begins another.
    pub timeline: String,
    /// The revision with which the cluster was paused, if it is.
    pub paused: Option<Revision>,
    /// The documents, each in its newest form.
    pub changes: Vec<Change>,
}

impl Access<'_> {
    /// The cluster's revision.
    pub async fn revision(self) -> Result<Revision, StoreError> {
        let cluster = self.rows::<Document>("cluster").find_one(doc! { "_id": "cluster" }).await?;
        let missing = || StoreError::corrupt("cluster", "cluster");
        cluster.as_ref().and_then(|cluster| cluster.get_i64("revision").ok()).map(Revision).ok_or_else(missing)
    }

    /// The cluster's id, which never changes.
    pub async fn cluster_id(self) -> Result<String, StoreError> {
        let cluster = self.rows::<Document>("cluster").find_one(doc! { "_id": "cluster" }).await?;
        let missing = || StoreError::corrupt("cluster", "cluster");
        cluster.as_ref().and_then(|cluster| cluster.get_str("id").ok()).map(str::to_owned).ok_or_else(missing)
    }

    /// All that changed after `since`.
    pub async fn changes_since(self, since: Revision) -> Result<Delta, StoreError> {
        let newer = |projection: Option<Document>, kind: &str| {
            let mut steps = vec![doc! { "$match": { "rev": { "$gt": since.0 } } }];
            steps.extend(projection.map(|fields| doc! { "$project": fields }));
            steps.push(doc! { "$set": { "_kind": kind } });
            steps
        };
        let user = doc! { "organization_id": 1, "groups": 1, "disabled": 1 };
        let profile = doc! {
            "user_id": 1, "server_id": 1, "address": 1, "state": 1, "expires_at": 1, "fingerprint": 1, "written_for": 1,
        };
        let mut pipeline = vec![
            doc! { "$match": { "_id": "cluster" } },
            doc! { "$project": { "revision": 1, "timeline": 1, "paused": 1, "_kind": "cluster" } },
        ];
        for (collection, projection) in [
            ("users", Some(user)),
            ("profiles", Some(profile)),
            (Server::COLLECTION, None),
            (Host::COLLECTION, None),
            (Attachment::COLLECTION, None),
            (Settings::COLLECTION, None),
            // Nothing that was ever read can be gone for who has read nothing.
            ("tombstones", None),
        ] {
            if collection != "tombstones" || since > Revision(0) {
                let steps = newer(projection, collection);
                pipeline.push(doc! { "$unionWith": { "coll": collection, "pipeline": steps } });
            }
        }
        let cluster = self.rows::<RawDocumentBuf>("cluster");
        let mut rows = cluster
            .aggregate(pipeline)
            .read_concern(ReadConcern::snapshot())
            .batch_size(5_000)
            .with_type::<RawDocumentBuf>()
            .await?;
        let mut delta = Delta { revision: Revision(-1), timeline: String::new(), paused: None, changes: Vec::new() };
        let mut files = Files::default();
        while let Some(row) = rows.try_next().await? {
            take(&row, &mut files, &mut delta)?;
        }
        if delta.revision < Revision(0) {
            return Err(StoreError::corrupt("cluster", "cluster"));
        }
        Ok(delta)
    }
}

fn take(row: &RawDocumentBuf, files: &mut Files, delta: &mut Delta) -> Result<(), StoreError> {
    let kind = row.get_str("_kind").unwrap_or_default();
    if kind == "cluster" {
        delta.revision = Revision(row.get_i64("revision").unwrap_or(-1));
        row.get_str("timeline").unwrap_or_default().clone_into(&mut delta.timeline);
        delta.paused = pause(row).map(|pause| pause.rev);
    } else {
        delta.changes.extend(change(kind, row, files)?);
    }
    Ok(())
}
