//! Tells the cluster how this host's daemons are, as soon as that changes, and in periods what its sessions have
//! transferred.
//!
//! Other hosts can write where this one reports, so it looks in periods whether what stands there is its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::registry::{Registry, Report};
use super::{Here, within};
use domain::ids::SessionId;
use runtime::reconcile::{Done, Failure, Outcome, Reconciler, Task, Work};

const COUNTERS: Task =
    Task::new("traffic-counters", "Writes down what sessions have transferred.", Duration::from_secs(30)).quiet();
const REPORTS: Task = Task::new("daemon-reports", "Tells the cluster how this host's daemons are.", PERIOD)
    .retry(Duration::from_millis(200), Duration::from_secs(5))
    .closing(Duration::from_secs(2))
    .quiet();
/// How often is looked whether something is unwritten without a change.
const PERIOD: Duration = Duration::from_secs(30);
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// Starts both tasks.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler) {
    tasks.start(COUNTERS, Traffic { here: Arc::clone(here), written: Counters::new() });
    let shared = Arc::clone(here);
    tasks.start(REPORTS, Reports { here: Arc::clone(here), compared: None }).wake_by(async move |nudge| {
        loop {
            shared.registry.news().await;
            nudge.now();
        }
    });
}

/// Writes traffic counters that changed.
struct Traffic {
    here: Arc<Here>,
    written: Counters,
}

impl Work for Traffic {
    async fn run(&mut self) -> Outcome {
        let (changed, now) = changed(&self.here.registry, &self.written);
        if !changed.is_empty() {
            within(LIMIT, self.here.services.access().count_traffic(&changed)).await?;
        }
        self.written = now;
        Ok(Done::default())
    }
}

type Counters = HashMap<SessionId, (u64, u64)>;

fn changed(registry: &Registry, written: &Counters) -> (Vec<(SessionId, u64, u64)>, Counters) {
    let now: Counters =
        registry.sessions().into_iter().map(|(id, carried)| (id, (carried.received, carried.sent))).collect();
    let news = now.iter().filter(|(id, counters)| written.get(id) != Some(counters));
    (news.map(|(id, (received, sent))| (*id, *received, *sent)).collect(), now)
}

/// Tells the cluster how the daemons are.
struct Reports {
    here: Arc<Here>,
    compared: Option<Instant>,
}

impl Work for Reports {
    async fn run(&mut self) -> Outcome {
        write_reports(&self.here).await?;
        let keys: Vec<_> = self.here.registry.statuses().iter().map(|status| status.key).collect();
        // News comes between the periods; a run that is only a little early counts.
        let is_due = self.compared.is_none_or(|compared| compared.elapsed() >= PERIOD / 2);
        if is_due && !keys.is_empty() && !self.here.services.hosts().is_displaced() {
            let held = within(LIMIT, self.here.services.network().reported(&keys)).await?;
            self.compared = Some(Instant::now());
            self.here.registry.correct(&held);
            write_reports(&self.here).await?;
        }
        Ok(Done::default())
    }

    async fn close(&mut self) {
        drop(write_reports(&self.here).await);
    }
}

/// Writes all that can be written.
async fn write_reports(here: &Here) -> Outcome {
    let mut outcome = Ok(Done::default());
    if let Some(networks) = here.registry.untold_networks() {
        match within(LIMIT, here.services.hosts().report_networks(here.host, &networks)).await {
            Ok(true) => here.registry.told_networks(&networks),
            Ok(false) => outcome = Err(Failure::because("this host's first heartbeat is not written yet")),
            Err(error) => outcome = Err(error.into()),
        }
    }
    for report in here.registry.unwritten() {
        let written = match &report {
            Report::Status(status, None) => within(LIMIT, here.services.network().report_daemon(status)).await,
            Report::Status(status, Some(request)) => {
                within(LIMIT, here.services.network().request_certificate(&here.key, status, request)).await
            }
            Report::Gone(key) => within(LIMIT, here.services.network().forget_daemon(*key)).await,
        };
        match written {
            Ok(()) => here.registry.written(&report),
            Err(error) => outcome = Err(error.into()),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn only_counters_that_moved_are_written() {
        let registry = Registry::default();
        let mut session = samples::session(1);
        session.bytes_received = 5;
        registry.carry(&session);
        registry.carry(&samples::session(2));
        let (first, written) = changed(&registry, &Counters::new());
        assert_eq!(first.len(), 2);
        assert!(changed(&registry, &written).0.is_empty());
        session.bytes_sent = 9;
        registry.carry(&session);
        assert_eq!(changed(&registry, &written).0, [(session.id, 5, 9)]);
    }
}
