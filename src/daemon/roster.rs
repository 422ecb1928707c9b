//! Who is connected to one daemon, by the daemon's own client ids: fed only by its events, and free of any I/O.
//!
//! A profile that connects anew is presented before its old connection is reported gone, so nothing is keyed by
//! profile; a client that was never admitted is reported gone too, and leaves no trace. The roster is written to a
//! file, and read back by the next Postern: a daemon repeats no event, but answers `status` with the ids that it
//! knows, against which [`Roster::reconcile`] holds what was remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use domain::ids::{ProfileId, SessionId};
use domain::presence::Moment;
use domain::session::{EndReason, Session};
use openvpn::management::{Cid, ClientKind, ClientRow, Dialect, Status};
use services::access::sessions::SessionRecord;

/// A client that was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Client {
    /// Its session.
    pub session: Session,
    /// The name in its certificate, by which the daemon finds it.
    pub common_name: String,
    /// The mark of its configuration ([`ClientSpec::mark`](domain::spec::ClientSpec::mark)).
    pub pushed: String,
    /// What kind of client it is.
    #[serde(default)]
    pub kind: ClientKind,
    /// Whether the daemon has said that it is up; its session began then.
    pub up: bool,
    /// When that was. A roster of the previous release does not say.
    #[serde(default)]
    pub since: Option<Moment>,
    /// Why it was asked to go, if it was.
    pub leaving: Option<EndReason>,
    /// Whether this Postern asked. One that was before us may have died over it, so who is still there is asked again.
    #[serde(skip)]
    asked: bool,
}

impl Client {
    /// A client that is let in now.
    pub(super) fn admitted(session: Session, common_name: String, pushed: String) -> Self {
        let kind = ClientKind::default();
        Self { session, common_name, pushed, kind, up: false, since: None, leaving: None, asked: false }
    }

    /// The same, of a known kind.
    pub(super) fn of(self, kind: ClientKind) -> Self {
        Self { kind, ..self }
    }

    /// Whether it stays, as far as we know.
    pub(super) fn stays(&self) -> bool {
        !self.asked
    }

    fn ask(&mut self, reason: EndReason) {
        self.leaving.get_or_insert(reason);
        self.asked = true;
    }

    /// How its engine is talked to.
    pub(super) fn dialect(&self) -> Dialect {
        let version = self.session.client_version.as_deref().unwrap_or_default();
        Dialect::of(version, self.session.client_protocol.unwrap_or(0))
    }
}

/// When an event of a session happens, for its record.
#[derive(Debug, Clone)]
pub(super) struct EventTime {
    /// By the clock of the cluster, as far as it is known.
    pub time: Timestamp,
    /// By the machine's uptime.
    pub moment: Moment,
}

/// A roster as it is written to a file. Ids count within one process, so it names which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The process id of the daemon.
    pub pid: i32,
    /// When it was started (`proc_pid_stat(5)`, field 22).
    pub started: u64,
    /// Client ids with their clients.
    pub clients: Vec<(u64, Client)>,
}

/// What comes of comparing memory with a daemon's status.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    /// Sessions to write down.
    pub records: Vec<SessionRecord>,
    /// Clients whose question has no answer on its way, unless the question is still on its way to us.
    pub unanswered: Vec<Cid>,
    /// Clients that policy cannot judge: no session of theirs is recorded, or they cannot be read.
    pub unvouched: Vec<Cid>,
}

/// The clients of one daemon.
#[derive(Debug, Default)]
pub(super) struct Roster {
    clients: BTreeMap<Cid, Client>,
    by_session: BTreeMap<SessionId, Cid>,
    by_profile: BTreeSet<(ProfileId, Cid)>,
    /// Remembered, and not yet confirmed by the daemon.
    unconfirmed: BTreeSet<Cid>,
    /// Reported gone before the status came that may still list them.
    departed: BTreeSet<Cid>,
    reconciling: bool,
}

impl Roster {
    /// The roster file of the same process, to be confirmed by [`reconcile`](Self::reconcile).
    pub(super) fn remembered(clients: impl IntoIterator<Item = (u64, Client)>) -> Self {
        let mut roster = Self { reconciling: true, ..Self::default() };
        for (cid, client) in clients {
            roster.unconfirmed.insert(Cid(cid));
            roster.insert(Cid(cid), Client { asked: false, ..client });
        }
        roster
    }

