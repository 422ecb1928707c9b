//! The kernel's firewall and forwarding on this host: compared with what the policy wants, and repaired.
//!
//! Nothing is taken to be in place because it was put there: `nft flush ruleset` (any reload of a firewall does it), a
//! change of the table from outside, or `net.ipv4.ip_forward=0` change the kernel without a word to Postern. What
//! cannot be repaired is a problem of this host, and until it is mended no daemon starts and no new client is admitted.
//! Rules of others that drop what ours let pass are a problem too; only an administrator can mend that.
//!
//! A server's network that holds what this machine needs, its own addresses and networks or the way to the database,
//! would cut the machine off as soon as the daemon sets up its device. So that daemon does not start here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Here;
use super::plan::device;
use domain::host_network::{HostNetwork, HostNetworkKind, MOST_HOST_NETWORKS};
use domain::ids::ServerId;
use domain::network::ServerNetwork;
use domain::problem::ProblemCode;
use domain::server::Server;
use firewall::{
    AllowedRoute, Firewall, FirewallError, LossWatch, Ruleset, ServerRules, Settled, Surroundings, Upkeep,
    enable_forwarding, unseen_blockage,
};
use metrics::catalogue::FIREWALL_REPAIRS;
use runtime::causes::chain;

/// How often the names of the database's machines are looked up, and how long that may take.
const LOOKUP: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1));

/// A server's network holds what this machine needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collision {
    /// What it is, and what helps.
    pub detail: String,
    /// Whether packets for the database go into the tunnel already.
    pub cuts_off_database: bool,
}

/// The rules that are in place.
#[derive(Debug, Clone, Default)]
pub(super) struct FirewallState {
    networks: BTreeMap<ServerId, ServerNetwork>,
    /// Why the wanted ones are not.
    pub failure: Option<String>,
    collisions: BTreeMap<ServerId, Collision>,
}

impl FirewallState {
    /// The network of a server whose rules are in place.
    pub(super) fn around(&self, server: ServerId) -> Option<ServerNetwork> {
        self.networks.get(&server).copied()
    }

    /// What keeps a server from running here, if its network does.
    pub(super) fn collision(&self, server: ServerId) -> Option<Collision> {
        self.collisions.get(&server).cloned()
    }
}

/// Enforces the policy in the kernel.
pub(super) struct Enforcer {
    here: Arc<Here>,
    firewall_state: watch::Sender<FirewallState>,
    upkeep: Upkeep,
    loss: LossWatch,
    /// The servers whose packets are dropped by rules of others, and by which.
    blocked: BTreeMap<ServerId, String>,
    /// Where the database's machines are, and when that is looked up next.
    database: (BTreeSet<Ipv4Addr>, Option<Instant>),
}

impl Enforcer {
    pub(super) fn new(here: Arc<Here>) -> (Self, watch::Receiver<FirewallState>) {
        let (firewall_state, standing) = watch::channel(FirewallState::default());
        let (upkeep, loss) = (Upkeep::default(), LossWatch::default());
        (Self { here, firewall_state, upkeep, loss, blocked: BTreeMap::new(), database: Default::default() }, standing)
    }

    /// Sets the kernel's tables and forwarding as these servers need them, as far as possible, and reports the rest.
    pub(super) async fn enforce(&mut self, servers: &[&Server]) {
        let collisions = self.find_collisions(servers).await;
        if servers.is_empty() && self.upkeep.is_bare() {
            return;
        }
        let firewall = self.protect(servers).await;
        // With nothing to run there is nothing to protect, and perhaps no nft.
        let firewall = if servers.is_empty() { Ok(()) } else { firewall };
        let forwarding = if servers.is_empty() { Ok(()) } else { self.forward(servers) };
        let [firewall, forwarding] = [firewall, forwarding].map(|done| done.err().map(|error| chain(&error)));
        self.note(ProblemCode::Firewall, None, firewall.clone());
        self.note(ProblemCode::Forwarding, None, forwarding.clone());

        let failure = firewall.or(forwarding);
        let networks: BTreeMap<ServerId, ServerNetwork> = if failure.is_none() {
            servers.iter().map(|server| (server.id, server.network)).collect()
        } else {
            BTreeMap::new()
        };
        self.here.registry.protect(networks.keys().copied().collect());
        self.here.registry.impair(servers.iter().filter_map(|server| {
            let detail = failure.as_ref().or_else(|| self.blocked.get(&server.id))?;
            Some((server.id, detail.clone()))
        }));
        self.firewall_state.send_if_modified(|firewall_state| {
            let news = (&firewall_state.networks, &firewall_state.failure, &firewall_state.collisions)
                != (&networks, &failure, &collisions);
            *firewall_state = FirewallState { networks, failure, collisions };
            news
        });
    }

