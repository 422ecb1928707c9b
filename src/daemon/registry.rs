//! What this host's daemons are doing, in one place for all who only look: metrics, heartbeat, counters, reports.
//!
//! Each daemon's own task writes here what became of it; no decision is taken from here. The lock is held for a
//! look or a change, never across an await.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

use super::conversation::Order;
use super::roster::Client;
use domain::host_network::HostNetwork;
use domain::ids::{HostId, ProfileId, ServerId, SessionId};
use domain::probe::ProbeResult;
use domain::server::DaemonState;
use domain::session::Session;
use openvpn::management::ClientKind;
use services::{AttachmentKey, DaemonStatus};

/// What the cluster is to know of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// How it is, and the request for a certificate that it makes, PEM.
    Status(DaemonStatus, Option<String>),
    /// It is gone for good.
    Gone(AttachmentKey),
}

impl Report {
    fn key(&self) -> AttachmentKey {
        match self {
            Self::Status(status, _) => status.key,
            Self::Gone(key) => *key,
        }
    }
}

/// A live session, as far as others ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carried {
    /// By which daemon.
    pub server_id: ServerId,
    /// Whose.
    pub profile_id: ProfileId,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    news: Notify,
    moved: Notify,
    bare: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    reports: BTreeMap<ServerId, (Report, bool)>,
    orders: HashMap<ServerId, mpsc::Sender<Order>>,
    settled: BTreeSet<ServerId>,
    sessions: HashMap<SessionId, Carried>,
    /// What kinds of clients have them.
    kinds: HashMap<SessionId, ClientKind>,
    /// What the clients of each server sent and got while this process watched.
    traffic: BTreeMap<ServerId, (u64, u64)>,
    /// Which other hosts can take over the clients of each server; known while this host leaves service.
    takers: BTreeMap<ServerId, BTreeSet<HostId>>,
    /// What this host saw of others the last time it looked.
    probes: Vec<ProbeResult>,
    /// The servers whose packets the firewall has under control.
    protected: BTreeSet<ServerId>,
    /// What keeps clients of a server from their networks although its daemon runs.
    impaired: BTreeMap<ServerId, String>,
    /// The networks that this machine needs for itself, and whether the cluster knows them.
    networks: (Vec<HostNetwork>, bool),
    /// How many newcomers were turned away since the order of this moment to leave service.
    turned_away: Option<(Timestamp, u64)>,
    /// How often each dialogue with a daemon has turned.
    turns: BTreeMap<ServerId, u64>,
    /// The dialogues that do not turn any more.
    stuck: BTreeSet<ServerId>,
}

impl State {
    /// A report as the cluster gets it: one of a daemon that runs and serves nobody says why.
    fn told(&self, report: &Report) -> Report {
        let mut report = report.clone();
        if let Report::Status(status, _) = &mut report
            && matches!(status.state, DaemonState::Running | DaemonState::Draining)
            && let Some(impaired) = self.impaired.get(&status.key.server_id)
        {
            status.detail.get_or_insert_with(|| impaired.clone());
        }
        report
    }
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a daemon is; told to the cluster if it is news.
    pub(super) fn report(&self, report: Report) {
        let mut state = self.state();
        let server = report.key().server_id;
        if state.reports.get(&server).is_some_and(|(known, _)| *known == report) {
            return;
        }
        if let Report::Status(status, _) = &report {
            let detail = status.detail.as_deref().unwrap_or_default();
            match status.state {
                DaemonState::Failed => tracing::warn!(event = "daemon.failed", server.id = %server, detail,
                    "daemon failed"),
                other => tracing::info!(event = "daemon.state", server.id = %server, state = ?other, detail,
                    "daemon changed state"),
            }
        }
        state.reports.insert(server, (report, false));
        self.news.notify_one();
    }

    /// Waits for a report that may be unwritten.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// The reports that the cluster does not know yet.
    pub(super) fn unwritten(&self) -> Vec<Report> {
        let state = self.state();
        state.reports.values().filter(|(_, written)| !written).map(|(report, _)| state.told(report)).collect()
    }

    /// Notes what the cluster holds of this host's daemons: what it should hold instead is not written yet.
    pub(super) fn correct(&self, held: &[DaemonStatus]) {
        let mut state = self.state();
        let differs = |report: &Report| match state.told(report) {
            Report::Status(status, _) => !held.contains(&status),
            Report::Gone(_) => false,
        };
        let wrong: Vec<_> =
            state.reports.iter().filter(|(_, (report, _))| differs(report)).map(|(id, _)| *id).collect();
        for server in wrong {
            if let Some((_, written)) = state.reports.get_mut(&server) {
                *written = false;
            }
        }
    }

    /// Notes which networks this machine needs for itself.
    pub(super) fn needs(&self, networks: &[HostNetwork]) {
        let mut state = self.state();
        if state.networks.0 != networks {
            state.networks = (networks.to_vec(), false);
            self.news.notify_one();
        }
    }

    /// They, unless the cluster knows them.
    pub(super) fn untold_networks(&self) -> Option<Vec<HostNetwork>> {
        let state = self.state();
        let (networks, told) = &state.networks;
        (!told).then(|| networks.clone()).filter(|networks| !networks.is_empty())
    }