    /// The clients for the file.
    pub(super) fn to_saved(&self) -> Vec<(u64, Client)> {
        self.clients.iter().map(|(cid, client)| (cid.0, client.clone())).collect()
    }

    fn insert(&mut self, cid: Cid, client: Client) {
        self.remove(cid);
        self.by_profile.insert((client.session.profile_id, cid));
        self.by_session.insert(client.session.id, cid);
        self.clients.insert(cid, client);
    }

    fn remove(&mut self, cid: Cid) -> Option<Client> {
        let client = self.clients.remove(&cid)?;
        self.by_session.remove(&client.session.id);
        self.by_profile.remove(&(client.session.profile_id, cid));
        self.unconfirmed.remove(&cid);
        Some(client)
    }

    /// A client was let in. An older connection of its profile is about to be replaced by the daemon.
    pub(super) fn admitted(&mut self, cid: Cid, client: Client) {
        let profile = client.session.profile_id;
        for older in self.of(profile) {
            if let Some(older) = self.clients.get_mut(&older) {
                older.ask(EndReason::Superseded);
            }
        }
        self.insert(cid, client);
    }

    /// The daemon did not take our answer that lets a client in: the client is none, and did not replace anybody.
    pub(super) fn not_admitted(&mut self, cid: Cid) {
        if self.clients.get(&cid).is_some_and(|client| !client.up)
            && let Some(client) = self.remove(cid)
        {
            for other in self.of(client.session.profile_id) {
                if let Some(other) = self.clients.get_mut(&other)
                    && other.leaving == Some(EndReason::Superseded)
                {
                    (other.leaving, other.asked) = (None, false);
                }
            }
        }
    }

    /// The connections of a profile.
    fn of(&self, profile: ProfileId) -> Vec<Cid> {
        let all = (profile, Cid(0))..=(profile, Cid(u64::MAX));
        self.by_profile.range(all).map(|(_, cid)| *cid).collect()
    }

    /// A client is up: its session begins, at this moment.
    pub(super) fn established(&mut self, cid: Cid, at: Moment) -> Option<SessionRecord> {
        let client = self.clients.get_mut(&cid).filter(|client| !client.up)?;
        client.up = true;
        client.since = Some(at);
        Some(SessionRecord::began(client.session.clone(), client.since.clone()))
    }

    /// A client was given an address: whether it is the one of its profile. Clients that were never admitted have none.
    pub(super) fn addressed(&self, cid: Cid, address: Ipv4Addr) -> bool {
        self.clients.get(&cid).is_none_or(|client| client.session.address == address)
    }

    /// New counters of a client.
    pub(super) fn counted(&mut self, cid: Cid, received: u64, sent: u64) -> Option<&Session> {
        let client = self.clients.get_mut(&cid)?;
        client.session.bytes_received = client.session.bytes_received.max(received);
        client.session.bytes_sent = client.session.bytes_sent.max(sent);
        client.up.then_some(&client.session)
    }

    /// We asked a client to go; the first reason stands.
    pub(super) fn leaving(&mut self, cid: Cid, reason: EndReason) {
        if let Some(client) = self.clients.get_mut(&cid) {
            client.ask(reason);
        }
    }

    /// A client is gone: the end of its session, if it had begun.
    pub(super) fn disconnected(&mut self, cid: Cid, received: u64, sent: u64, at: &EventTime) -> Option<SessionRecord> {
        if self.reconciling {
            self.departed.insert(cid);
        }
        self.counted(cid, received, sent);
        ended(self.remove(cid)?, at, EndReason::Disconnected)
    }

    /// The daemon is gone: the ends of all sessions.
    pub(super) fn all_ended(&mut self, at: &EventTime) -> Vec<SessionRecord> {
        let clients = std::mem::take(self).clients;
        clients.into_values().filter_map(|client| ended(client, at, EndReason::DaemonEnded)).collect()
    }

