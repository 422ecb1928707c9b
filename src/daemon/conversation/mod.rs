//! The dialogue with one running daemon: events in, answers and orders out, the roster in between.
//!
//! One loop owns everything, so nothing is locked and nothing overtakes. It never waits for the database: a client
//! whose certificate is not known waits aside for one fresh look at the policy, bounded, while others are answered.
//! Anything that takes place later (the second step of a kill, the next of a wave of moves, writing the roster) is a
//! due time that the loop wakes for.

mod adoption;
mod ends;
mod questions;

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{Span, field};

use super::Here;
use super::lateness::{TURN, Turns, dialled_ago};
use super::moves::Moves;
use super::roster::{EventTime, Roster};
use super::roster_file::RosterFile;
use domain::access::Snapshot;
use domain::ids::{ServerId, SessionId};
use domain::session::EndReason;
use metrics::catalogue::VPN_CONNECT_SECONDS;
use openvpn::management::link::{AskError, LinkHandle};
use openvpn::management::{Cid, Command, DaemonState, Event, Farewell, Reply};
use openvpn::process::Running;
use questions::{PolicyRead, Question};
use services::access::sessions::{Beginning, SessionRecord};

/// How often live sessions are held against the policy without a change of it.
const PERIOD: Duration = Duration::from_secs(30);
/// Seconds between two reports of counters.
const COUNTER_PERIOD: u32 = 15;
/// How often the loop goes around when nothing happens, to show that it does.
const TICK: Duration = Duration::from_secs(2);
/// The limit of an answer from the daemon.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A request to end a session.
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
    Check,
    /// The daemon began or ceased to serve.
    State,
    /// Postern stops.
    Stop,
    /// The process has ended.
    Died,
    /// The process runs, but does not talk to us any more.
    LinkLost,
    /// The process runs, but which clients it has cannot be read.
    Unreadable,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The dialogue with one process.
pub(super) struct Conversation {
    here: Arc<Here>,
    server: ServerId,
    link: LinkHandle,
    events: mpsc::Receiver<Event>,
    roster: Roster,
    roster_file: RosterFile,
    serving: bool,
    unreadable: bool,
    status: Option<Boxed<Result<Reply, AskError>>>,
    /// Clients that connected since the link was made.
    asked: HashSet<Cid>,
    unanswered: Option<(Instant, Vec<Cid>)>,
    unknown_profiles: Vec<Question>,
    refreshing: Option<(Boxed<bool>, Vec<Question>)>,
    kills: VecDeque<(Instant, Cid)>,
    moves: Moves,
    next_look: Instant,
    turns: Turns,
}

impl Conversation {
    /// Begins the dialogue over a fresh link, and asks who is connected.
    pub(super) fn begin(
        here: Arc<Here>,
        server: ServerId,
        link: LinkHandle,
        events: mpsc::Receiver<Event>,
        roster_file: RosterFile,
    ) -> Result<Self, AskError> {
        let roster = Roster::remembered(roster_file.load());
        here.registry.turn(server);
        for (_, client) in roster.iter().filter(|(_, client)| client.up) {
            here.registry.welcome(client);
        }
        link.send(Command::StateOn)?;
        link.send(Command::ByteCount(COUNTER_PERIOD))?;
        let asked = link.clone();
        let now = Instant::now();
        let turns = Turns::new(here.services.cluster().uptime());
        Ok(Self {
            here,
            server,
            link,
            events,
            roster,
            roster_file,
            serving: false,
            unreadable: false,
            status: Some(Box::pin(async move { asked.ask(Command::Status, ANSWER_LIMIT).await })),
            asked: HashSet::new(),
            unanswered: None,
            unknown_profiles: Vec::new(),
            refreshing: None,
            kills: VecDeque::new(),
            moves: Moves::new(now),
            next_look: now,
            turns,
        })
    }

    /// Whether clients can connect.
    pub(super) fn is_serving(&self) -> bool {
        self.serving
    }