    /// Compares the servers' networks with what this machine needs, and reports that to the cluster as well.
    async fn find_collisions(&mut self, servers: &[&Server]) -> BTreeMap<ServerId, Collision> {
        self.look_up_database().await;
        let surroundings = Surroundings::read().unwrap_or_else(|error| {
            tracing::warn!(event = "host.networks_unread", %error, "the routes of this machine cannot be read");
            Surroundings::default()
        });
        let single = |address: &Ipv4Addr| HostNetwork::single(HostNetworkKind::Database, *address);
        let mut networks: Vec<HostNetwork> = self.database.0.iter().map(single).collect();
        networks.extend(surroundings.networks.iter().cloned());
        self.here.registry.needs(networks.get(..MOST_HOST_NETWORKS).unwrap_or(&networks));
        let found: BTreeMap<ServerId, Collision> = servers
            .iter()
            .filter_map(|server| {
                let needed = HostNetwork::first_in(&networks, server.network)?;
                let detail = format!(
                    "{}, so it does not start here: give the server a network that no host uses",
                    needed.collision(server.network)
                );
                let cut = |address: &&Ipv4Addr| surroundings.leads_to_clients(**address);
                let cuts_off_database = self.database.0.iter().any(|address| cut(&address));
                Some((server.id, Collision { detail, cuts_off_database }))
            })
            .collect();
        let before: Vec<ServerId> = self.firewall_state.borrow().collisions.keys().copied().collect();
        for server in before.iter().chain(found.keys()) {
            let detail = found.get(server).map(|collision| collision.detail.clone());
            self.note(ProblemCode::NetworkCollision, Some(*server), detail);
        }
        found
    }

    /// Looks up where the database's machines are. The last answer stays while no name is answered.
    async fn look_up_database(&mut self) {
        if self.database.1.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let names = self.here.services.hosts().database_machines();
        let lookups = names.iter().map(|name| tokio::net::lookup_host((name.as_str(), 0)));
        let all = futures_util::future::join_all(lookups.map(|lookup| tokio::time::timeout(LOOKUP.1, lookup)));
        let found: BTreeSet<Ipv4Addr> = all
            .await
            .into_iter()
            .filter_map(|answered| answered.ok()?.ok())
            .flatten()
            .filter_map(|address| match address.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(address) => address.to_ipv4_mapped(),
            })
            .filter(|address| !address.is_loopback())
            .collect();
        if !found.is_empty() {
            self.database.0 = found;
        }
        self.database.1 = Some(Instant::now() + LOOKUP.0);
    }

    /// The table of the firewall.
    async fn protect(&mut self, servers: &[&Server]) -> Result<(), FirewallError> {
        let rules: Vec<ServerRules> = servers.iter().map(|server| server_rules(server)).collect::<Result<_, _>>()?;
        let (settled, ruleset) = self.upkeep.settle(&Firewall::find()?, &rules).await?;
        if settled.is_repair() {
            self.here.services.metrics().count(&FIREWALL_REPAIRS, [settled.as_str()]);
            tracing::warn!(
                event = "firewall.repaired",
                reason = settled.as_str(),
                "the table inet postern was removed or changed from outside; it is in place again"
            );
        }
        self.loss.look(&ruleset, settled == Settled::Same);
        self.find_blockages(servers, &rules, &ruleset);
        Ok(())
    }

    fn find_blockages(&mut self, servers: &[&Server], rules: &[ServerRules], ruleset: &Ruleset) {
        let found: BTreeMap<ServerId, String> = servers
            .iter()
            .zip(rules)
            .filter_map(|(server, rules)| {
                let device = device(server.id);
                let seen = ruleset.blockage(rules).filter(|found| {
                    // What was counted is surer than what was read.
                    !(found.from_clients && self.loss.has_passed(&device))
                });
                let detail = match seen {
                    Some(found) => found.to_string(),
                    None if self.loss.is_lost(&device) => unseen_blockage(),
                    None => return None,
                };
                Some((server.id, detail))
            })
            .collect();
        for server in self.blocked.keys().chain(found.keys()).copied() {
            self.note(ProblemCode::ForeignFirewall, Some(server), found.get(&server).cloned());
        }
        self.blocked = found;
    }

    fn forward(&self, servers: &[&Server]) -> Result<(), FirewallError> {
        let devices: Vec<String> = servers.iter().map(|server| device(server.id)).collect();
        // At the first look nobody had switched off what was on.
        let is_repair = !self.firewall_state.borrow().networks.is_empty();
        if enable_forwarding(&devices)? && is_repair {
            self.here.services.metrics().count(&FIREWALL_REPAIRS, ["forwarding"]);
            tracing::warn!(event = "forwarding.repaired", "forwarding was switched off from outside; it is on again");
        }
        Ok(())
    }

    /// Tells of a problem once, and of its end.
    fn note(&self, code: ProblemCode, server: Option<ServerId>, detail: Option<String>) {
        let (services, now) = (&self.here.services, self.here.services.now());
        let was = services.problems().list().into_iter().find(|known| (known.code, known.server_id) == (code, server));
        if was.as_ref().map(|known| &known.detail) == detail.as_ref() {
            return;
        }
        let (name, id) = (code.as_str(), server.map(|server| server.to_string()).unwrap_or_default());
        if let Some(detail) = &detail {
            tracing::warn!(
                event = "firewall.problem",
                problem = name,
                server.id = id,
                detail,
                "this host's network is not what the policy wants"
            );
        } else {
            tracing::info!(
                event = "firewall.mended",
                problem = name,
                server.id = id,
                "this host's network is what the policy wants again"
            );
        }
        services.problems().set(code, server, detail, now);
    }

    /// Whether no rule is in place.
    pub(super) fn is_bare(&self) -> bool {
        self.upkeep.is_bare()
    }

    /// Removes the rules.
    pub(super) async fn remove(&mut self) -> Result<(), FirewallError> {
        self.upkeep.settle(&Firewall::find()?, &[]).await.map(drop)
    }
}

/// The rules that a server wants on any host.
pub fn server_rules(server: &Server) -> Result<ServerRules, FirewallError> {
    let routes = server.routes.iter().map(|route| AllowedRoute { network: route.network.net(), nat: route.nat });
    ServerRules::new(device(server.id), server.network.net(), routes)
}
