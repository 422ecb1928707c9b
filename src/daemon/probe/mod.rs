//! Probes other hosts of the servers that run here, as a client would reach them: a firewall in front of a machine is
//! noticed from outside or not at all.
//!
//! About once a minute, and soon after the ring of hosts or one of their daemons changed, each server's next two hosts of
//! the ring are probed. While one of them does not answer, all are probed more often, so that its return is known soon.
//! The results go into this host's own status, and into its metrics.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Here, within};
use domain::access::Snapshot;
use domain::ids::{HostId, ServerId};
use domain::probe::{MOST_RESULTS, ProbeResult, ProbeTarget, targets};
use futures_util::{StreamExt as _, stream};
use metrics::catalogue::{CANARY_SECONDS, PROBE_SECONDS};
use openvpn::probe::Probe;
use runtime::random;
use runtime::reconcile::{Done, Failure, Outcome, Reconciler, Task, Work};
use services::network::attachments::{visiting_key, wanted};
use services::{BusMessage, Nudge, Subscription};

/// A minute to a minute and a quarter between two rounds, so that hosts which started together do not probe together.
/// Changes rarely come alone, and however much changes, there are some seconds between two rounds.
const TASK: Task = Task::new(
    "reachability",
    "Probes whether other hosts of the same servers can be reached from here.",
    Duration::from_secs(75),
)
.jitter(0.2)
.deadline(Duration::from_mins(1))
.gather(Duration::from_secs(1))
.distance(Duration::from_secs(5))
.quiet();
/// Between two rounds while a target is not reached.
const RETRY_PERIOD: Duration = Duration::from_secs(15);
/// So many targets are probed at once.
const AT_ONCE: usize = 16;
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// Starts the task.
pub(super) fn start(here: &Arc<Here>, bus: Subscription, tasks: &Reconciler) {
    let (host, there) = (here.host, Arc::clone(here));
    let wants = move |message: &BusMessage| concerns(&candidates(&there.admission.snapshot(), host), message);
    tasks
        .start(TASK, Prober { here: Arc::clone(here), last: LastResults::new() })
        .wake_on_change_of(here.admission.watch(), move |snapshot| candidates(snapshot, host))
        .wake_by(|nudge| bus.wake(nudge, wants));
}

/// The targets to choose from, by the policy.
fn candidates(snapshot: &Snapshot, host: HostId) -> Vec<ProbeTarget> {
    let servers = wanted(snapshot, host).map(|(server, _)| server.id);
    servers.flat_map(|server| targets(snapshot, host, server)).collect()
}

/// Whether a message is about a daemon that is one of the targets.
fn concerns(targets: &[ProbeTarget], message: &BusMessage) -> bool {
    let BusMessage::Nudge(event) = message else { return false };
    let Some(Nudge::DaemonChange(key)) = Nudge::read(event) else { return false };
    targets.iter().any(|target| daemon_of(target) == (key.server_id, key.host_id))
}

struct Prober {
    here: Arc<Here>,
    /// The last results that the cluster has.
    last: LastResults,
}

impl Work for Prober {
    async fn run(&mut self) -> Outcome {
        let here = Arc::clone(&self.here);
        let targets = candidates(&here.admission.snapshot(), here.host);
        let targets = match within(LIMIT, here.services.network().targets_to_probe(targets)).await {
            Ok(targets) => targets,
            Err(error) => {
                here.registry.set_probes(Vec::new());
                return Err(error.into());
            }
        };
        let results = probe_all(&here, targets).await;
        let unreached = results.iter().filter(|result| !result.ok).count();
        let reported = self.report(&here, &results).await;
        let done = match (results.len(), unreached) {
            (0, _) => Done::default(),
            (all, 0) => Done::saying(format!("Other hosts that were reached: {all} of {all}.")),
            (all, unreached) => {
                let reached = format!("Other hosts that were reached: {} of {all}.", all - unreached);
                Done::saying(reached).again_in(RETRY_PERIOD)
            }
        };
        here.registry.set_probes(results);
        reported.map(|()| done)
    }
}

