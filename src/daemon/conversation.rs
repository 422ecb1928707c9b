//! The dialogue with one running daemon: events in, answers and orders out, the roster in between.
//!
//! One loop owns everything, so nothing is locked and nothing overtakes. It never waits for the database: a client
//! whose certificate is not known waits aside for one fresh look at the policy, bounded, while others are answered.
//! Anything that takes place later (the second step of a kill, the next of a wave of moves, writing the roster) is a
//! due time that the loop wakes for.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    Here, gatekeeper,
    keepsake::Keepsake,
    moves::{Move, Moves},
    reaper,
    roster::{Client, Roster, real_address},
};
use crate::{
    domain::{
        access::{Denial, ProfileAccess, Snapshot},
        ids::{ServerId, SessionId},
        profile::Fingerprint,
        session::{EndReason, Session},
    },
    metrics::catalogue::VPN_CONNECT_SECONDS,
    openvpn::{
        management::{
            Cid, ClientRow, Command, DaemonState, Event, Farewell, Kid, Peer, Reply, Text,
            link::{AskError, LinkHandle},
            parse_status,
        },
        process::Running,
    },
    services::{admission::Admission, sessions::SessionRecord},
};

/// How long a look at the policy may take for a client that is not known.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Between the two steps of a kill: time for the message to arrive.
const KILL_STEP: Duration = Duration::from_millis(100);
/// How long questions of clients may be on their way to us after a status that lists them.
const QUESTION_LAG: Duration = Duration::from_millis(300);
/// How often live sessions are held against the policy without a change of it.
const PERIOD: Duration = Duration::from_secs(30);
/// Seconds between two reports of counters.
const COUNTER_PERIOD: u32 = 15;
/// The limit of an answer from the daemon.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The end of a session, asked for by somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Which session.
    pub session: SessionId,
    /// Why.
    pub reason: EndReason,
}

/// Why the loop handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// The policy changed, or a period is over: is the daemon still as it should be?
    Look,
    /// The daemon began or ceased to serve.
    State,
    /// Postern stops.
    Stop,
    /// The process has ended.
    Died,
    /// The process runs, but does not talk to us any more.
    LinkLost,
}

/// A client that waits for its answer.
struct Question {
    cid: Cid,
    kid: Kid,
    peer: Peer,
    renewal: bool,
}

/// What is known about how fresh the policy is that a client is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It is what is at hand.
    None,
    /// It was just read.
    Fresh,
    /// It could not be read.
    Failed,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The dialogue with one process.
pub(super) struct Conversation {
    here: Arc<Here>,
    server: ServerId,
    link: LinkHandle,
    events: mpsc::Receiver<Event>,
    roster: Roster,
    keepsake: Keepsake,
    serving: bool,
    status: Option<Boxed<Result<Reply, AskError>>>,
    /// Clients that connected since the link was made.
    asked: HashSet<Cid>,
    unanswered: Option<(Instant, Vec<Cid>)>,
    doubtful: Vec<Question>,
    looking: Option<(Boxed<bool>, Vec<Question>)>,
    kills: VecDeque<(Instant, Cid)>,
    moves: Moves,
    next_look: Instant,
}

impl Conversation {
    /// Begins the dialogue over a fresh link, and asks who is connected.
    pub(super) async fn begin(
        here: Arc<Here>,
        server: ServerId,
        link: LinkHandle,
        events: mpsc::Receiver<Event>,
        keepsake: Keepsake,
    ) -> Result<Self, AskError> {
        let roster = Roster::remembered(keepsake.load());
        for (_, client) in roster.iter().filter(|(_, client)| client.up) {
            here.board.welcome(client);
        }
        link.send(Command::StateOn).await?;
        link.send(Command::ByteCount(COUNTER_PERIOD)).await?;
        let asked = link.clone();
        let now = Instant::now();
        Ok(Self {
            here,
            server,
            link,
            events,
            roster,
            keepsake,
            serving: false,
            status: Some(Box::pin(async move { asked.ask(Command::Status, ANSWER_LIMIT).await })),
            asked: HashSet::new(),
            unanswered: None,
            doubtful: Vec::new(),
            looking: None,
            kills: VecDeque::new(),
            moves: Moves::new(now),
            next_look: now,
        })
    }

    /// Whether clients can connect.
    pub(super) fn is_serving(&self) -> bool {
        self.serving
    }