    /// Notes that the cluster knows them, unless they are others by now.
    pub(super) fn told_networks(&self, networks: &[HostNetwork]) {
        let mut state = self.state();
        state.networks.1 |= state.networks.0 == networks;
    }

    /// Notes which servers' packets the firewall has under control.
    pub(super) fn protect(&self, servers: BTreeSet<ServerId>) {
        self.state().protected = servers;
    }

    /// Whether the clients of a server can reach what they may and nothing else.
    pub(super) fn is_protected(&self, server: ServerId) -> bool {
        self.state().protected.contains(&server)
    }

    /// Notes what keeps clients from their networks although the daemon runs, for each server that has that.
    pub(super) fn impair(&self, impaired: impl IntoIterator<Item = (ServerId, String)>) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.impaired, impaired.into_iter().collect());
        let State { reports, impaired, .. } = &mut *state;
        let mut news = false;
        for (_, (_, written)) in reports.iter_mut().filter(|(server, _)| before.get(server) != impaired.get(server)) {
            *written = false;
            news = true;
        }
        if news {
            self.news.notify_one();
        }
    }

    /// Notes that the cluster knows a report, unless there is a newer one.
    pub(super) fn written(&self, report: &Report) {
        let mut state = self.state();
        let server = report.key().server_id;
        let is_newest = state.reports.get(&server).is_some_and(|(known, _)| state.told(known) == *report);
        if let Some((_, written)) = state.reports.get_mut(&server).filter(|_| is_newest) {
            *written = true;
            if matches!(report, Report::Gone(_)) {
                state.reports.remove(&server);
            }
        }
    }

    /// How the daemons are.
    pub(super) fn statuses(&self) -> Vec<DaemonStatus> {
        let state = self.state();
        let status = |(report, _): &(Report, bool)| match state.told(report) {
            Report::Status(status, _) => Some(status),
            Report::Gone(_) => None,
        };
        state.reports.values().filter_map(status).collect()
    }

    /// Notes that it is known which sessions a daemon carries.
    pub(super) fn settle(&self, server: ServerId) {
        if self.state().settled.insert(server) {
            self.moved.notify_one();
        }
    }

    /// Whether it is known which sessions a daemon carries.
    pub(super) fn is_settled(&self, server: ServerId) -> bool {
        self.state().settled.contains(&server)
    }

    /// Notes whether this machine runs no daemon and has no rules of ours in its firewall.
    pub(super) fn set_bare(&self, bare: bool) {
        self.bare.send_replace(bare);
    }

    /// Waits until nothing of ours runs on this machine.
    pub(super) async fn until_bare(&self) {
        // The sender lives as long as this.
        drop(self.bare.subscribe().wait_for(|bare| *bare).await);
    }

    /// Wakes the supervisor: a daemon settled, or its keeper ended.
    pub(super) fn wake(&self) {
        self.moved.notify_one();
    }

    /// Waits for [`wake`](Self::wake).
    pub(super) async fn woken(&self) {
        self.moved.notified().await;
    }

    /// Notes that the dialogue with a daemon goes on.
    pub(super) fn turn(&self, server: ServerId) {
        let mut state = self.state();
        let turns = state.turns.entry(server).or_default();
        *turns = turns.wrapping_add(1);
    }

    /// Notes that the dialogue with a daemon is over.
    pub(super) fn rest(&self, server: ServerId) {
        self.state().turns.remove(&server);
    }

    /// How often each dialogue has turned.
    pub(super) fn turns(&self) -> BTreeMap<ServerId, u64> {
        self.state().turns.clone()
    }

    /// Notes which dialogues do not turn any more.
    pub(super) fn set_stuck(&self, stuck: BTreeSet<ServerId>) {
        self.state().stuck = stuck;
    }

    /// Whether every dialogue with a daemon goes on.
    pub(super) fn all_turn(&self) -> bool {
        self.state().stuck.is_empty()
    }

    /// Names the way to a daemon's task.
    pub(super) fn listen(&self, server: ServerId, orders: mpsc::Sender<Order>) {
        self.state().orders.insert(server, orders);
    }

    /// Passes an order on to the task of the daemon that carries a session. An order that finds no room is lost: it
    /// is given again in a period.
    pub(super) fn order(&self, session: SessionId, order: Order) {
        let state = self.state();
        let way = state.sessions.get(&session).and_then(|carried| state.orders.get(&carried.server_id));
        if let Some(way) = way {
            let _ = way.try_send(order);
        }
    }

    /// Notes a session, or its counters. What it had transferred when it was first seen is not this process's traffic.
    pub(super) fn carry(&self, session: &Session) {
        let carried = Carried {
            server_id: session.server_id,
            profile_id: session.profile_id,
            received: session.bytes_received,
            sent: session.bytes_sent,
        };
        let mut state = self.state();
        if let Some(before) = state.sessions.insert(session.id, carried) {
            let (received, sent) = state.traffic.entry(session.server_id).or_default();
            *received += carried.received.saturating_sub(before.received);
            *sent += carried.sent.saturating_sub(before.sent);
        }
    }

    /// Notes a client's session, and what kind of client it is.
    pub(super) fn welcome(&self, client: &Client) {
        self.carry(&client.session);
        self.state().kinds.insert(client.session.id, client.kind);
    }

    /// Notes that a session is over, with its last counters.
    pub(super) fn put_down(&self, session: &Session) {
        self.carry(session);
        let mut state = self.state();
        state.sessions.remove(&session.id);
        state.kinds.remove(&session.id);
    }

    /// How many clients there are of each kind.
    pub(super) fn kinds(&self) -> BTreeMap<ClientKind, usize> {
        let mut counts = BTreeMap::new();
        for kind in self.state().kinds.values() {
            *counts.entry(*kind).or_default() += 1;
        }
        counts
    }

    /// The bytes from and to the clients of each server.
    pub(super) fn traffic(&self) -> BTreeMap<ServerId, (u64, u64)> {
        self.state().traffic.clone()
    }

    /// Whether a session is alive here.
    pub(super) fn carries(&self, session: SessionId) -> bool {
        self.state().sessions.contains_key(&session)
    }

    /// The live sessions.
    pub(super) fn sessions(&self) -> Vec<(SessionId, Carried)> {
        self.state().sessions.iter().map(|(id, carried)| (*id, *carried)).collect()
    }

    /// Notes which other hosts can take over the clients of each server.
    pub(super) fn know_takers(&self, takers: BTreeMap<ServerId, BTreeSet<HostId>>) {
        self.state().takers = takers;
    }

    /// Nothing is known about other hosts any more.
    pub(super) fn forget_takers(&self) {
        self.state().takers.clear();
    }

    /// Which other hosts can take over the clients of a server, if it is known.
    pub(super) fn takers(&self, server: ServerId) -> Option<BTreeSet<HostId>> {
        self.state().takers.get(&server).cloned()
    }

    /// Keeps the results of this host's last probes.
    pub(super) fn set_probes(&self, results: Vec<ProbeResult>) {
        self.state().probes = results;
    }

    /// The results of this host's last probes.
    pub(super) fn probes(&self) -> Vec<ProbeResult> {
        self.state().probes.clone()
    }

    /// Notes that a newcomer was turned away because of an order to leave service.
    pub(super) fn turn_away(&self, order: Timestamp) {
        let mut state = self.state();
        let before = state.turned_away.filter(|(of, _)| *of == order).map_or(0, |(_, count)| count);
        state.turned_away = Some((order, before + 1));
    }

    /// How many newcomers were turned away because of an order.
    pub(super) fn turned_away(&self, order: Timestamp) -> u64 {
        self.state().turned_away.filter(|(of, _)| *of == order).map_or(0, |(_, count)| count)
    }

    /// How many sessions are alive.
    pub(super) fn session_count(&self) -> usize {
        self.state().sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::Id;

    fn status(state: DaemonState) -> Report {
        let key = AttachmentKey {
            server_id: Id::from_parts(Timestamp::UNIX_EPOCH, 1),
            host_id: Id::from_parts(Timestamp::UNIX_EPOCH, 2),
        };
        Report::Status(DaemonStatus { key, state, detail: None }, None)
    }

    #[test]
    fn a_report_is_written_once_and_a_newer_one_again() {
        let registry = Registry::default();
        registry.report(status(DaemonState::Starting));
        let old = registry.unwritten().pop().unwrap();
        registry.report(status(DaemonState::Running));
        registry.written(&old);
        assert_eq!(registry.unwritten(), [status(DaemonState::Running)]);
        registry.written(&status(DaemonState::Running));
        registry.report(status(DaemonState::Running));
        assert!(registry.unwritten().is_empty());
    }

    #[test]
    fn what_is_gone_is_told_and_then_forgotten() {
        let registry = Registry::default();
        registry.report(status(DaemonState::Running));
        let Report::Status(running, _) = status(DaemonState::Running) else { unreachable!() };
        registry.report(Report::Gone(running.key));
        assert!(registry.statuses().is_empty());
        assert_eq!(registry.unwritten(), [Report::Gone(running.key)]);
        registry.written(&Report::Gone(running.key));
        assert!(registry.unwritten().is_empty());
    }

    #[test]
    fn refusals_count_for_one_order_only() {
        let registry = Registry::default();
        let (first, second) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(9));
        registry.turn_away(first);
        registry.turn_away(first);
        assert_eq!((registry.turned_away(first), registry.turned_away(second)), (2, 0));
        registry.turn_away(second);
        assert_eq!((registry.turned_away(first), registry.turned_away(second)), (0, 1));
    }

    #[test]
    fn traffic_is_counted_from_where_a_session_was_first_seen() {
        let registry = Registry::default();
        let mut session = crate::samples::session(1);
        (session.bytes_received, session.bytes_sent) = (1000, 2000);
        registry.carry(&session);
        assert!(registry.traffic().is_empty());
        session.bytes_received += 7;
        registry.carry(&session);
        session.bytes_sent += 9;
        registry.put_down(&session);
        assert_eq!(registry.traffic(), BTreeMap::from([(session.server_id, (7, 9))]));
    }
}
