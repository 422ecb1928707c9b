//! Results of probes, as part of what each host says of itself: a host may write its own status and nothing about
//! others.
//!
//! A host writes all its results at once, dated by the database's clock, which also decides which are too old to count.

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
use domain::probe::{FRESH_FOR, MOST_RESULTS, ProbeReport, ProbeResult, ProbeTarget};
use domain::server::{Port, Protocol};
use domain::text::{HostName, PublicAddress};

#[derive(Deserialize)]
struct ReportDoc {
    #[serde(rename = "_id")]
    id: HostId,
    /// None if it is no host any more.
    #[serde(default)]
    name: Option<HostName>,
    #[serde(rename = "looks")]
    results: ResultsDoc,
}

#[derive(Deserialize)]
struct ResultsDoc {
    at: DateTime,
    of: Vec<Document>,
}

#[derive(Serialize, Deserialize)]
struct ResultDoc {
    server_id: ServerId,
    host_id: HostId,
    address: PublicAddress,
    port: Port,
    protocol: Protocol,
    ok: bool,
    #[serde(default)]
    detail: Option<String>,
}

impl ResultDoc {
    fn new(result: &ProbeResult) -> Self {
        let ProbeResult { target: ProbeTarget { server_id, host_id, address, port, protocol }, ok, detail } =
            result.clone();
        Self { server_id, host_id, address, port, protocol, ok, detail }
    }

    fn read(self, by: HostId, name: HostName, at: Timestamp) -> ProbeReport {
        let Self { server_id, host_id, address, port, protocol, ok, detail } = self;
        let target = ProbeTarget { server_id, host_id, address, port, protocol };
        ProbeReport { by, name, at, result: ProbeResult { target, ok, detail } }
    }
}

impl Network<'_> {
    /// Writes the results of a host's probes, in place of those before; no more than [`MOST_RESULTS`]. `false` if the
    /// host has written no heartbeat yet.
    pub async fn report_probes(self, host: HostId, results: &[ProbeResult]) -> Result<bool, StoreError> {
        let docs: Vec<ResultDoc> = results.iter().take(MOST_RESULTS).map(ResultDoc::new).collect();
        let docs = bson::serialize_to_bson(&docs).map_err(mongodb::error::Error::from)?;
        let told = vec![doc! { "$set": { "looks": { "at": "$$NOW", "of": { "$literal": docs } } } }];
        let status = self.rows::<Document>(HOST_STATUS);
        let told = status.update_one(doc! { "_id": host.to_string() }, told).await?;
        Ok(told.matched_count > 0)
    }

    /// The reports about the given hosts, or about all, by hosts that are still there; none that is too old.
    pub async fn probes_of(self, hosts: Option<&[HostId]>) -> Result<Vec<ProbeReport>, StoreError> {
        let status = self.rows::<Document>(HOST_STATUS);
        let rows: Vec<Document> = status.aggregate(results(hosts)).await?.try_collect().await?;
        Ok(rows.into_iter().flat_map(|row| read_report(row, hosts)).collect())
    }
}

/// The pipeline that reads fresh reports about the given hosts, or about all: a row for each host that probed.
pub(crate) fn results(hosts: Option<&[HostId]>) -> Vec<Document> {
    let fresh_for = i64::try_from(FRESH_FOR.as_millis()).unwrap_or(i64::MAX);
    // A time in the future is nobody's.
    let lately = doc! { "$and": [
        { "$gt": ["$looks.at", { "$subtract": ["$$NOW", fresh_for] }] },
        { "$lt": ["$looks.at", { "$add": ["$$NOW", fresh_for] }] },
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

/// The reports of one host about the given hosts, or about all. One that cannot be read must not hide those of others.
pub(crate) fn read_report(row: Document, hosts: Option<&[HostId]>) -> Vec<ProbeReport> {
    let Ok(ReportDoc { id: by, name: Some(name), results }) = bson::deserialize_from_document(row) else {
        return Vec::new();
    };
    let Some(at) = timestamp(results.at) else { return Vec::new() };
    let of = results.of.into_iter().filter_map(|result| bson::deserialize_from_document::<ResultDoc>(result).ok());
    let concerns = |result: &ResultDoc| hosts.is_none_or(|hosts| hosts.contains(&result.host_id));
    of.filter(concerns).map(|result| result.read(by, name.clone(), at)).collect()
}
