//! The tls-crypt-v2 keys of single servers, sealed under the master key.
//!
//! A server begins with the key that the server authority carries for the whole cluster. It gets one of its own when its
//! key is rotated, and a record as soon as there is something to say: that a machine which is no host any more has the key.

use crate::areas::{Network, NetworkChange};
use mongodb::bson::{Binary, DateTime, doc};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, binary, date, timestamp};
use domain::ids::ServerId;
use domain::server::{KeyHolder, ServerKeyFacts};
use domain::text::HostName;
use domain::{Revised, Revision};

/// The key of a server as it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredServerKey {
    /// Whose.
    pub server_id: ServerId,
    /// The key, sealed; none while the server has that of the cluster.
    pub sealed: Option<Vec<u8>>,
    /// What may be known about it.
    pub facts: ServerKeyFacts,
}

impl StoredServerKey {
    /// What is stored of a server that has the key of the cluster.
    pub fn of_cluster(server_id: ServerId) -> Self {
        Self { server_id, sealed: None, facts: ServerKeyFacts::default() }
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct ServerKeyDoc {
    #[serde(rename = "_id")]
    server_id: ServerId,
    rev: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Binary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_at: Option<DateTime>,
    #[serde(default)]
    left_with: Vec<HolderDoc>,
}

#[derive(Serialize, Deserialize)]
struct HolderDoc {
    host_name: HostName,
    removed_at: DateTime,
}

impl Entity for StoredServerKey {
    const COLLECTION: &'static str = "server_keys";
    type Key = ServerId;
    type Doc = ServerKeyDoc;

    fn key(&self) -> ServerId {
        self.server_id
    }

    fn to_doc(&self, rev: Revision) -> ServerKeyDoc {
        let holder =
            |holder: &KeyHolder| HolderDoc { host_name: holder.host_name.clone(), removed_at: date(holder.removed_at) };
        ServerKeyDoc {
            server_id: self.server_id,
            rev: rev.0,
            sealed: self.sealed.as_deref().map(binary),
            rotated_at: self.facts.rotated_at.map(date),
            left_with: self.facts.left_with.iter().map(holder).collect(),
        }
    }

    fn from_doc(doc: ServerKeyDoc) -> Option<Revised<Self>> {
        let holder = |holder: HolderDoc| {
            Some(KeyHolder { host_name: holder.host_name, removed_at: timestamp(holder.removed_at)? })
        };
        let facts = ServerKeyFacts {
            rotated_at: doc.rotated_at.and_then(timestamp),
            left_with: doc.left_with.into_iter().map(holder).collect::<Option<_>>()?,
        };
        let value = Self { server_id: doc.server_id, sealed: doc.sealed.map(|sealed| sealed.bytes), facts };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}

impl Network<'_> {
    /// The keys of all servers of which something is stored.
    pub async fn server_keys(self) -> Result<Vec<StoredServerKey>, StoreError> {
        Ok(self.all(doc! {}).await?.into_iter().map(|found| found.value).collect())
    }
}

impl NetworkChange<'_> {
    /// The keys of all servers of which something is stored.
    pub async fn server_keys(self) -> Result<Vec<StoredServerKey>, StoreError> {
        Ok(self.all_where(doc! {}).await?.into_iter().map(|found| found.value).collect())
    }

    /// Writes down what is to be known of a server's key from now on.
    pub async fn put_server_key(self, key: &StoredServerKey) -> Result<(), StoreError> {
        match self.find::<StoredServerKey>(&key.server_id).await? {
            Some(_) => self.replace(key).await,
            None => self.insert(key).await,
        }
    }
}