    /// Holds what was remembered against the daemon's status. `adopt` makes a client of a row that nothing is known
    /// of, if the policy allows.
    pub(super) fn reconcile(
        &mut self,
        status: &Status,
        at: &EventTime,
        mut adopt: impl FnMut(&ClientRow) -> Option<Client>,
    ) -> Reconciled {
        let mut result = Reconciled::default();
        let departed = std::mem::take(&mut self.departed);
        for row in status.clients.iter().filter(|row| !departed.contains(&row.cid)) {
            let known = self.clients.contains_key(&row.cid);
            let confirmed = self.unconfirmed.remove(&row.cid);
            match (row.address, known) {
                (Some(_), true) => result.records.extend(self.confirm(row, at)),
                (Some(_), false) => match adopt(row) {
                    Some(client) => {
                        self.insert(row.cid, client);
                        result.records.extend(self.confirm(row, at));
                    }
                    None => result.unvouched.push(row.cid),
                },
                // Let in by the Postern before us, whose answer did not arrive.
                (None, true) if confirmed => {
                    self.remove(row.cid);
                    result.unanswered.push(row.cid);
                }
                (None, true) => {}
                (None, false) => result.unanswered.push(row.cid),
            }
        }
        // They live, so what is remembered of them stays until they are gone.
        for row in status.unreadable.iter().filter(|row| !departed.contains(&row.cid)) {
            self.unconfirmed.remove(&row.cid);
            self.leaving(row.cid, EndReason::Disconnected);
            result.unvouched.push(row.cid);
        }
        let vanished = std::mem::take(&mut self.unconfirmed);
        let vanished = vanished.into_iter().filter_map(|cid| ended(self.remove(cid)?, at, EndReason::DaemonEnded));
        let vanished: Vec<_> = vanished.collect();
        result.records.extend(vanished);
        self.reconciling = false;
        result
    }

    /// A session that began while Postern was away, or under a release that did not note when, began before now, and
    /// that is all that is known.
    fn confirm(&mut self, row: &ClientRow, at: &EventTime) -> Option<SessionRecord> {
        self.counted(row.cid, row.bytes_received, row.bytes_sent);
        let client = self.clients.get_mut(&row.cid)?;
        client.session.remote_address = real_address(row);
        client.up = true;
        if client.since.is_some() {
            return None;
        }
        client.since = Some(Moment { earliest: None, guess: None, ..at.moment.clone() });
        Some(SessionRecord::began(client.session.clone(), client.since.clone()))
    }

    /// A client by its id.
    pub(super) fn get(&self, cid: Cid) -> Option<&Client> {
        self.clients.get(&cid)
    }

    /// Who carries a session.
    pub(super) fn find(&self, session: SessionId) -> Option<Cid> {
        self.by_session.get(&session).copied()
    }

    /// All clients.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cid, &Client)> {
        self.clients.iter().map(|(cid, client)| (*cid, client))
    }

    /// Whether a client is the only one of its profile.
    pub(super) fn is_alone(&self, cid: Cid) -> bool {
        self.clients.get(&cid).is_some_and(|client| self.of(client.session.profile_id).len() == 1)
    }

    /// Whether it holds no session.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

/// Where a client connects from, as far as the daemon tells.
pub(super) fn real_address(row: &ClientRow) -> SocketAddr {
    SocketAddr::new(row.real_ip, row.real_port.unwrap_or(0))
}

