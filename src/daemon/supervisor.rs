//! Which daemons are to run on this host, and the firewall around them.
//!
//! At every new snapshot each wanted server gets its keeper, and the firewall is put in step with the set, its networks
//! and routes. Keepers end by themselves when their server is not wanted any more. A directory that an earlier Postern
//! left of a server that is not wanted gets a keeper too, which clears it away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Here, keeper, plan::device, trouble};
use crate::{
    domain::{ids::ServerId, network::ServerNetwork, server::Server},
    firewall::{AllowedRoute, Firewall, FirewallError, ServerRules, enable_forwarding},
    services::attachments::wanted,
};

/// How soon a firewall that was refused is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The rules that are in place.
#[derive(Debug, Clone, Default)]
pub(super) struct Walls {
    networks: BTreeMap<ServerId, ServerNetwork>,
    /// Why the wanted ones are not.
    pub trouble: Option<String>,
}

impl Walls {
    /// The network of a server whose rules are in place.
    pub(super) fn around(&self, server: ServerId) -> Option<ServerNetwork> {
        self.networks.get(&server).copied()
    }
}

struct Kept {
    task: JoinHandle<()>,
    /// As it was last wanted; `None` for what an earlier Postern left.
    server: Option<Server>,
}

/// Runs until Postern stops and all keepers have ended; then cancels `silent`.
pub(super) async fn run(here: Arc<Here>, silent: CancellationToken) {
    let _silence = silent.drop_guard();
    let mut supervisor = Supervisor {
        keepers: BTreeMap::new(),
        walls: watch::Sender::default(),
        applied: None,
        here: Arc::clone(&here),
    };
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
        supervisor.raise_walls().await;
        here.board.set_bare(supervisor.is_bare());
        if !tidied && unsettled.iter().all(|server| here.board.is_settled(*server)) {
            here.journal.tidy();
            tidied = true;
        }
        let patience = if supervisor.walls.borrow().trouble.is_some() { RETRY } else { Duration::from_hours(1) };
        tokio::select! {
            () = here.stop.cancelled() => {}
            _ = snapshots.changed() => {}
            () = here.board.woken() => {}
            () = tokio::time::sleep(patience) => {}
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
    walls: watch::Sender<Walls>,
    applied: Option<Vec<ServerRules>>,
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
        let keeper = keeper::keep(Arc::clone(&self.here), id, self.walls.subscribe());
        let task = self.here.tracker.spawn(async move {
            let _wake = wake;
            keeper.await;
        });
        self.keepers.insert(id, Kept { task, server });
    }

    /// Puts the firewall in step with the servers that run or are about to.
    async fn raise_walls(&mut self) {
        let servers: Vec<&Server> = self.keepers.values().filter_map(|kept| kept.server.as_ref()).collect();
        let networks = servers.iter().map(|server| (server.id, server.network)).collect();
        let raised = match servers.iter().map(|server| rules(server)).collect::<Result<Vec<_>, _>>() {
            Ok(rules) if self.applied.as_ref() == Some(&rules) => return,
            Ok(rules) => apply(&rules).await.map(|()| self.applied = Some(rules)),
            Err(error) => Err(error),
        };
        match raised {
            Ok(()) => drop(self.walls.send_replace(Walls { networks, trouble: None })),
            // With nothing to run there is nothing to protect, and perhaps no nft.
            Err(_) if networks.is_empty() => {}
            Err(error) => {
                let trouble = trouble::chain(&error);
                // Told once, though it is tried again and again.
                if self.walls.borrow().trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(event = "firewall.failed", error = trouble, "the firewall's rules are not in place");
                }
                self.applied = None;
                self.walls.send_modify(|walls| walls.trouble = Some(trouble));
            }
        }
    }

    /// Whether no daemon is kept and no rule is in place.
    fn is_bare(&self) -> bool {
        self.keepers.is_empty() && self.applied.as_ref().is_some_and(Vec::is_empty)
    }

    /// Waits for the keepers, which heed the same stop.
    async fn close(self) {
        for kept in self.keepers.into_values() {
            if let Err(error) = kept.task.await {
                tracing::error!(event = "daemon.keeper_crashed", %error, "the keeper of a daemon ended badly");
            }
        }
        if self.here.settings.stop_with_postern
            && let Err(error) = apply(&[]).await
        {
            tracing::warn!(
                event = "firewall.kept",
                error = trouble::chain(&error),
                "the firewall's rules were not removed"
            );
        }
    }
}

async fn apply(rules: &[ServerRules]) -> Result<(), FirewallError> {
    Firewall::find()?.apply(rules).await?;
    if rules.is_empty() { Ok(()) } else { enable_forwarding() }
}

fn rules(server: &Server) -> Result<ServerRules, FirewallError> {
    let routes = server.routes.iter().map(|route| AllowedRoute { network: route.network.net(), nat: route.nat });
    ServerRules::new(device(server.id), server.network.net(), routes)
}