    /// Whether it is known who is connected.
    pub(super) fn is_settled(&self) -> bool {
        self.status.is_none()
    }

    /// Goes on until something happens that is not for the conversation to decide. May be called again.
    pub(super) async fn run(
        &mut self,
        running: &Running,
        snapshots: &mut watch::Receiver<Arc<Snapshot>>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Pause {
        let stop = self.here.stop.clone();
        loop {
            let due = self.next_due();
            let served = self.serving;
            let done = tokio::select! {
                () = stop.cancelled() => return Pause::Stop,
                gone = running.gone() => {
                    if let Err(error) = gone {
                        tracing::warn!(event = "daemon.end_unseen", error = &error as &dyn std::error::Error,
                            "the end of a daemon was not seen well");
                    }
                    return Pause::Died;
                }
                event = self.events.recv() => match event {
                    Some(event) => self.hear(event).await,
                    None => return if running.is_alive() { Pause::LinkLost } else { Pause::Died },
                },
                reply = ready(self.status.as_mut()) => {
                    self.status = None;
                    self.reconcile(reply).await
                }
                fresh = ready(self.looking.as_mut().map(|(look, _)| look)) => self.looked(fresh).await,
                Some(order) = orders.recv() => self.obey(order).await,
                changed = snapshots.changed() => match changed {
                    Ok(()) => return Pause::Look,
                    Err(_) => return Pause::Stop,
                },
                () = tokio::time::sleep_until(due) => {
                    if Instant::now() >= self.next_look {
                        self.next_look = Instant::now() + PERIOD;
                        return Pause::Look;
                    }
                    self.on_time().await
                }
            };
            if done.is_err() {
                return if running.is_alive() { Pause::LinkLost } else { Pause::Died };
            }
            if self.serving != served {
                return Pause::State;
            }
        }
    }

    fn next_due(&self) -> Instant {
        let kill = self.kills.front().map(|(at, _)| *at);
        let unanswered = self.unanswered.as_ref().map(|(at, _)| *at);
        let others = [self.moves.due(), kill, unanswered, self.keepsake.due()];
        others.into_iter().flatten().fold(self.next_look, Instant::min)
    }

    async fn on_time(&mut self) -> Result<(), AskError> {
        let now = Instant::now();
        if self.keepsake.due().is_some_and(|due| due <= now) {
            self.keepsake.write(&self.roster);
        }
        while let Some((_, cid)) = self.kills.pop_front_if(|(at, _)| *at <= now) {
            self.evict(cid).await?;
        }
        if let Some((_, waiting)) = self.unanswered.take_if(|(at, _)| *at <= now) {
            for cid in waiting.into_iter().filter(|cid| !self.asked.contains(cid)) {
                self.link.send(Command::Kill { cid, farewell: Farewell::Restart }).await?;
            }
        }
        let (why, cids) = self.moves.take(&self.roster, self.takers(), now, self.here.services.now());
        for cid in cids {
            self.move_client(cid, why).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, event: Event) -> Result<(), AskError> {
        match event {
            Event::Connect { cid, kid, client } => {
                self.asked.insert(cid);
                self.decide(Question { cid, kid, peer: client, renewal: false }, Look::None).await?;
            }
            Event::Reauth { cid, kid, client } => {
                self.decide(Question { cid, kid, peer: client, renewal: true }, Look::None).await?;
            }
            Event::Established { cid } => self.established(cid),
            Event::Address { cid, address, primary: true } if !self.roster.addressed(cid, address) => {
                tracing::error!(event = "vpn.wrong_address", server.id = %self.server, %address,
                    "a client was given another address than its own");
                self.link.send(Command::Kill { cid, farewell: Farewell::Restart }).await?;
            }
            Event::Disconnect { cid, bytes_received, bytes_sent, .. } => {
                self.doubtful.retain(|question| question.cid != cid);
                if let Some((_, waiting)) = &mut self.looking {
                    waiting.retain(|question| question.cid != cid);
                }
                self.asked.remove(&cid);
                let ended = self.roster.disconnected(cid, bytes_received, bytes_sent, self.here.services.now());
                self.keepsake.touch();
                self.write_down(ended);
            }
            Event::ByteCount { cid, received, sent } => {
                if let Some(session) = self.roster.counted(cid, received, sent) {
                    self.here.board.carry(session);
                }
            }
            Event::Hold => self.link.send(Command::HoldRelease).await?,
            Event::State { state, detail } => self.state(&state, &detail),
            Event::Fatal(text) => tracing::warn!(event = "daemon.fatal", server.id = %self.server, text,
                "the daemon gives up"),
            Event::Address { .. } | Event::Log(_) | Event::Info(_) => {}
            Event::Unknown(line) => tracing::debug!(server.id = %self.server, line, "the daemon said something new"),
        }
        Ok(())
    }

    fn state(&mut self, state: &DaemonState, detail: &str) {
        self.serving = match state {
            DaemonState::Connected => {
                if detail != "SUCCESS" {
                    tracing::warn!(event = "daemon.started_with_errors", server.id = %self.server, detail,
                        "the daemon started with errors");
                }
                true
            }
            DaemonState::Other(_) => self.serving,
            DaemonState::Connecting | DaemonState::Reconnecting | DaemonState::Exiting => false,
        };
    }

    /// Answers a client, or puts it aside for one look at the policy if its certificate is not known: a profile that
    /// was issued a moment ago must connect.
    async fn decide(&mut self, question: Question, look: Look) -> Result<(), AskError> {
        let Question { cid, kid, peer, renewal } = &question;
        let now = self.here.services.now();
        let verdict = peer.fingerprint.map(Fingerprint).ok_or(Denial::UnknownProfile).and_then(|fingerprint| {
            let ask = if *renewal { Admission::renew } else { Admission::admit };
            ask(&self.here.admission, self.here.host, self.server, fingerprint, now)
        });
        let verdict = match (verdict, look) {
            (Err(Denial::UnknownProfile), Look::None) if peer.fingerprint.is_some() => {
                self.doubtful.push(question);
                self.look();
                return Ok(());
            }
            // Somewhere it may be known: that it is not here is our fault.
            (Err(Denial::UnknownProfile), Look::Failed) => Err(Denial::NotKnown),
            (verdict, _) => verdict,
        };
        let snapshot = self.here.admission.snapshot();
        let server = snapshot.server(self.server).map(AsRef::as_ref);
        let others = snapshot.others(self.here.host, self.server);
        let command = gatekeeper::answer(*cid, *kid, peer, server, others, verdict.as_ref().map_err(|denial| *denial));
        match (&verdict, server) {
            (Ok(profile), Some(server)) if !renewal => {
                let session = self.session(profile, peer, now);
                let client = Client::admitted(session, peer.common_name.clone(), gatekeeper::pushed(server));
                self.roster.admitted(*cid, client.of(peer.kind()));
                self.keepsake.touch();
            }
            (Err(denial), _) => {
                self.roster.leaving(*cid, EndReason::Refused);
                if let (Denial::HostLeaving, Some(drain)) = (*denial, snapshot.drain_of(self.here.host)) {
                    self.here.board.turn_away(drain.started_at);
                }
            }
            _ => {}
        }
        if !renewal || verdict.is_err() {
            self.here.tell_attempt(self.server, peer, verdict.as_ref().map_err(|denial| *denial));
        }
        self.link.send(command).await
    }

    fn session(&self, profile: &ProfileAccess, peer: &Peer, now: Timestamp) -> Session {
        Session {
            id: self.here.services.new_id(),
            user_id: profile.user_id,
            profile_id: profile.id,
            server_id: self.server,
            host_id: self.here.host,
            address: profile.address,
            remote_address: peer.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            connected_at: now,
            bytes_received: 0,
            bytes_sent: 0,
            client_version: (!peer.iv_ver.is_empty()).then(|| peer.iv_ver.clone()),
            client_protocol: (peer.iv_proto != 0).then_some(peer.iv_proto),
        }
    }

    /// Starts a look at the policy, unless one is under way: who came after its start needs the next one.
    fn look(&mut self) {
        if self.looking.is_none() && !self.doubtful.is_empty() {
            let admission = self.here.admission.clone();
            let look = async move { matches!(tokio::time::timeout(LOOK_LIMIT, admission.refresh()).await, Ok(Ok(()))) };
            self.looking = Some((Box::pin(look), std::mem::take(&mut self.doubtful)));
        }
    }

    async fn looked(&mut self, fresh: bool) -> Result<(), AskError> {
        let Some((_, waiting)) = self.looking.take() else { return Ok(()) };
        let look = if fresh { Look::Fresh } else { Look::Failed };
        for question in waiting {
            self.decide(question, look).await?;
        }
        self.look();
        Ok(())
    }

    fn established(&mut self, cid: Cid) {
        if let Some(session) = self.roster.established(cid) {
            let took = self.here.services.now().duration_since(session.connected_at);
            self.here.services.metrics().observe(&VPN_CONNECT_SECONDS, [], took.as_secs_f64());
            let record = SessionRecord::Began(session.clone());
            self.keepsake.touch();
            self.write_down(Some(record));
            self.roster.get(cid).inspect(|client| self.here.board.welcome(client));
        }
    }

    /// Takes the step of a session to the board, the journal and the log.
    fn write_down(&self, records: impl IntoIterator<Item = SessionRecord>) {
        for record in records {
            match &record {
                SessionRecord::Began(session) => {
                    self.here.board.carry(session);
                    tracing::info!(event = "session.began",
                        session.id = %session.id, user.id = %session.user_id, profile.id = %session.profile_id,
                        server.id = %session.server_id, client.version = session.client_version, "session began");
                }
                SessionRecord::Ended { session, reason, .. } => {
                    self.here.board.put_down(session);
                    tracing::info!(event = "session.ended",
                        session.id = %session.id, user.id = %session.user_id, server.id = %session.server_id,
                        reason = ?reason, "session ended");
                }
            }
            self.here.journal.record(record);
        }
    }

    /// The daemon said who is connected.
    async fn reconcile(&mut self, reply: Result<Reply, AskError>) -> Result<(), AskError> {
        let rows = match reply? {
            Reply::Lines(lines) => {
                // Only a daemon that serves has a status. An adopted one reports no change of state.
                self.serving = true;
                parse_status(&lines)
            }
            // A daemon that is on hold has no status, and no clients.
            Reply::Success(_) | Reply::Error(_) => Ok(Vec::new()),
        };
        let rows = rows.unwrap_or_else(|error| {
            tracing::error!(
                event = "daemon.status_unreadable",
                error = &error as &dyn std::error::Error,
                "the status of a daemon cannot be read"
            );
            Vec::new()
        });
        let now = self.here.services.now();
        let snapshot = self.here.admission.snapshot();
        let mark = snapshot.server(self.server).map(|server| gatekeeper::pushed(server)).unwrap_or_default();
        let (here, server) = (Arc::clone(&self.here), self.server);
        let adopt = |row: &ClientRow| {
            let session = stranger(&here, server, &snapshot, row, now)?;
            Some(Client::admitted(session, row.common_name.clone(), mark.clone()))
        };
        let result = self.roster.reconcile(&rows, now, adopt);
        if !rows.is_empty() {
            tracing::info!(event = "daemon.clients_adopted", server.id = %self.server, clients = rows.len(),
                "adopted the clients of a running daemon");
        }
        for (_, client) in self.roster.iter().filter(|(_, client)| client.up) {
            self.here.board.welcome(client);
        }
        self.keepsake.touch();
        self.write_down(result.records);
        for cid in result.strangers {
            self.link.send(Command::Kill { cid, farewell: Farewell::Restart }).await?;
        }
        self.unanswered = Some((Instant::now() + QUESTION_LAG, result.unanswered));
        Ok(())
    }

    /// Holds the sessions against a new snapshot.
    pub(super) async fn policy(&mut self, snapshot: &Snapshot) -> Result<(), AskError> {
        for (cid, denial) in reaper::doomed(&self.roster, snapshot, self.here.services.now()) {
            let Some(client) = self.roster.get(cid) else { continue };
            tracing::info!(event = "session.ended_by_policy",
                session.id = %client.session.id, user.id = %client.session.user_id, reason = denial.as_str(),
                "session is ended by the policy");
            let farewell = gatekeeper::farewell(denial, client.dialect());
            self.end(cid, farewell, EndReason::Refused).await?;
        }
        let Some(server) = snapshot.server(self.server) else { return Ok(()) };
        let mark = gatekeeper::pushed(server);
        let stale = |(_, client): &(Cid, &Client)| client.stays() && client.pushed != mark;
        let outdated = self.roster.iter().filter(stale).map(|(cid, _)| cid);
        self.moves.plan(snapshot.drain_of(self.here.host), outdated, Instant::now());
        Ok(())
    }

    /// How many other hosts can take clients over: what they say themselves, or what the policy wants of them.
    fn takers(&self) -> usize {
        let wanted = || self.here.admission.snapshot().others(self.here.host, self.server);
        self.here.board.takers(self.server).unwrap_or_else(wanted)
    }

    async fn move_client(&mut self, cid: Cid, why: Move) -> Result<(), AskError> {
        let Some(client) = self.roster.get(cid) else { return Ok(()) };
        let (farewell, reason) = match why {
            Move::Refresh => (Farewell::Restart, EndReason::Disconnected),
            Move::Away => (gatekeeper::farewell(Denial::HostLeaving, client.dialect()), EndReason::Moved),
        };
        self.roster.leaving(cid, reason);
        self.keepsake.touch();
        self.link.send(Command::Kill { cid, farewell }).await
    }

    async fn obey(&mut self, order: Order) -> Result<(), AskError> {
        let Some(cid) = self.roster.find(order.session) else { return Ok(()) };
        let superseded = "connected from another place";
        let text =
            if order.reason == EndReason::Superseded { superseded } else { "an administrator ended this session" };
        self.end(cid, Farewell::Final(gatekeeper::plain(text)), order.reason).await
    }

    /// Ends a session in two steps: a message, and a moment later the removal, for clients that do not obey.
    async fn end(&mut self, cid: Cid, farewell: Farewell, reason: EndReason) -> Result<(), AskError> {
        if self.roster.get(cid).is_none_or(|client| !client.stays()) {
            return Ok(());
        }
        self.roster.leaving(cid, reason);
        self.keepsake.touch();
        self.kills.push_back((Instant::now() + KILL_STEP, cid));
        self.link.send(Command::Kill { cid, farewell }).await
    }

    /// The second step. The daemon finds clients by name, so it is left out if the profile is connected anew.
    async fn evict(&mut self, cid: Cid) -> Result<(), AskError> {
        let Some(client) = self.roster.get(cid).filter(|_| self.roster.is_alone(cid)) else { return Ok(()) };
        match Text::new(client.common_name.as_str()) {
            Ok(name) => self.link.send(Command::Evict(name)).await,
            // Then the first step has to do, which takes effect after 5 s at the latest.
            Err(_unspeakable) => Ok(()),
        }
    }

    /// Sends everybody to other hosts, and hears them out until they are gone or `patience` is over.
    pub(super) async fn clear(&mut self, patience: Duration) -> Result<(), AskError> {
        let cids: Vec<Cid> = self.roster.iter().map(|(cid, _)| cid).collect();
        for cid in cids {
            self.move_client(cid, Move::Away).await?;
        }
        let until = Instant::now() + patience;
        while !self.roster.is_empty() {
            match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(Some(event)) => self.hear(event).await?,
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Hears what the daemon still has to say about its end.
    pub(super) async fn hear_out(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while let Ok(Some(event)) = tokio::time::timeout_at(until, self.events.recv()).await {
            if self.hear(event).await.is_err() {
                break;
            }
        }
    }

    /// The daemon is gone, and all sessions with it.
    pub(super) fn bury(mut self) {
        let records = self.roster.all_ended(self.here.services.now());
        self.write_down(records);
        self.keepsake.write(&self.roster);
    }

    /// Leaves the daemon to the next Postern.
    pub(super) fn leave(mut self) {
        self.keepsake.write(&self.roster);
    }
}

/// The session of a client that a daemon carries and nothing is remembered of, if the policy admits it. All that is
/// known is the common name, which in certificates of ours is the profile's id.
fn stranger(here: &Here, server: ServerId, snapshot: &Snapshot, row: &ClientRow, now: Timestamp) -> Option<Session> {
    let profile = snapshot.profile(row.common_name.parse().ok()?)?;
    if row.address != Some(profile.address) || snapshot.must_end(server, profile.id, now).is_some() {
        return None;
    }
    Some(Session {
        id: here.services.new_id(),
        user_id: profile.user_id,
        profile_id: profile.id,
        server_id: server,
        host_id: here.host,
        address: profile.address,
        remote_address: real_address(row),
        connected_at: Timestamp::from_second(row.since).unwrap_or(now),
        bytes_received: row.bytes_received,
        bytes_sent: row.bytes_sent,
        client_version: None,
        client_protocol: None,
    })
}

/// The output of a future that may not be there; then it is never ready.
async fn ready<T>(future: Option<&mut Boxed<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
