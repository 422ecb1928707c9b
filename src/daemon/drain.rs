//! Tells the cluster how far this host has come with leaving service, and its daemons who can take their clients over.
//!
//! The daemons carry the order out by themselves, from the policy; without a database they go on with what was known
//! last. Its texts are read by people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::moves::WaysOut;
use super::registry::Carried;
use super::{Here, Unanswered, within};
use domain::access::Snapshot;
use domain::drain::{Drain, DrainOutcome, DrainProgress};
use domain::ids::{HostId, ServerId};
use domain::reach::WayOut;
use metrics::catalogue::DRAIN_SESSIONS;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};
use services::network::attachments::wanted;

const TASK: Task =
    Task::new("drain-progress", "Tells the cluster how far this host has come with leaving service.", IDLE)
        .retry(PERIOD, PERIOD)
        .quiet();
/// Between two looks at the orders of this host; the next snapshot brings one, too.
const IDLE: Duration = Duration::from_secs(30);
/// Between two looks at this host while it leaves service.
const PERIOD: Duration = Duration::from_secs(1);
/// Between two looks at the other hosts.
const OTHERS: Duration = Duration::from_secs(5);
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(3);

/// Starts the task.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler) {
    tasks.start(TASK, Draining { here: Arc::clone(here), teller: None }).wake_on_change(here.admission.watch());
}

struct Draining {
    here: Arc<Here>,
    teller: Option<Teller>,
}

impl Work for Draining {
    async fn run(&mut self) -> Outcome {
        let here = &self.here;
        let Some(drain) = here.admission.snapshot().drain_of(here.host) else {
            self.teller = None;
            here.registry.forget_takers();
            return Ok(Done::default());
        };
        let before = self.teller.take().filter(|teller| teller.order == drain.started_at);
        let teller = self.teller.insert(before.unwrap_or_else(|| Teller::new(here, &drain)));
        teller.look(here, &drain).await?;
        Ok(Done::default().again_in(PERIOD))
    }
}

/// One drain, as last reported.
struct Teller {
    order: Timestamp,
    taken_up_at: Timestamp,
    /// Whether it was read what a Postern before this one told of it.
    read: bool,
    before: Option<DrainProgress>,
    told: Option<DrainProgress>,
    asked: Option<Instant>,
}

impl Teller {
    fn new(here: &Here, drain: &Drain) -> Self {
        Self {
            order: drain.started_at,
            taken_up_at: here.services.now(),
            read: false,
            before: None,
            told: None,
            asked: None,
        }
    }

    /// Does what it can: without the other hosts' state, this host's progress is reported all the same.
    async fn look(&mut self, here: &Here, drain: &Drain) -> Result<(), Unanswered> {
        let others = if self.asked.is_none_or(|asked| asked.elapsed() >= OTHERS) {
            self.asked = Some(Instant::now());
            self.look_at_others(here).await
        } else {
            Ok(())
        };
        if let Some(progress) = self.progress(here, drain).await?
            && self.told != Some(progress)
            && within(LIMIT, here.services.hosts().report_drain(here.host, &progress)).await?
        {
            self.told = Some(progress);
        }
        others
    }

    async fn look_at_others(&self, here: &Here) -> Result<(), Unanswered> {
        here.registry.know_takers(within(LIMIT, here.services.hosts().takers(here.host)).await?);
        self.measure(here).await
    }

    /// Counts what became of the sessions so far.
    async fn measure(&self, here: &Here) -> Result<(), Unanswered> {
        let Some(told) = self.told else { return Ok(()) };
        let DrainOutcome { moved, cut_off } =
            within(LIMIT, here.services.hosts().drain_outcome(here.host, told.order)).await?;
        let waiting = here.registry.session_count() as u64;
        for (state, count) in [("moved", moved), ("waiting", waiting), ("cut_off", cut_off)] {
            let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            here.services.metrics().set(&DRAIN_SESSIONS, [state], count);
        }
        Ok(())
    }

    /// How far it has come; `None` before all daemons have said whom they carry.
    async fn progress(&mut self, here: &Here, drain: &Drain) -> Result<Option<DrainProgress>, Unanswered> {
        if !self.read {
            let told = within(LIMIT, here.services.hosts().drain_progress(here.host)).await?;
            self.before = told.filter(|before| before.order == self.order);
            self.read = true;
        }
        let before = self.before;
        let snapshot = here.admission.snapshot();
        // Before all daemons have said whom they carry, nobody is known to be gone.
        if !wanted(&snapshot, here.host).all(|(server, _)| here.registry.is_settled(server.id)) {
            return Ok(None);
        }
        let last = self.told.or(before);
        let remaining = here.registry.session_count() as u64;
        // What it did stands in the database before it says that it is done.
        let drained = remaining == 0 && here.session_log.waiting() == 0;
        let drained_at = drained.then(|| last.and_then(|last| last.drained_at).unwrap_or_else(|| here.services.now()));
        let refused = before.map_or(0, |before| before.refused) + here.registry.turned_away(drain.started_at);
        let carried = here.registry.sessions().into_iter().map(|(_, carried)| carried);
        let held = !drain.forced && is_held(&snapshot, here.host, carried, |server| here.registry.takers(server));
        let taken_up_at = before.map_or(self.taken_up_at, |before| before.taken_up_at);
        Ok(Some(DrainProgress { order: drain.started_at, taken_up_at, remaining, refused, held, drained_at }))
    }
}

/// Whether a session waits because no host takes it over, as far as that is known. Whoever is only kept until the end
/// of the budget does not.
fn is_held(
    snapshot: &Snapshot,
    host: HostId,
    carried: impl Iterator<Item = Carried>,
    takers: impl Fn(ServerId) -> Option<BTreeSet<HostId>>,
) -> bool {
    let mut by_server = BTreeMap::<ServerId, Vec<Carried>>::new();
    for session in carried {
        by_server.entry(session.server_id).or_default().push(session);
    }
    by_server.into_iter().any(|(server, sessions)| {
        let Some(takers) = takers(server) else { return false };
        let mut ways = WaysOut::new(snapshot, server, host, Some(&takers));
        sessions.iter().any(|session| ways.of_profile(session.profile_id) == WayOut::Closed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use domain::Revision;
    use domain::access::Change;
    use domain::host::Host;
    use domain::server::{Attachment, Server};

    #[test]
    fn sessions_are_held_only_where_it_is_known_that_nobody_takes_them_over() {
        let Server { id: server_id, .. } = samples::server();
        let other = Host { id: samples::id(7), ..Host::clone(samples::snapshot().host(samples::host()).unwrap()) };
        let attachment = Attachment { server_id, host_id: other.id, credentials: None };
        let changes = [Change::Host(Box::new(other.clone())), Change::Attachment(Box::new(attachment))];
        let snapshot = samples::snapshot().with(Revision(2), changes);
        let carried = Carried { server_id, profile_id: samples::profile().id, received: 0, sent: 0 };
        let held = |takers: Option<BTreeSet<HostId>>| {
            is_held(&snapshot, samples::host(), std::iter::once(carried), |_| takers.clone())
        };
        assert!(!held(None));
        assert!(held(Some(BTreeSet::new())));
        assert!(!held(Some([other.id].into())));
        assert!(!is_held(&snapshot, samples::host(), std::iter::empty(), |_| Some(BTreeSet::new())));
    }
}
