//! How hosts are, read at once: what they say of themselves and of their daemons, and what others saw of them.

use crate::areas::Hosts;
use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};

use crate::StoreError;
use crate::hosts::heartbeat::HOST_STATUS;
use crate::hosts::records::{HostStatus, TroubledDaemon, read_status, read_troubled, status_fields, troubled};
use crate::network::probes::{read_report, results};
use domain::ids::HostId;
use domain::probe::ProbeReport;

/// The conditions of some hosts: heartbeats, probes and daemons with problems.
#[derive(Debug, Default)]
pub struct Conditions {
    /// What each says of itself.
    pub statuses: HashMap<HostId, HostStatus>,
    /// What others saw of them lately.
    pub probes: Vec<ProbeReport>,
    /// Their daemons that are not as they should be.
    pub daemons: Vec<TroubledDaemon>,
}

impl Hosts<'_> {
    /// How the given hosts are, by one query.
    pub async fn conditions(self, hosts: &[HostId]) -> Result<Conditions, StoreError> {
        let ids: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut seen = results(Some(hosts));
        seen.push(doc! { "$project": { "_id": 0, "seen": "$$ROOT" } });
        let daemons = vec![doc! { "$match": troubled(&ids) }, doc! { "$project": { "_id": 0, "daemon": "$$ROOT" } }];
        let pipeline = vec![
            doc! { "$match": { "_id": { "$in": &ids } } },
            doc! { "$project": status_fields() },
            doc! { "$project": { "_id": 0, "status": "$$ROOT" } },
            doc! { "$unionWith": { "coll": HOST_STATUS, "pipeline": seen } },
            doc! { "$unionWith": { "coll": "daemon_status", "pipeline": daemons } },
        ];
        let mut rows = self.rows::<Document>(HOST_STATUS).aggregate(pipeline).await?;
        let mut conditions = Conditions::default();
        while let Some(mut row) = rows.try_next().await? {
            let mut part = |name: &str| match row.remove(name) {
                Some(mongodb::bson::Bson::Document(part)) => Some(part),
                _ => None,
            };
            if let Some(status) = part("status") {
                conditions.statuses.extend(read_status(status));
            } else if let Some(seen) = part("seen") {
                conditions.probes.extend(read_report(seen, Some(hosts)));
            } else if let Some(daemon) = part("daemon") {
                conditions.daemons.extend(read_troubled(daemon));
            }
        }
        Ok(conditions)
    }
}
