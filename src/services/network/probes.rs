//! Probes: which daemons a host is to probe, what the hosts found, and whether clients could reach a daemon at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Network, Nudge, ServiceError};
use domain::ids::{HostId, ServerId};
use domain::probe::{ProbeReport, ProbeResult, ProbeTarget, TARGETS_EACH, latest};
use domain::server::{AttachmentKey, DaemonState, Port, Protocol};
use domain::text::{HostName, PublicAddress};
use store::StoreError;

/// Whether the last probe of a daemon by another host was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reached {
    /// The host that probed.
    pub by: HostId,
    /// Its name.
    #[serde(skip)]
    pub name: HostName,
    /// When.
    pub at: Timestamp,
    /// Whether a daemon with the server's key answered.
    pub ok: bool,
    /// What came back instead, in words.
    #[schema(example = "no answer within 3 s")]
    pub detail: Option<String>,
    /// The address that was probed.
    pub address: PublicAddress,
    /// At which port.
    pub port: Port,
    /// By which transport.
    pub protocol: Protocol,
}

/// Whether daemons were reached, by server and host.
pub(crate) type Reachability = HashMap<AttachmentKey, Reached>;

/// Whether a daemon that is in this state is meant to answer; a probe of any other tells nothing new.
pub(crate) fn answers(state: DaemonState) -> bool {
    matches!(state, DaemonState::Running | DaemonState::Draining)
}

impl Network<'_> {
    /// Of the targets to choose from, those that a host is to probe: the first of each server whose hosts are online and
    /// say that they serve.
    pub async fn targets_to_probe(self, targets: Vec<ProbeTarget>) -> Result<Vec<ProbeTarget>, ServiceError> {
        if targets.is_empty() {
            return Ok(targets);
        }
        let hosts: BTreeSet<HostId> = targets.iter().map(|target| target.host_id).collect();
        let hosts: Vec<HostId> = hosts.into_iter().collect();
        let keys: Vec<AttachmentKey> = targets.iter().map(key).collect();
        let (statuses, daemons) = tokio::try_join!(
            self.store().hosts().host_statuses(Some(&hosts)),
            self.store().hosts().daemons_named(&keys)
        )?;
        let online = |target: &ProbeTarget| statuses.get(&target.host_id).is_some_and(|status| status.online);
        let serves =
            |target: &ProbeTarget| daemons.iter().any(|daemon| daemon.key == key(target) && answers(daemon.state));
        let mut taken = BTreeMap::<ServerId, usize>::new();
        let mut is_next = |target: &ProbeTarget| {
            let taken = taken.entry(target.server_id).or_default();
            *taken += 1;
            *taken <= TARGETS_EACH
        };
        Ok(targets.into_iter().filter(|target| online(target) && serves(target) && is_next(target)).collect())
    }

    /// Writes down what this host's probes found; `changed` are the hosts with another result than before. `false` if the
    /// cluster has no heartbeat of this host yet.
    pub async fn report_probes(
        self,
        host: HostId,
        results: &[ProbeResult],
        changed: &BTreeSet<HostId>,
    ) -> Result<bool, ServiceError> {
        self.hosts().refuse_displaced()?;
        let told = self.store().network().report_probes(host, results).await?;
        for reports in changed {
            self.nudge(&Nudge::HostChange(*reports));
        }
        Ok(told)
    }

    /// Whether the daemons of the given hosts, or of all, were reached lately.
    pub(crate) async fn reachability(self, hosts: Option<&[HostId]>) -> Result<Reachability, StoreError> {
        Ok(reachability(self.store().network().probes_of(hosts).await?))
    }
}

/// The newest result of each daemon.
pub(crate) fn reachability(reports: Vec<ProbeReport>) -> Reachability {
    let named = |reports: ProbeReport| {
        let ProbeReport { by, name, at, result: ProbeResult { target, ok, detail } } = reports;
        let key = key(&target);
        let ProbeTarget { address, port, protocol, .. } = target;
        (key, Reached { by, name, at, ok, detail, address, port, protocol })
    };
    latest(reports).into_iter().map(named).collect()
}

fn key(target: &ProbeTarget) -> AttachmentKey {
    AttachmentKey { server_id: target.server_id, host_id: target.host_id }
}
