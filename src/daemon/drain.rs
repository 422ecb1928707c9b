//! Tells the cluster how far this host has come with leaving service, and its daemons who can take their clients over.
//!
//! The daemons carry the order out by themselves, from the policy; without a database they go on with what was known
//! last. What is told here is read by people.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Here, within};
use crate::{
    domain::drain::{Drain, DrainProgress},
    services::attachments::wanted,
};

/// Between two looks at this host.
const PERIOD: Duration = Duration::from_secs(1);
/// Between two looks at the other hosts.
const OTHERS: Duration = Duration::from_secs(5);
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(3);

/// Runs until `stop`.
pub(super) async fn run(here: Arc<Here>, stop: CancellationToken) {
    let mut snapshots = here.admission.watch();
    let mut teller: Option<Teller> = None;
    while !stop.is_cancelled() {
        let drain = snapshots.borrow_and_update().drain_of(here.host);
        let pause = if let Some(drain) = drain {
            let before = teller.take().filter(|teller| teller.order == drain.started_at);
            let teller = teller.insert(before.unwrap_or_else(|| Teller::new(&here, &drain)));
            teller.look(&here, &drain).await;
            PERIOD
        } else {
            teller = None;
            here.board.forget_takers();
            Duration::MAX
        };
        tokio::select! {
            () = stop.cancelled() => {}
            changed = snapshots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One drain, as far as it was told.
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

    async fn look(&mut self, here: &Here, drain: &Drain) {
        if self.asked.is_none_or(|asked| asked.elapsed() >= OTHERS) {
            self.asked = Some(Instant::now());
            match within(LIMIT, here.services.takers(here.host)).await {
                Ok(takers) => here.board.know_takers(takers),
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no look at the other hosts");
                }
            }
        }
        if let Some(progress) = self.progress(here, drain).await
            && self.told != Some(progress)
        {
            match within(LIMIT, here.services.report_drain(here.host, &progress)).await {
                Ok(true) => self.told = Some(progress),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "progress was not written down");
                }
            }
        }
    }

    /// How far it has come; `None` before it is known what was told earlier.
    async fn progress(&mut self, here: &Here, drain: &Drain) -> Option<DrainProgress> {
        if !self.read {
            let told = within(LIMIT, here.services.drain_progress(here.host)).await.ok()?;
            self.before = told.filter(|before| before.order == self.order);
            self.read = true;
        }
        let before = self.before;
        let snapshot = here.admission.snapshot();
        // Before all daemons have said whom they carry, nobody is known to be gone.
        if !wanted(&snapshot, here.host).all(|(server, _)| here.board.is_settled(server.id)) {
            return None;
        }
        let last = self.told.or(before);
        let remaining = here.board.session_count() as u64;
        // What it did stands in the database before it says that it is done.
        let drained = remaining == 0 && here.journal.waiting() == 0;
        let drained_at = drained.then(|| last.and_then(|last| last.drained_at).unwrap_or_else(|| here.services.now()));
        let refused = before.map_or(0, |before| before.refused) + here.board.turned_away(drain.started_at);
        let held = !drain.forced && here.board.is_held();
        let taken_up_at = before.map_or(self.taken_up_at, |before| before.taken_up_at);
        Some(DrainProgress { order: drain.started_at, taken_up_at, remaining, refused, held, drained_at })
    }
}