impl Prober {
    /// Writes the results to the cluster, and those that differ from before to the log.
    async fn report(&mut self, here: &Here, results: &[ProbeResult]) -> Result<(), Failure> {
        let last: LastResults = results.iter().map(|result| (daemon_of(&result.target), result.ok)).collect();
        if last.is_empty() && self.last.is_empty() {
            return Ok(());
        }
        let changed = changed(&self.last, &last);
        for result in results.iter().filter(|result| changed.contains(&daemon_of(&result.target))) {
            let ProbeResult { target: ProbeTarget { server_id, host_id, address, .. }, ok, detail } = result;
            if !ok {
                tracing::warn!(event = "probe.unreached", server.id = %server_id, host.id = %host_id, %address, detail,
                    "another host of a server cannot be reached");
            } else if self.last.contains_key(&daemon_of(&result.target)) {
                tracing::info!(event = "probe.reached", server.id = %server_id, host.id = %host_id, %address,
                    "another host of a server is reached again");
            }
        }
        let changed = changed.into_iter().map(|(_, host)| host).collect();
        if within(LIMIT, here.services.network().report_probes(here.host, results, &changed)).await? {
            self.last = last;
        }
        Ok(())
    }
}

/// Which server on which host.
type Daemon = (ServerId, HostId);
/// Whether each daemon was reached.
type LastResults = BTreeMap<Daemon, bool>;

fn daemon_of(target: &ProbeTarget) -> Daemon {
    (target.server_id, target.host_id)
}

/// The daemons with another result than before.
fn changed(before: &LastResults, now: &LastResults) -> BTreeSet<Daemon> {
    now.iter().filter(|(daemon_of, ok)| before.get(daemon_of) != Some(ok)).map(|(daemon_of, _)| *daemon_of).collect()
}

/// Probes the targets. One that cannot be probed, since its key is not here, is left out.
async fn probe_all(here: &Here, targets: Vec<ProbeTarget>) -> Vec<ProbeResult> {
    let snapshot = here.admission.snapshot();
    let results = targets.into_iter().take(MOST_RESULTS).map(|target| probe_one(here, &snapshot, target));
    let results: Vec<Option<ProbeResult>> = stream::iter(results).buffered(AT_ONCE).collect().await;
    results.into_iter().flatten().collect()
}

async fn probe_one(here: &Here, snapshot: &Snapshot, target: ProbeTarget) -> Option<ProbeResult> {
    let probe = probe_of(here, snapshot, target.server_id)?;
    let outcome = wire::run(&target, &probe).await;
    if let Ok(took) = outcome {
        for metric in [&PROBE_SECONDS, &CANARY_SECONDS] {
            here.services.metrics().observe(metric, [], took.as_secs_f64());
        }
    }
    Some(ProbeResult { target, ok: outcome.is_ok(), detail: outcome.err().map(|why| why.to_string()) })
}

/// A client's first packet for a server; none before this host was given the server's key.
fn probe_of(here: &Here, snapshot: &Snapshot, server: ServerId) -> Option<Probe> {
    let (_, attachment) = wanted(snapshot, here.host).find(|(wanted, _)| wanted.id == server)?;
    let bundle = visiting_key(&here.key, attachment)
        .inspect_err(|error| {
            tracing::warn!(event = "probe.no_key", server.id = %server, %error, "the key of a server cannot be used");
        })
        .ok()??;
    let seconds = u32::try_from(here.services.now().as_second()).unwrap_or_default();
    Probe::new(bundle.expose(), random::bytes(), seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::id;

    #[test]
    fn only_what_is_seen_otherwise_than_before_is_news() {
        let last = |ok| BTreeMap::from([((id(1), id(7)), true), ((id(1), id(8)), ok)]);
        assert_eq!(changed(&BTreeMap::new(), &last(true)), [(id(1), id(7)), (id(1), id(8))].into());
        assert_eq!(changed(&last(true), &last(false)), [(id(1), id(8))].into());
        assert!(changed(&last(false), &last(false)).is_empty());
    }
}
