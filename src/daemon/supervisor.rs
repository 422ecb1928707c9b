//! Which daemons are to run on this host, and the firewall around them.
//!
//! At every new snapshot each wanted server gets its keeper, and the firewall is put in step with the set, its networks
//! and routes. Between snapshots the kernel's state is compared with what is wanted, every few seconds, and repaired
//! (`enforcement`). Keepers end by themselves when their server is not wanted any more. A directory that an
//! earlier Postern left of a server that is not wanted gets a keeper too, which clears it away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::enforcement::{Enforcer, FirewallState};
use super::{Here, keeper};
use domain::ids::ServerId;
use domain::server::Server;
use runtime::causes::chain;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};
use services::network::attachments::wanted;

const TASK: Task = Task::new(
    "daemons",
    "Starts the daemons that the policy wants here, and repairs the firewall around them.",
    Duration::from_secs(2),
)
// The firewall's programs have limits of their own.
.deadline(Duration::from_mins(1))
.closing(Duration::from_secs(10))
.finish_at_stop();

struct Kept {
    task: JoinHandle<()>,
    /// As it was last wanted; `None` for what an earlier Postern left.
    server: Option<Server>,
}

/// Starts the task. Once Postern stops and all keepers have ended, `silent` is cancelled.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler, silent: CancellationToken) {
    let (enforcer, firewall_state) = Enforcer::new(Arc::clone(here));
    let supervisor = Supervisor {
        here: Arc::clone(here),
        keepers: BTreeMap::new(),
        firewall_state,
        enforcer,
        unsettled: None,
        tidied: false,
        _silence: silent.drop_guard(),
    };
    let shared = Arc::clone(here);
    tasks.start(TASK, supervisor).wake_on_change(here.admission.watch()).wake_by(async move |nudge| {
        loop {
            shared.registry.woken().await;
            nudge.now();
        }
    });
}

/// The servers whose daemons an earlier Postern left files of.
fn leftovers(here: &Here) -> Vec<ServerId> {
    let Ok(entries) = std::fs::read_dir(here.settings.data_dir.join("daemons")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

struct Supervisor {
    here: Arc<Here>,
    keepers: BTreeMap<ServerId, Kept>,
    firewall_state: watch::Receiver<FirewallState>,
    enforcer: Enforcer,
    /// The servers that an earlier Postern may have left daemons of; `None` before the first look at the policy.
    unsettled: Option<BTreeSet<ServerId>>,
    /// Whether the records of sessions that are not here any more are being closed.
    tidied: bool,
    _silence: DropGuard,
}

impl Work for Supervisor {
    async fn run(&mut self) -> Outcome {
        // Before the first look at the policy, nothing is known to be unwanted.
        if self.here.admission.age().is_none() {
            return Ok(Done::default());
        }
        self.take_over();
        self.keep_wanted();
        self.enforce().await;
        self.here.registry.set_bare(self.is_bare());
        self.tidy();
        Ok(Done::default())
    }

    /// Waits for the keepers, which heed the same stop.
    async fn close(&mut self) {
        for kept in std::mem::take(&mut self.keepers).into_values() {
            if let Err(error) = kept.task.await {
                tracing::error!(event = "daemon.keeper_crashed", %error, "the task that keeps a daemon crashed");
            }
        }
        // Before the first look at the policy, it is not known what the rules are for.
        if self.here.settings.stop_with_postern
            && self.unsettled.is_some()
            && let Err(error) = self.enforcer.remove().await
        {
            tracing::warn!(event = "firewall.kept", error = chain(&error), "the firewall's rules were not removed");
        }
    }
}

/// Wakes the supervisor when a keeper ends, even by a panic.
struct Wake(Arc<Here>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.registry.wake();
    }
}

impl Supervisor {
    /// Takes over, at the first look at the policy, what an earlier Postern left.
    fn take_over(&mut self) {
        if self.unsettled.is_some() {
            return;
        }
        let leftover = leftovers(&self.here);
        let wanted = wanted(&self.here.admission.snapshot(), self.here.host).map(|(server, _)| server.id).collect();
        for server in &leftover {
            self.keep(*server, None);
        }
        self.unsettled = Some(leftover.into_iter().chain::<Vec<_>>(wanted).collect());
    }

    /// Has the records of lost sessions closed, once all daemons have said whom they carry.
    fn tidy(&mut self) {
        let mut unsettled = self.unsettled.iter().flatten();
        if !self.tidied && unsettled.all(|server| self.here.registry.is_settled(*server)) {
            self.here.session_log.tidy();
            self.tidied = true;
        }
    }

    fn keep_wanted(&mut self) {
        self.keepers.retain(|_, kept| !kept.task.is_finished());
        let snapshot = self.here.admission.snapshot();
        for (server, _) in wanted(&snapshot, self.here.host) {
            match self.keepers.get_mut(&server.id) {
                Some(kept) => kept.server = Some(server.clone()),
                None => self.keep(server.id, Some(server.clone())),
            }
        }
    }

    fn keep(&mut self, id: ServerId, server: Option<Server>) {
        let wake = Wake(Arc::clone(&self.here));
        let keeper = keeper::keep(Arc::clone(&self.here), id, self.firewall_state.clone());
        let kept = async move {
            let _wake = wake;
            keeper.await;
        };
        let task = self.here.tracker.spawn(kept.instrument(tracing::error_span!("daemon", server.id = %id)));
        self.keepers.insert(id, Kept { task, server });
    }

    /// Puts the firewall in step with the servers that run or are about to, and the kernel with both.
    async fn enforce(&mut self) {
        let servers: Vec<&Server> = self.keepers.values().filter_map(|kept| kept.server.as_ref()).collect();
        self.enforcer.enforce(&servers).await;
    }

    /// Whether no daemon is kept and no rule is in place.
    fn is_bare(&self) -> bool {
        self.keepers.is_empty() && self.enforcer.is_bare()
    }
}
