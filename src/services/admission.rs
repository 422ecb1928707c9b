//! Keeps the access snapshot of this process fresh, and answers from it who may connect.
//!
//! A nudge with a higher revision, the bus's word that something may have been missed, or a look at the cluster's
//! revision every five seconds: each leads to one read of what changed, and to a new snapshot on a watch channel.
//! Freshness is the time of the last successful look, not the silence of a cursor. While the database is away the
//! snapshot goes on deciding, up to the cluster's `outage_admission_hours`; nothing on this path asks the database.

use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Nudge, ServiceError, Services};
use crate::{
    domain::{
        Revision,
        access::{Denial, ProfileAccess, Snapshot},
        ids::{HostId, ServerId},
        profile::Fingerprint,
    },
    store::{
        access::DELTA_REACH,
        bus::{BusMessage, Subscription},
    },
};

/// How often the cluster's revision is looked at without a nudge.
const PERIOD: Duration = Duration::from_secs(5);

/// A read that takes longer counts as failed; the next period tries again.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The access snapshot of this process. Clones see the same.
#[derive(Clone)]
pub struct Admission {
    services: Services,
    snapshot: Arc<watch::Sender<Arc<Snapshot>>>,
    confirmed: Arc<RwLock<Option<Instant>>>,
}

impl Admission {
    /// An empty snapshot, which admits nobody.
    pub fn new(services: Services) -> Self {
        Self { services, snapshot: Arc::new(watch::Sender::default()), confirmed: Arc::default() }
    }

    /// The snapshot as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Wakes whoever acts on policy, at every new snapshot.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// How long ago the snapshot was last known to be the newest; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.confirmed.read().unwrap_or_else(std::sync::PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Puts a remembered snapshot in place of an empty one; `age` ago it was known to be the newest.
    pub fn restore(&self, snapshot: Snapshot, age: Duration) {
        self.snapshot.send_replace(Arc::new(snapshot));
        let confirmed = Instant::now().checked_sub(age);
        *self.confirmed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = confirmed;
    }

    /// Whether the profile with this certificate may connect to `server` through `host`.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit(
        &self,
        host: HostId,
        server: ServerId,
        fingerprint: Fingerprint,
        now: Timestamp,
    ) -> Result<ProfileAccess, Denial> {
        let snapshot = self.snapshot();
        let limit = Duration::from_hours(u64::from(snapshot.settings().outage_admission_hours.get())).max(2 * PERIOD);
        if self.age().is_none_or(|age| age > limit) {
            return Err(Denial::NotKnown);
        }
        snapshot.admit(host, server, fingerprint, now).copied()
    }

    /// Brings the snapshot up to date.
    pub async fn refresh(&self) -> Result<(), ServiceError> {
        let before = self.snapshot();
        let since = if self.age().is_some_and(|age| age < DELTA_REACH) { before.revision } else { Revision(0) };
        let asked = Instant::now();
        let delta = self.services.store().deadline(READ_LIMIT, self.services.store().changes_since(since)).await?;
        let base = if since == Revision(0) { Snapshot::default() } else { Snapshot::clone(&before) };
        if delta.revision != before.revision || since == Revision(0) {
            self.snapshot.send_replace(Arc::new(base.with(delta.revision, delta.changes)));
        }
        *self.confirmed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(asked);
        Ok(())
    }

    /// Follows the bus until `stop`.
    pub async fn follow(self, mut bus: Subscription, stop: CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reachable = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = period.tick() => {}
                message = bus.recv() => match message {
                    Some(message) if self.is_news(&message) => {}
                    Some(_) => continue,
                    None => return,
                },
            }
            match self.refresh().await {
                Ok(()) if !reachable => {
                    reachable = true;
                    tracing::info!("policy can be read again");
                }
                Ok(()) => {}
                Err(error) if reachable => {
                    reachable = false;
                    tracing::warn!(%error, "policy cannot be read; admission goes on from what is known");
                }
                Err(_still) => {}
            }
        }
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
