//! Keeps the access snapshot of this process fresh, and answers from it who may connect.
//!
//! A nudge with a higher revision, the bus's word that something may have been missed, or a look at the cluster's
//! revision every five seconds: each leads to one read of what changed, and to a new snapshot on a watch channel.
//! Freshness is the time of the last successful look, not the silence of a cursor. While the database is away the
//! snapshot goes on deciding, up to the cluster's `outage_admission_hours`; nothing on this path asks the database.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{Nudge, ServiceError, Services};
use domain::Revision;
use domain::access::{Denial, ProfileAccess, Snapshot};
use domain::ids::{HostId, ServerId};
use domain::problem::ProblemCode;
use domain::profile::Fingerprint;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};
use store::access::snapshot::DELTA_REACH;
use store::bus::{BusMessage, Subscription};

const TASK: Task =
    Task::new("policy", "Keeps the policy in memory the newest.", PERIOD).deadline(READ_LIMIT.saturating_mul(3));
/// How often the cluster's revision is looked at without a nudge.
const PERIOD: Duration = Duration::from_secs(5);

/// A snapshot that has not been confirmed for this long is logged.
pub const STALE: Duration = Duration::from_secs(15);

/// A read that takes longer counts as failed; the next period tries again.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The access snapshot of this process. Clones see the same.
#[derive(Clone)]
pub struct Admission {
    services: Services,
    snapshot: Arc<watch::Sender<Arc<Snapshot>>>,
    known: Arc<RwLock<Freshness>>,
    paused: Arc<watch::Sender<Option<Revision>>>,
}

/// How fresh the snapshot is.
#[derive(Default)]
struct Freshness {
    /// When it was last found to be the newest.
    confirmed: Option<Instant>,
    /// Of which timeline it is; unknown for one from the disk.
    timeline: Option<String>,
}

impl Admission {
    /// An empty snapshot, which admits nobody.
    pub fn new(services: Services) -> Self {
        Self { services, snapshot: Arc::default(), known: Arc::default(), paused: Arc::default() }
    }

    /// The snapshot as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Wakes the tasks that act on policy, at every new snapshot.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// How long ago the snapshot was last known to be the newest; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).confirmed.map(|at| at.elapsed())
    }

    /// Puts the snapshot of the snapshot file in place of an empty one; `age` ago it was known to be the newest.
    pub fn restore(&self, snapshot: Snapshot, age: Duration) {
        self.snapshot.send_replace(Arc::new(snapshot));
        let confirmed = Instant::now().checked_sub(age);
        self.learn(Freshness { confirmed, timeline: None });
    }

    /// Whether the profile with this certificate may connect to `server` through `host`; `takes` tells which other hosts
    /// take clients over, as far as that is known.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit(
        &self,
        host: HostId,
        server: ServerId,
        fingerprint: Fingerprint,
        now: Timestamp,
        takes: impl Fn(HostId) -> bool,
    ) -> Result<ProfileAccess, Denial> {
        let snapshot = self.decidable()?;
        if self.services.hosts().is_displaced() {
            return Err(Denial::HostLeaving);
        }
        snapshot.admit(host, server, fingerprint, now, takes).cloned()
    }

    /// Whether it may go on with new keys, being connected.
    ///
    /// # Errors
    /// The reason why not.
    pub fn renew(
        &self,
        host: HostId,
        server: ServerId,
        fingerprint: Fingerprint,
        now: Timestamp,
    ) -> Result<ProfileAccess, Denial> {
        self.decidable()?.renew(host, server, fingerprint, now).cloned()
    }

    /// The snapshot, if it is fresh enough to decide by.
    fn decidable(&self) -> Result<Arc<Snapshot>, Denial> {
        let snapshot = self.snapshot();
        let limit = Duration::from_hours(u64::from(snapshot.settings().outage_admission_hours.get())).max(2 * PERIOD);
        if self.age().is_none_or(|age| age > limit) {
            return Err(Denial::NotKnown);
        }
        Ok(snapshot)
    }

    /// Brings the snapshot up to date.
    pub async fn refresh(&self) -> Result<(), ServiceError> {
        let before = self.snapshot();
        let timeline = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).timeline.clone();
        let recent = timeline.is_some() && self.age().is_some_and(|age| age < DELTA_REACH);
        let mut since = if recent { before.revision } else { Revision(0) };
        let asked = Instant::now();
        let store = self.services.store();
        let mut delta = store.deadline(READ_LIMIT, store.access().changes_since(since)).await?;
        if since > Revision(0) && timeline.as_ref() != Some(&delta.timeline) {
            tracing::warn!(
                event = "policy.restored",
                "the database was restored from a backup; reading all policy anew"
            );
            since = Revision(0);
            delta = store.deadline(READ_LIMIT, store.access().changes_since(since)).await?;
        }
        tracing::debug!(event = "policy.read", since = since.0, revision = delta.revision.0, "policy was read");
        self.paused.send_if_modified(|paused| std::mem::replace(paused, delta.paused) != delta.paused);
        let base = if since == Revision(0) { Snapshot::default() } else { Snapshot::clone(&before) };
        if delta.revision != before.revision || since == Revision(0) {
            self.snapshot.send_replace(Arc::new(base.with(delta.revision, delta.changes)));
        }
        self.learn(Freshness { confirmed: Some(asked), timeline: Some(delta.timeline) });
        Ok(())
    }

    fn learn(&self, known: Freshness) {
        *self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner) = known;
    }

    /// The revision with which the cluster was paused, as far as this process knows; `None` while it is not.
    pub fn paused(&self) -> Option<Revision> {
        *self.paused.borrow()
    }

    /// Wakes the tasks that act on a pause.
    pub fn watch_paused(&self) -> watch::Receiver<Option<Revision>> {
        self.paused.subscribe()
    }

    /// Starts the task that keeps the snapshot fresh, as the bus and its period say.
    pub fn start(&self, tasks: &Reconciler, bus: Subscription) {
        let heard = self.clone();
        let is_news = move |message: &BusMessage| heard.is_news(message);
        tasks.start(TASK, Following(self.clone())).wake_by(|nudge| bus.wake(nudge, is_news));
    }

    fn tell_of_staleness(&self) {
        let stale = self.age().is_none_or(|age| age >= STALE).then(|| {
            "policy has not been confirmed for a while: look for the database in this process's log".to_owned()
        });
        self.services.problems().set(ProblemCode::Snapshot, None, stale, self.services.now());
    }

    fn is_news(&self, message: &BusMessage) -> bool {
        match message {
            BusMessage::Resync => true,
            BusMessage::Nudge(event) => {
                matches!(Nudge::read(event), Some(Nudge::Policy(revision)) if revision > self.snapshot.borrow().revision)
            }
        }
    }
}

struct Following(Admission);

impl Work for Following {
    /// While policy cannot be read, admission goes on from what is known.
    async fn run(&mut self) -> Outcome {
        let read = self.0.refresh().await;
        self.0.tell_of_staleness();
        read?;
        Ok(Done::default())
    }
}
