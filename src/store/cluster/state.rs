//! The one document of `cluster`: who the cluster is, how far its policy has come, and whether it may change now.

use crate::areas::{Cluster, ClusterChange};
use jiff::Timestamp;
use mongodb::bson::{Document, RawDocumentBuf, doc};

use crate::StoreError;
use crate::entity::{binary, date};
use crate::pause::{Pause, pause};
use domain::Revision;
use domain::ids::HostId;

/// What the cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Its id, which never changes.
    pub id: String,
    /// Its revision.
    pub revision: Revision,
    /// Whether it is paused.
    pub paused: Option<Pause>,
}

impl Cluster<'_> {
    /// The public key that hosts seal their requests to; `None` before a process with the master key has run.
    pub async fn request_key(self) -> Result<Option<[u8; 32]>, StoreError> {
        let cluster = self.rows::<Document>("cluster").find_one(doc! { "_id": "cluster" }).await?;
        let key = cluster.as_ref().and_then(|cluster| cluster.get_binary_generic("request_key").ok());
        Ok(key.and_then(|key| key.as_slice().try_into().ok()))
    }

    /// Says to which key requests are sealed from now on.
    pub async fn publish_request_key(self, key: &[u8; 32]) -> Result<(), StoreError> {
        let (other, set) = (doc! { "$ne": binary(key) }, doc! { "request_key": binary(key) });
        let cluster = self.rows::<Document>("cluster");
        cluster.update_one(doc! { "_id": "cluster", "request_key": other }, doc! { "$set": set }).await?;
        Ok(())
    }

    /// What the cluster says of itself.
    pub async fn cluster_facts(self) -> Result<ClusterFacts, StoreError> {
        let cluster = self.rows::<RawDocumentBuf>("cluster");
        let found = cluster.find_one(doc! { "_id": "cluster" }).await?;
        let read = |found: RawDocumentBuf| {
            Some(ClusterFacts {
                id: found.get_str("id").ok()?.to_owned(),
                revision: Revision(found.get_i64("revision").ok()?),
                paused: pause(&found),
            })
        };
        found.and_then(read).ok_or_else(|| StoreError::corrupt("cluster", "cluster"))
    }

    /// Writes down that a host has stopped recording sessions for this pause.
    pub async fn confirm_pause(self, host: HostId, pause: Revision) -> Result<(), StoreError> {
        let status = self.rows::<Document>("host_status");
        let set = doc! { "$set": { "paused_rev": pause.0 } };
        status.update_one(doc! { "_id": host.to_string() }, set).await?;
        Ok(())
    }

    /// The hosts that have confirmed this pause.
    pub async fn confirmed_pause(self, pause: Revision) -> Result<Vec<HostId>, StoreError> {
        use futures_util::TryStreamExt as _;
        let status = self.rows::<Document>("host_status");
        let rows: Vec<Document> = status.find(doc! { "paused_rev": pause.0 }).await?.try_collect().await?;
        Ok(rows.iter().filter_map(|row| row.get_str("_id").ok()?.parse().ok()).collect())
    }
}

impl ClusterChange<'_> {
    /// From the commit of this change on, nothing but the pause itself may change.
    pub async fn pause(self, since: Timestamp) -> Result<Pause, StoreError> {
        let pause = Pause { rev: self.rev(), since };
        self.update_cluster(doc! { "$set": { "paused": { "rev": pause.rev.0, "since": date(since) } } }).await?;
        Ok(pause)
    }

    /// From the commit of this change on, all may change again.
    pub async fn resume(self) -> Result<(), StoreError> {
        self.update_cluster(doc! { "$unset": { "paused": "" } }).await
    }
}
