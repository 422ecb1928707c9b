//! Which hosts could not run a server because its network is one that they need, by what they reported of themselves.
//!
//! It is a warning and no refusal: what a host reported may be out of date, and the host itself looks again before it
//! starts a daemon.

use std::collections::HashSet;

use crate::{Act, Hosts, ServiceError};
use domain::host_network::HostNetwork;
use domain::ids::HostId;
use domain::server::Server;

/// So many hosts are named; the others are counted.
const NAMED: usize = 5;

impl Hosts<'_> {
    /// Warns whoever acts of each host that needs the network of `server`: of this one host, of those that are attached
    /// to the server, or, while none is, of all.
    ///
    /// What was to be done is done by then, so a failure to find out is none of the act.
    pub(crate) async fn warn_of_collisions(self, act: &Act, server: &Server, only: Option<HostId>) {
        if let Err(error) = self.find_collisions(act, server, only).await {
            tracing::warn!(event = "server.networks_uncompared", server.id = %server.id,
                error = &error as &dyn std::error::Error, "a server's network was not compared with those of the hosts");
        }
    }

    async fn find_collisions(self, act: &Act, server: &Server, only: Option<HostId>) -> Result<(), ServiceError> {
        let attached: HashSet<HostId> = match only {
            Some(host) => [host].into(),
            None => self
                .store()
                .network()
                .attachments_of(server.id)
                .await?
                .into_iter()
                .map(|found| found.value.host_id)
                .collect(),
        };
        let concerns = |host: &HostId| attached.is_empty() || attached.contains(host);
        let statuses = self.store().hosts().host_statuses(None).await?;
        let mut found: Vec<(HostId, String)> = statuses
            .iter()
            .filter(|(host, _)| concerns(host))
            .filter_map(|(host, status)| {
                let needed = HostNetwork::first_in(&status.networks, server.network)?;
                Some((*host, needed.collision(server.network)))
            })
            .collect();
        found.sort();
        let names = self.store().hosts().host_names(&found.iter().map(|(host, _)| *host).collect::<Vec<_>>()).await?;
        // What reported and is no host any more has no name.
        found.retain(|(host, _)| names.contains_key(host));
        for (host, collision) in found.iter().take(NAMED) {
            let name = names.get(host).map(ToString::to_string).unwrap_or_default();
            act.warn(format!("host {name} cannot run this server: {collision}"));
        }
        if let Some(more) = found.len().checked_sub(NAMED).filter(|more| *more > 0) {
            act.warn(format!("{more} more hosts cannot run this server, for reasons of the same kind"));
        }
        Ok(())
    }
}