    /// Whether the daemon, though its process is there, did not answer.
    pub(super) fn is_mute(&self) -> bool {
        self.link.is_mute()
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
            self.here.registry.turn(self.server);
            let due = self.next_due().min(Instant::now() + TICK);
            let served = self.serving;
            self.turns.turn(self.here.services.cluster().uptime(), self.events.is_empty());
            let done = tokio::select! {
                () = stop.cancelled() => return Pause::Stop,
                gone = running.gone() => {
                    if let Err(error) = gone {
                        tracing::warn!(event = "daemon.end_unseen", error = &error as &dyn std::error::Error,
                            "the exit of a daemon could not be read");
                    }
                    return Pause::Died;
                }
                event = self.events.recv() => match event {
                    Some(event) => self.hear(event),
                    None => return if running.is_alive() { Pause::LinkLost } else { Pause::Died },
                },
                reply = ready(self.status.as_mut()) => {
                    self.status = None;
                    self.reconcile(reply)
                }
                fresh = ready(self.refreshing.as_mut().map(|(look, _)| look)) => self.refreshed(fresh),
                Some(order) = orders.recv() => self.obey(order),
                changed = snapshots.changed() => match changed {
                    Ok(()) => return Pause::Check,
                    Err(_) => return Pause::Stop,
                },
                () = tokio::time::sleep_until(due) => {
                    if Instant::now() >= self.next_look {
                        self.next_look = Instant::now() + PERIOD;
                        return Pause::Check;
                    }
                    self.on_time()
                }
            };
            if done.is_err() {
                return if running.is_alive() { Pause::LinkLost } else { Pause::Died };
            }
            if self.unreadable {
                return Pause::Unreadable;
            }
            if self.serving != served {
                return Pause::State;
            }
        }
    }

    fn next_due(&self) -> Instant {
        let kill = self.kills.front().map(|(at, _)| *at);
        let unanswered = self.unanswered.as_ref().map(|(at, _)| *at);
        let turn = Some(Instant::now() + TURN);
        let others = [turn, self.moves.due(), kill, unanswered, self.roster_file.due()];
        others.into_iter().flatten().fold(self.next_look, Instant::min)
    }

    /// Now, for what is written down.
    fn at(&self) -> EventTime {
        EventTime { time: self.here.services.now(), moment: self.here.services.cluster().moment(Some(Duration::ZERO)) }
    }

    fn on_time(&mut self) -> Result<(), AskError> {
        let now = Instant::now();
        if self.roster_file.due().is_some_and(|due| due <= now) {
            self.roster_file.write(&self.roster);
        }
        while let Some((_, cid)) = self.kills.pop_front_if(|(at, _)| *at <= now) {
            self.evict(cid)?;
        }
        if let Some((_, waiting)) = self.unanswered.take_if(|(at, _)| *at <= now) {
            for cid in waiting.into_iter().filter(|cid| !self.asked.contains(cid)) {
                self.link.send(Command::Kill { cid, farewell: Farewell::Restart })?;
            }
        }
        self.move_those_due(now)
    }

    /// In whose course something is logged: the client's, and its session's if it has one.
    fn span_of(&self, cid: Cid) -> Span {
        let session = self.roster.get(cid).map(|client| field::display(client.session.id));
        tracing::error_span!("client", client = cid.0, session.id = session)
    }

    fn hear(&mut self, event: Event) -> Result<(), AskError> {
        let _client = event.client().map(|cid| self.span_of(cid).entered());
        self.turns.turn(self.here.services.cluster().uptime(), false);
        match event {
            Event::Connect { cid, kid, client } => {
                self.asked.insert(cid);
                self.decide(self.question(cid, kid, client, false), PolicyRead::None)?;
            }
            Event::Reauth { cid, kid, client } => {
                self.decide(self.question(cid, kid, client, true), PolicyRead::None)?;
            }
            Event::Established { cid, dialled } => self.established(cid, dialled),
            Event::NotAdmitted { cid } => {
                self.roster.not_admitted(cid);
                self.roster_file.touch();
            }
            Event::Address { cid, address, primary: true } if !self.roster.addressed(cid, address) => {
                tracing::error!(event = "vpn.wrong_address", server.id = %self.server, %address,
                    "a client was given another address than its own");
                self.link.send(Command::Kill { cid, farewell: Farewell::Restart })?;
            }
            Event::Disconnect { cid, bytes_received, bytes_sent, .. } => {
                self.unknown_profiles.retain(|question| question.cid != cid);
                if let Some((_, waiting)) = &mut self.refreshing {
                    waiting.retain(|question| question.cid != cid);
                }
                self.asked.remove(&cid);
                let at = self.at();
                let ended = self.roster.disconnected(cid, bytes_received, bytes_sent, &at);
                self.roster_file.touch();
                self.write_down(ended);
            }
            Event::ByteCount { cid, received, sent } => {
                if let Some(session) = self.roster.counted(cid, received, sent) {
                    self.here.registry.carry(session);
                }
            }
            Event::Hold => self.link.send(Command::HoldRelease)?,
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

    fn established(&mut self, cid: Cid, dialled: Option<i64>) {
        let services = &self.here.services;
        let moment = services.cluster().moment(Some(dialled_ago(dialled, services.cluster().machine_now())));
        if let Some(record) = self.roster.established(cid, moment) {
            let took = services.now().duration_since(record.session().connected_at);
            services.metrics().observe(&VPN_CONNECT_SECONDS, [], took.as_secs_f64());
            self.roster_file.touch();
            self.write_down(Some(record));
            self.roster.get(cid).inspect(|client| self.here.registry.welcome(client));
        }
    }

    /// Takes the step of a session to the registry, the session log and the log.
    fn write_down(&self, records: impl IntoIterator<Item = SessionRecord>) {
        for record in records {
            match &record {
                SessionRecord::Began(Beginning { session, .. }) => {
                    self.here.registry.carry(session);
                    tracing::info!(event = "session.began",
                        session.id = %session.id, user.id = %session.user_id, profile.id = %session.profile_id,
                        server.id = %session.server_id, client.version = session.client_version, "session began");
                }
                SessionRecord::Ended { session, reason, .. } => {
                    self.here.registry.put_down(session);
                    tracing::info!(event = "session.ended",
                        session.id = %session.id, user.id = %session.user_id, server.id = %session.server_id,
                        reason = ?reason, "session ended");
                }
            }
            self.here.session_log.record(record);
        }
    }

    /// Hears what the daemon still has to say about its end.
    pub(super) async fn drain(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while let Ok(Some(event)) = tokio::time::timeout_at(until, self.events.recv()).await {
            self.here.registry.turn(self.server);
            if self.hear(event).is_err() {
                break;
            }
        }
    }

    /// The daemon is gone, and all sessions with it.
    pub(super) fn reap(mut self) {
        let at = self.at();
        let records = self.roster.all_ended(&at);
        self.write_down(records);
        self.roster_file.write(&self.roster);
    }

    /// Leaves the daemon to the next Postern.
    pub(super) fn detach(mut self) {
        self.roster_file.write(&self.roster);
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.here.registry.rest(self.server);
    }
}

/// The output of a future that may not be there; then it is never ready.
async fn ready<T>(future: Option<&mut Boxed<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
