//! Hosts that were removed: by whose keys nobody becomes a host again.
//!
//! What a removed host reported about itself, and its database user, outlive it for a moment: it is to learn that it was
//! removed, and may write down how its sessions ended.

use crate::areas::{Hosts, HostsChange};
use mongodb::Collection;
use mongodb::bson::{Binary, DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, binary, date, timestamp};
use domain::host::RemovedHost;
use domain::ids::HostId;
use domain::text::HostName;
use domain::{Revised, Revision};

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct RemovedHostDoc {
    #[serde(rename = "_id")]
    id: HostId,
    rev: i64,
    name: HostName,
    public_key: Binary,
    removed_at: DateTime,
    /// Whether all that outlived it is gone too.
    #[serde(default)]
    cleared: bool,
}

impl Entity for RemovedHost {
    const COLLECTION: &'static str = "removed_hosts";
    type Key = HostId;
    type Doc = RemovedHostDoc;

    fn key(&self) -> HostId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> RemovedHostDoc {
        RemovedHostDoc {
            id: self.id,
            rev: rev.0,
            name: self.name.clone(),
            public_key: binary(&self.public_key),
            removed_at: date(self.removed_at),
            cleared: false,
        }
    }

    fn from_doc(doc: RemovedHostDoc) -> Option<Revised<Self>> {
        let value = Self {
            id: doc.id,
            name: doc.name,
            public_key: doc.public_key.bytes.try_into().ok()?,
            removed_at: timestamp(doc.removed_at)?,
        };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}

fn by_key(public_key: &[u8; 32]) -> Document {
    doc! { "public_key": binary(public_key) }
}

impl Hosts<'_> {
    /// The removed host that had this key.
    pub async fn find_removed_host(self, public_key: &[u8; 32]) -> Result<Option<RemovedHost>, StoreError> {
        Ok(self.all::<RemovedHost>(by_key(public_key)).await?.pop().map(|found| found.value))
    }

    /// The removed hosts of which something is left.
    pub async fn uncleared_hosts(self) -> Result<Vec<RemovedHost>, StoreError> {
        Ok(self.all::<RemovedHost>(doc! { "cleared": false }).await?.into_iter().map(|found| found.value).collect())
    }

    /// Forgets what a removed host reported about itself and its daemons; its sessions are over.
    pub async fn clear_reports(self, host: HostId) -> Result<(), StoreError> {
        self.access().end_other_sessions(host, &[]).await?;
        let reports = |name| -> Collection<Document> { self.rows(name) };
        reports("daemon_status").delete_many(doc! { "host_id": host.to_string() }).await?;
        reports("host_status").delete_one(doc! { "_id": host.to_string() }).await?;
        Ok(())
    }

    /// Notes that nothing is left of a removed host.
    pub async fn mark_cleared(self, host: HostId) -> Result<(), StoreError> {
        let removed: Collection<Document> = self.rows(RemovedHost::COLLECTION);
        removed.update_one(doc! { "_id": host.to_string() }, doc! { "$set": { "cleared": true } }).await?;
        Ok(())
    }
}

impl HostsChange<'_> {
    /// The removed host that had this key.
    pub async fn removed_host(self, public_key: &[u8; 32]) -> Result<Option<RemovedHost>, StoreError> {
        Ok(self.find_where::<RemovedHost>(by_key(public_key)).await?.map(|found| found.value))
    }
}
