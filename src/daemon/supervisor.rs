//! Which daemons are to run on this host, and the firewall around them.
//!
//! At every new snapshot each wanted server gets its keeper, and the firewall is put in step with the set, its networks
//! and routes. Between snapshots the kernel's state is compared with what is wanted, every few seconds, and repaired
//! (`enforcement`). Keepers end by themselves when their server is not wanted any more. A directory that an
//! earlier Postern left of a server that is not wanted gets a keeper too, which clears it away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Here,
    enforcement::{self, Enforcer, Walls},
    keeper,
};
use domain::{ids::ServerId, server::Server};
use runtime::causes::chain;
use services::network::attachments::wanted;

struct Kept {
    task: JoinHandle<()>,
    /// As it was last wanted; `None` for what an earlier Postern left.
    server: Option<Server>,
}

/// Runs until Postern stops and all keepers have ended; then cancels `silent`.
pub(super) async fn run(here: Arc<Here>, silent: CancellationToken) {
    let _silence = silent.drop_guard();
    let (enforcer, walls) = Enforcer::new(Arc::clone(&here));
    let mut supervisor = Supervisor { keepers: BTreeMap::new(), walls, enforcer, here: Arc::clone(&here) };
    let mut snapshots = here.admission.watch();
    // Before the first look at the policy, nothing is known to be unwanted.
    while here.admission.age().is_none() {
        let changed = here.stop.run_until_cancelled(snapshots.changed()).await;
        if !matches!(changed, Some(Ok(()))) {
            return;
        }
    }
    let leftover = leftovers(&here);
    let mut unsettled: BTreeSet<ServerId> = leftover.iter().copied().collect();
    unsettled.extend(wanted(&here.admission.snapshot(), here.host).map(|(server, _)| server.id));
    supervisor.clear_away(leftover);
    let mut tidied = false;
    while !here.stop.is_cancelled() {
        supervisor.keep_wanted();
        supervisor.enforce().await;
        here.board.set_bare(supervisor.is_bare());
        if !tidied && unsettled.iter().all(|server| here.board.is_settled(*server)) {
            here.journal.tidy();
            tidied = true;
        }
        tokio::select! {
            () = here.stop.cancelled() => {}
            _ = snapshots.changed() => {}
            () = here.board.woken() => {}
            () = tokio::time::sleep(enforcement::PERIOD) => {}
        }
    }
    supervisor.close().await;
}

/// The servers whose daemons an earlier Postern left files of.
fn leftovers(here: &Here) -> Vec<ServerId> {
    let Ok(entries) = std::fs::read_dir(here.settings.data_dir.join("daemons")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

struct Supervisor {
    here: Arc<Here>,
    keepers: BTreeMap<ServerId, Kept>,
    walls: watch::Receiver<Walls>,
    enforcer: Enforcer,
}

/// Wakes the supervisor when a keeper ends, even by a panic.
struct Wake(Arc<Here>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.board.wake();
    }
}

impl Supervisor {
    fn clear_away(&mut self, leftover: Vec<ServerId>) {
        for server in leftover {
            self.keep(server, None);
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
        let keeper = keeper::keep(Arc::clone(&self.here), id, self.walls.clone());
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

    /// Waits for the keepers, which heed the same stop.
    async fn close(mut self) {
        for kept in std::mem::take(&mut self.keepers).into_values() {
            if let Err(error) = kept.task.await {
                tracing::error!(event = "daemon.keeper_crashed", %error, "the keeper of a daemon ended badly");
            }
        }
        if self.here.settings.stop_with_postern
            && let Err(error) = self.enforcer.remove().await
        {
            tracing::warn!(event = "firewall.kept", error = chain(&error), "the firewall's rules were not removed");
        }
    }
}
