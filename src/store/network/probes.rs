//! What hosts saw when they looked at each other, as part of what each says of itself: a host may write its own status
//! and nothing about others.
//!
//! A host writes all its looks at once, dated by the database's clock, which also decides which are too old to count.

use crate::areas::Network;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::bson;
use mongodb::bson::{DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity as _, timestamp};
use crate::hosts::heartbeat::HOST_STATUS;
use domain::host::Host;
use domain::ids::{HostId, ServerId};
use domain::look::{Door, GOOD_FOR, Look, MOST_LOOKS, Seen};
use domain::server::{Port, Protocol};
use domain::text::{HostName, PublicAddress};

#[derive(Deserialize)]
struct LookerDoc {
    #[serde(rename = "_id")]
    id: HostId,
    /// None if it is no host any more.
    #[serde(default)]
    name: Option<HostName>,
    looks: LooksDoc,
}

#[derive(Deserialize)]
struct LooksDoc {
    at: DateTime,
    of: Vec<Document>,
}

#[derive(Serialize, Deserialize)]
struct LookDoc {
    server_id: ServerId,
    host_id: HostId,
    address: PublicAddress,
    port: Port,
    protocol: Protocol,
    ok: bool,
    #[serde(default)]
    detail: Option<String>,
}

impl LookDoc {
    fn new(look: &Look) -> Self {
        let Look { door: Door { server_id, host_id, address, port, protocol }, ok, detail } = look.clone();
        Self { server_id, host_id, address, port, protocol, ok, detail }
    }

    fn read(self, by: HostId, name: HostName, at: Timestamp) -> Seen {
        let Self { server_id, host_id, address, port, protocol, ok, detail } = self;
        let door = Door { server_id, host_id, address, port, protocol };
        Seen { by, name, at, look: Look { door, ok, detail } }
    }
}

impl Network<'_> {
    /// Says what a host saw of others, in place of what it saw before; no more than [`MOST_LOOKS`]. `false` if it has not
    /// said yet that it is alive.
    pub async fn report_looks(self, host: HostId, looks: &[Look]) -> Result<bool, StoreError> {
        let docs: Vec<LookDoc> = looks.iter().take(MOST_LOOKS).map(LookDoc::new).collect();
        let docs = bson::serialize_to_bson(&docs).map_err(mongodb::error::Error::from)?;
        let told = vec![doc! { "$set": { "looks": { "at": "$$NOW", "of": { "$literal": docs } } } }];
        let status = self.rows::<Document>(HOST_STATUS);
        let told = status.update_one(doc! { "_id": host.to_string() }, told).await?;
        Ok(told.matched_count > 0)
    }

    /// What was seen lately of the given hosts, or of all, by hosts that are still there.
    pub async fn looks_at(self, hosts: Option<&[HostId]>) -> Result<Vec<Seen>, StoreError> {
        let status = self.rows::<Document>(HOST_STATUS);
        let rows: Vec<Document> = status.aggregate(looks(hosts)).await?.try_collect().await?;
        Ok(rows.into_iter().flat_map(|row| read_looks(row, hosts)).collect())
    }
}

/// What reads what was seen lately of the given hosts, or of all: a row for each host that looked.
pub(crate) fn looks(hosts: Option<&[HostId]>) -> Vec<Document> {
    let good_for = i64::try_from(GOOD_FOR.as_millis()).unwrap_or(i64::MAX);
    // A time in the future is nobody's.
    let lately = doc! { "$and": [
        { "$gt": ["$looks.at", { "$subtract": ["$$NOW", good_for] }] },
        { "$lt": ["$looks.at", { "$add": ["$$NOW", good_for] }] },
    ] };
    let mut filter = doc! { "$expr": lately };
    if let Some(hosts) = hosts {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        filter.insert("looks.of.host_id", doc! { "$in": hosts });
    }
    vec![
        doc! { "$match": filter },
        doc! { "$lookup": { "from": Host::COLLECTION, "localField": "_id", "foreignField": "_id", "as": "host" } },
        doc! { "$project": { "looks": 1, "name": { "$first": "$host.name" } } },
    ]
}

/// What one host saw of the given hosts, or of all. What it wrote and nobody can read must not hide what others saw.
pub(crate) fn read_looks(row: Document, hosts: Option<&[HostId]>) -> Vec<Seen> {
    let Ok(LookerDoc { id: by, name: Some(name), looks }) = bson::deserialize_from_document(row) else {
        return Vec::new();
    };
    let Some(at) = timestamp(looks.at) else { return Vec::new() };
    let of = looks.of.into_iter().filter_map(|look| bson::deserialize_from_document::<LookDoc>(look).ok());
    let concerns = |look: &LookDoc| hosts.is_none_or(|hosts| hosts.contains(&look.host_id));
    of.filter(concerns).map(|look| look.read(by, name.clone(), at)).collect()
}