fn ended(client: Client, at: &EventTime, otherwise: EndReason) -> Option<SessionRecord> {
    let reason = client.leaving.unwrap_or(otherwise);
    let EventTime { time, moment } = at.clone();
    client.up.then_some(SessionRecord::Ended { session: client.session, at: time, reason, moment: Some(moment) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use openvpn::management::UnreadableRow;

    fn now() -> EventTime {
        EventTime { time: Timestamp::UNIX_EPOCH, moment: samples::moment() }
    }

    fn client(n: u128) -> Client {
        Client::admitted(samples::session(n), "x".to_owned(), "mark".to_owned())
    }

    fn up(roster: &mut Roster, cid: u64, n: u128) {
        roster.admitted(Cid(cid), client(n));
        assert!(roster.established(Cid(cid), samples::moment()).is_some());
    }

    #[test]
    fn an_admission_that_came_too_late_leaves_no_trace() {
        let mut roster = Roster::default();
        up(&mut roster, 1, 1);
        let mut again = client(2);
        again.session.profile_id = client(1).session.profile_id;
        roster.admitted(Cid(2), again);
        assert!(!roster.is_alone(Cid(1)));
        roster.not_admitted(Cid(2));
        assert!(roster.get(Cid(2)).is_none() && roster.is_alone(Cid(1)));
        assert!(roster.get(Cid(1)).is_some_and(|client| client.stays() && client.leaving.is_none()));
        // One that is up renews its keys: that it is told nothing new ends nothing.
        roster.not_admitted(Cid(1));
        assert!(roster.get(Cid(1)).is_some());
    }

    fn row(cid: u64, address: Option<&str>) -> ClientRow {
        ClientRow {
            cid: Cid(cid),
            common_name: "x".to_owned(),
            real_ip: "192.0.2.9".parse().unwrap(),
            real_port: Some(4000),
            address: address.map(|address| address.parse().unwrap()),
            bytes_received: 10,
            bytes_sent: 20,
            since: 7,
        }
    }

    fn status(clients: impl Into<Vec<ClientRow>>) -> Status {
        Status { clients: clients.into(), unreadable: Vec::new() }
    }

    fn reason(record: Option<SessionRecord>) -> Option<(EndReason, u64)> {
        match record? {
            SessionRecord::Ended { session, reason, .. } => Some((reason, session.bytes_received)),
            SessionRecord::Began(_) => None,
        }
    }

    #[test]
    fn a_profile_that_connects_anew_supersedes_its_old_connection() {
        let mut roster = Roster::default();
        up(&mut roster, 1, 1);
        // CONNECT new, DISCONNECT old, ADDRESS, ESTABLISHED: the order that OpenVPN reports.
        roster.admitted(Cid(2), client(2));
        assert_eq!(reason(roster.disconnected(Cid(1), 5, 6, &now())), Some((EndReason::Superseded, 5)));
        assert!(roster.addressed(Cid(2), samples::session(2).address));
        let began = roster.established(Cid(2), samples::moment());
        assert_eq!(began, Some(SessionRecord::began(samples::session(2), Some(samples::moment()))));
        assert_eq!(reason(roster.disconnected(Cid(2), 0, 0, &now())), Some((EndReason::Disconnected, 0)));
        assert!(roster.is_empty());
    }

    #[test]
    fn a_client_that_was_never_admitted_leaves_no_trace() {
        let mut roster = Roster::default();
        assert!(roster.disconnected(Cid(9), 0, 0, &now()).is_none());
        assert!(roster.established(Cid(9), samples::moment()).is_none());
        assert!(roster.addressed(Cid(9), "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_admitted_client_that_never_came_up_had_no_session() {
        let mut roster = Roster::default();
        roster.admitted(Cid(1), client(1));
        assert!(roster.disconnected(Cid(1), 0, 0, &now()).is_none());
    }

    #[test]
    fn another_address_than_the_meant_one_is_seen() {
        let mut roster = Roster::default();
        roster.admitted(Cid(1), client(1));
        assert!(!roster.addressed(Cid(1), "10.9.0.99".parse().unwrap()));
    }

    #[test]
    fn the_first_reason_to_go_stands_and_counters_never_shrink() {
        let mut roster = Roster::default();
        up(&mut roster, 1, 1);
        roster.counted(Cid(1), 100, 50);
        roster.leaving(Cid(1), EndReason::Refused);
        roster.leaving(Cid(1), EndReason::Requested);
        assert_eq!(reason(roster.disconnected(Cid(1), 0, 0, &now())), Some((EndReason::Refused, 100)));
    }

    #[test]
    fn a_restarted_manager_keeps_whom_the_daemon_still_knows() {
        let mut before = Roster::default();
        up(&mut before, 1, 1);
        up(&mut before, 2, 2);
        before.admitted(Cid(3), client(3));
        before.admitted(Cid(4), client(4));
        let mut roster = Roster::remembered(before.to_saved());
        let rows = [row(1, Some("10.9.0.7")), row(3, Some("10.9.0.7")), row(4, None), row(5, None)];
        let result = roster.reconcile(&status(rows), &now(), |_| None);
        let began: Vec<_> = result.records.iter().filter(|record| matches!(record, SessionRecord::Began(_))).collect();
        assert_eq!(began.len(), 1, "the one whose establishment was missed");
        assert_eq!(result.records.len(), 2);
        assert_eq!(result.unanswered, [Cid(4), Cid(5)]);
        assert!(result.unvouched.is_empty());
        assert_eq!(roster.find(samples::session(1).id), Some(Cid(1)), "the session keeps its id");
        assert_eq!(roster.get(Cid(1)).unwrap().session.bytes_received, 10);
        assert!(roster.get(Cid(2)).is_none() && roster.get(Cid(4)).is_none());
    }

    #[test]
    fn whoever_came_up_unseen_began_before_now() {
        // Remembered by a Postern of the previous release, whose rosters do not say since when.
        let mut before = Roster::default();
        up(&mut before, 1, 1);
        let mut saved = serde_json::to_value(before.to_saved()).unwrap();
        saved[0][1].as_object_mut().unwrap().remove("since");
        let mut roster = Roster::remembered(serde_json::from_value::<Vec<(u64, Client)>>(saved).unwrap());
        let result = roster.reconcile(&status([row(1, Some("10.9.0.7"))]), &now(), |_| None);
        let [SessionRecord::Began(beginning)] = result.records.as_slice() else { panic!("{result:?}") };
        let moment = beginning.moment.as_ref().unwrap();
        assert_eq!((moment.earliest, moment.latest), (None, samples::moment().latest));
    }

    #[test]
    fn whoever_was_to_go_and_is_still_there_is_asked_again() {
        let mut before = Roster::default();
        for n in [1, 2] {
            up(&mut before, n, u128::from(n));
            before.leaving(Cid(n), EndReason::Moved);
        }
        let mut roster = Roster::remembered(before.to_saved());
        let result = roster.reconcile(&status([row(1, Some("10.9.0.7"))]), &now(), |_| None);
        let [SessionRecord::Ended { reason: EndReason::Moved, .. }] = result.records.as_slice() else {
            panic!("{result:?}");
        };
        assert!(!before.get(Cid(1)).unwrap().stays() && roster.get(Cid(1)).unwrap().stays());
        assert_eq!(reason(roster.disconnected(Cid(1), 0, 0, &now())).unwrap().0, EndReason::Moved);
    }

    #[test]
    fn a_stranger_is_adopted_or_named() {
        let mut roster = Roster::remembered([]);
        let rows = [row(1, Some("10.9.0.7")), row(2, Some("10.9.0.8"))];
        let result = roster.reconcile(&status(rows), &now(), |row| (row.cid == Cid(1)).then(|| client(1)));
        assert_eq!(result.unvouched, [Cid(2)]);
        assert!(matches!(result.records.as_slice(), [SessionRecord::Began(_)]));
    }

    #[test]
    fn a_client_that_cannot_be_read_is_remembered_until_it_is_gone() {
        let mut before = Roster::default();
        up(&mut before, 1, 1);
        let mut roster = Roster::remembered(before.to_saved());
        let unreadable = |cid| UnreadableRow { cid: Cid(cid), column: "Real Address" };
        let status = Status { clients: Vec::new(), unreadable: vec![unreadable(1), unreadable(2)] };
        let result = roster.reconcile(&status, &now(), |_| panic!("nothing is known to adopt it by"));
        assert_eq!(result.unvouched, [Cid(1), Cid(2)]);
        assert!(result.records.is_empty(), "nobody has left yet: {:?}", result.records);
        assert!(!roster.get(Cid(1)).unwrap().stays());
        assert_eq!(reason(roster.disconnected(Cid(1), 5, 6, &now())), Some((EndReason::Disconnected, 5)));
    }

    #[test]
    fn events_that_overtake_the_status_count() {
        let mut before = Roster::default();
        up(&mut before, 1, 1);
        let mut roster = Roster::remembered(before.to_saved());
        assert!(roster.disconnected(Cid(1), 0, 0, &now()).is_some());
        roster.admitted(Cid(2), client(2));
        let rows = [row(1, Some("10.9.0.7")), row(2, None)];
        let result = roster.reconcile(&status(rows), &now(), |_| panic!("nobody is a stranger"));
        assert_eq!(result, Reconciled::default());
        assert!(roster.get(Cid(2)).is_some());
    }

    #[test]
    fn the_end_of_the_daemon_ends_every_session() {
        let mut roster = Roster::default();
        up(&mut roster, 1, 1);
        roster.admitted(Cid(2), client(2));
        let records = roster.all_ended(&now());
        assert_eq!(records.len(), 1);
        assert!(roster.is_empty());
    }
}
