//! One daemon of this host, from the wish to have it to its end.
//!
//! The keeper looks what the policy wants ([`plan`]), makes it true as far as one step goes, and looks again: after each
//! change of policy, after the end of the process, after a pause if something is missing. It remembers nothing that
//! could be wrong: the directory names the process that runs, and the process names its clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::conversation::{Conversation, Order, Pause};
use super::enforcement::FirewallState;
use super::plan::{OwnKey, Plan, Run, plan, write_secrets};
use super::registry::Report;
use super::roster_file::RosterWriter;
use super::{Here, failure_reason};
use domain::access::Snapshot;
use domain::ids::ServerId;
use domain::problem::ProblemCode;
use domain::server::DaemonState;
use metrics::catalogue::OPENVPN_RESTARTS;
use openvpn::management::Event;
use openvpn::management::link::{Link, LinkHandle};
use openvpn::process::{OpenVpn, Running};
use openvpn::{RuntimeDir, relay};
use runtime::backoff::Backoff;
use runtime::causes::chain;
use runtime::random;
use services::{AttachmentKey, DaemonStatus};

/// The first and the longest pause before a daemon is started again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(30));
/// A daemon that served this long starts a new series of pauses.
const STEADY: Duration = Duration::from_secs(10);
/// How long a relay may take to open its socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(5);
/// How long the firewall may take.
const FIREWALL_LIMIT: Duration = Duration::from_secs(15);
/// How long clients get to leave before their daemon gets the signal to end.
const LEAVE_LIMIT: Duration = Duration::from_millis(800);
/// How long a daemon may take to end; it says farewell for 2 s.
const END_LIMIT: Duration = Duration::from_secs(4);
/// How long a process may take between closing its link and its end.
const DYING: Duration = Duration::from_secs(1);
/// How long a daemon that does not answer may take to end before it is killed.
const MUTE_LIMIT: Duration = Duration::from_secs(1);
/// How long a relay may take to end once its daemon has.
const RELAY_LIMIT: Duration = Duration::from_millis(500);
/// A link that ends before the daemon has answered anything counts one, a mute one this much.
const MUTE: u32 = 5;
/// At this count it is the daemon that does not answer, rather than its relay.
const HUNG: u32 = 10;
/// How often a plan that cannot be carried out is looked at without a change.
const PERIOD: Duration = Duration::from_secs(30);
/// Beyond this many bytes, a daemon's log is emptied.
const LOG_LIMIT: u64 = 4 * 1024 * 1024;
/// Orders that wait for a daemon's loop: one for each of its clients finds room.
const ORDERS: usize = 4096;

/// Why a daemon does not run.
enum FailureReason {
    /// The machine lacks something; an administrator must install it.
    Missing(String),
    /// It ended by itself.
    Ended(String),
    /// It did not answer, and was ended.
    Hung(String),
}

impl FailureReason {
    fn missing(error: &dyn std::error::Error) -> Self {
        Self::Missing(chain(error))
    }
}

/// What comes after one life of a daemon.
enum Next {
    /// Compare with what the policy wants.
    Check,
    /// Postern stops.
    Stop,
}

struct Keeper {
    here: Arc<Here>,
    key: AttachmentKey,
    dir: RuntimeDir,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    firewall_state: watch::Receiver<FirewallState>,
    orders: mpsc::Receiver<Order>,
    roster: RosterWriter,
    own: OwnKey,
    backoff: Backoff,
    failures: u32,
    /// Grows with each link over which the daemon did not answer, until it does.
    silence: u32,
}

/// Where the files of a daemon are.
pub(super) fn directory(here: &Here, server: ServerId) -> PathBuf {
    here.settings.data_dir.join("daemons").join(server.to_string())
}

/// Keeps the daemon of a server as the policy wants it, until it is not wanted here any more or Postern stops.
pub(super) async fn keep(here: Arc<Here>, server: ServerId, firewall_state: watch::Receiver<FirewallState>) {
    let key = AttachmentKey { server_id: server, host_id: here.host };
    let dir = match RuntimeDir::prepare(directory(&here, server)) {
        Ok(dir) => dir,
        Err(error) => {
            let detail = Some(chain(&error));
            here.registry.report(Report::Status(DaemonStatus { key, state: DaemonState::Failed, detail }, None));
            let _ = here.stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await;
            return;
        }
    };
    let (sender, orders) = mpsc::channel(ORDERS);
    here.registry.listen(server, sender);
    let snapshots = here.admission.watch();
    let backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let roster = RosterWriter::open(&dir, &here.tracker);
    let keeper = Keeper {
        here,
        key,
        dir,
        snapshots,
        firewall_state,
        orders,
        roster,
        own: None,
        backoff,
        failures: 0,
        silence: 0,
    };
    keeper.run().await;
}

impl Keeper {
    async fn run(mut self) {
        while !self.here.stop.is_cancelled() {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            // The daemon reads the file when it starts, so it has to be what it was.
            self.own = None;
            match plan(&self.here, &self.dir, self.key.server_id, &snapshot, &mut self.own) {
                Ok(Plan::Unwanted) => return self.remove().await,
                Ok(Plan::Certificate(request)) => {
                    self.settle_if_idle();
                    self.report(DaemonState::Pending, Some("waits for its certificate".to_owned()), Some(request));
                    self.pause(PERIOD).await;
                }
                Ok(Plan::Run(run)) => match self.live(&run).await {
                    Ok(Next::Check) => {}
                    Ok(Next::Stop) => return,
                    Err(failure) => self.mind(failure).await,
                },
                Err(error) => self.mind(FailureReason::missing(&error)).await,
            }
        }
    }

    /// Tells what is wrong, and waits a while.
    async fn mind(&mut self, failure: FailureReason) {
        self.failures = self.failures.saturating_add(1);
        self.settle_if_idle();
        let reason = match failure {
            FailureReason::Missing(_) => "missing",
            FailureReason::Ended(_) => "ended",
            FailureReason::Hung(_) => "hung",
        };
        self.here.services.metrics().count(&OPENVPN_RESTARTS, [reason]);
        let (state, detail) = match failure {
            // A single exit is no crash loop.
            FailureReason::Ended(detail) | FailureReason::Hung(detail) if self.failures < 2 => {
                (DaemonState::Starting, detail)
            }
            FailureReason::Ended(detail) | FailureReason::Hung(detail) | FailureReason::Missing(detail) => {
                (DaemonState::Failed, detail)
            }
        };
        if state == DaemonState::Failed {
            self.problem(ProblemCode::DaemonFailed, Some(detail.clone()));
        }
        self.report(state, Some(detail), None);
        let pause = self.backoff.pause(u32::from_ne_bytes(random::bytes()));
        self.pause(pause).await;
    }

    /// Waits for `limit`, a change of policy, or the end.
    async fn pause(&mut self, limit: Duration) {
        tokio::select! {
            () = self.here.stop.cancelled() => {}
            _ = self.snapshots.changed() => {}
            // What was missing may be there now.
            _ = self.firewall_state.changed() => {}
            () = tokio::time::sleep(limit) => {}
        }
    }

    fn report(&self, state: DaemonState, detail: Option<String>, request: Option<String>) {
        self.here.registry.report(Report::Status(DaemonStatus { key: self.key, state, detail }, request));
    }

    fn problem(&self, code: ProblemCode, detail: Option<String>) {
        let services = &self.here.services;
        services.problems().set(code, Some(self.key.server_id), detail, services.now());
    }

    /// Where no process runs, no sessions are.
    fn settle_if_idle(&self) {
        if matches!(Running::adopt(&self.dir), Ok(None)) {
            self.here.registry.settle(self.key.server_id);
        }
    }

    /// One life of the daemon, or what is left of one that began under an earlier Postern.
    async fn live(&mut self, run: &Run) -> Result<Next, FailureReason> {
        let protected = self.wait_for_firewall().await;
        let collision = self.firewall_state.borrow().collision(self.key.server_id);
        let running = match Running::adopt(&self.dir).map_err(|error| FailureReason::missing(&error))? {
            // As long as it runs, not even a change of the network would reach this host.
            Some(running) if collision.as_ref().is_some_and(|collision| collision.cuts_off_database) => {
                self.finish_unattended(running).await;
                return Ok(Next::Check);
            }
            Some(running) if running.runs(&run.config) => running,
            Some(outdated) => {
                self.finish_unattended(outdated).await;
                return Ok(Next::Check);
            }
            None => {
                protected?;
                collision.map_or(Ok(()), |collision| Err(FailureReason::Missing(collision.detail)))?;
                self.start(run).await?
            }
        };
        let (mut conversation, _link) = self.converse(&running).await?;
        let mut serving_since = None;
        loop {
            let pause = match conversation.run(&running, &mut self.snapshots, &mut self.orders).await {
                // A process that ends closes the link a moment before it is gone.
                Pause::LinkLost if matches!(running.wait_gone(DYING).await, Ok(true)) => Pause::Died,
                pause => pause,
            };
            if conversation.is_serving() {
                serving_since.get_or_insert_with(Instant::now);
            }
            match pause {
                Pause::Check | Pause::State => {
                    if !self.look(&mut conversation, run) {
                        self.here.services.metrics().count(&OPENVPN_RESTARTS, ["settings"]);
                        self.report(
                            DaemonState::Stopped,
                            Some("it ends, or starts anew with other settings".to_owned()),
                            None,
                        );
                        self.finish(conversation, &running).await;
                        return Ok(Next::Check);
                    }
                }
                Pause::Stop if self.here.settings.stop_with_postern => {
                    self.finish(conversation, &running).await;
                    self.report(DaemonState::Stopped, None, None);
                    return Ok(Next::Stop);
                }
                Pause::Stop => {
                    conversation.detach();
                    return Ok(Next::Stop);
                }
                // Whom policy cannot vouch for must not stay. Its clients come back to a daemon that asks about each.
                Pause::Unreadable => {
                    self.here.services.metrics().count(&OPENVPN_RESTARTS, ["unreadable"]);
                    self.finish(conversation, &running).await;
                    return Ok(Next::Check);
                }
                Pause::LinkLost => return self.link_lost(conversation, &running).await,
                Pause::Died => {
                    conversation.reap();
                    self.end_relay().await;
                    if serving_since.is_some_and(|since: Instant| since.elapsed() > STEADY) {
                        self.backoff.reset();
                        self.failures = 0;
                    }
                    return Err(FailureReason::Ended(failure_reason::last_words(&self.dir)));
                }
            }
        }
    }

    /// The process runs, and the link has ended. Its relay may be at fault; if another one fares no better, the daemon
    /// is.
    async fn link_lost(&mut self, conversation: Conversation, running: &Running) -> Result<Next, FailureReason> {
        let mute = conversation.is_mute();
        self.silence = self.silence.saturating_add(if mute { MUTE } else { 1 });
        tracing::warn!(event = "daemon.link_lost", server.id = %self.key.server_id, mute,
            "the management connection of a daemon was lost");
        if self.silence >= HUNG {
            let detail = "openvpn did not answer on its management socket, was ended and is started anew";
            self.problem(ProblemCode::DaemonHung, Some(detail.to_owned()));
            self.silence = 0;
            self.end(running, MUTE_LIMIT, std::future::ready(())).await;
            conversation.reap();
            self.end_relay().await;
            return Err(FailureReason::Hung(detail.to_owned()));
        }
        conversation.detach();
        if mute {
            let detail = "openvpn does not answer on its management socket";
            self.problem(ProblemCode::DaemonHung, Some(detail.to_owned()));
            self.report(DaemonState::Starting, Some(detail.to_owned()), None);
            // It may be frozen, and hold the connection.
            self.end_relay().await;
        } else {
            self.pause(PAUSES.0).await;
        }
        Ok(Next::Check)
    }

    /// There is no daemon that the relay could hold the link to, or the relay does not do it.
    async fn end_relay(&self) {
        if let Err(error) = relay::end(&self.dir, RELAY_LIMIT).await {
            tracing::warn!(event = "relay.unended", server.id = %self.key.server_id,
                error = &error as &dyn std::error::Error, "the relay of a daemon could not be ended");
        }
    }

    /// Holds the running daemon against the policy. `false` if it cannot go on as it runs.
    fn look(&mut self, conversation: &mut Conversation, run: &Run) -> bool {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let request = match plan(&self.here, &self.dir, self.key.server_id, &snapshot, &mut self.own) {
            Ok(Plan::Run(now)) if now.config == run.config => now.request,
            Ok(Plan::Run(_) | Plan::Unwanted) => return false,
            // It goes on with what it has.
            Ok(Plan::Certificate(request)) => Some(request),
            Err(error) => {
                tracing::warn!(event = "daemon.no_plan",
                    server.id = %self.key.server_id, error = &error as &dyn std::error::Error,
                    "the configuration of a daemon could not be made");
                None
            }
        };
        if conversation.is_settled() {
            self.here.registry.settle(self.key.server_id);
            self.silence = 0;
        }
        if conversation.is_serving() && conversation.is_settled() {
            self.problem(ProblemCode::DaemonHung, None);
            self.problem(ProblemCode::DaemonFailed, None);
        }
        let draining = snapshot.drain_of(self.here.host).is_some();
        let state = match (conversation.is_serving(), draining) {
            (false, _) => DaemonState::Starting,
            (true, true) => DaemonState::Draining,
            (true, false) => DaemonState::Running,
        };
        self.report(state, None, request);
        let dir = self.dir.clone();
        self.here.tracker.spawn_blocking(move || {
            if let Err(error) = dir.trim_log(LOG_LIMIT) {
                tracing::debug!(error = &error as &dyn std::error::Error, "a daemon's log was not trimmed");
            }
        });
        // A lost link is noticed by the loop.
        conversation.policy(&snapshot).is_ok() || conversation.is_serving()
    }

    /// No daemon starts before the rules of the server are in place. One that runs is listened to all the same, so that
    /// sessions end when they must; it admits no new client.
    async fn wait_for_firewall(&mut self) -> Result<(), FailureReason> {
        let snapshot = self.here.admission.snapshot();
        let network = snapshot.server(self.key.server_id).map(|server| server.network);
        let stands = |firewall_state: &FirewallState| firewall_state.around(self.key.server_id) == network;
        let settled =
            self.firewall_state.wait_for(|firewall_state| stands(firewall_state) || firewall_state.failure.is_some());
        let waited = tokio::select! {
            () = self.here.stop.cancelled() => return Err(FailureReason::Missing("Postern stops".to_owned())),
            waited = tokio::time::timeout(FIREWALL_LIMIT, settled) => matches!(waited, Ok(Ok(state)) if stands(&state)),
        };
        if waited {
            return Ok(());
        }
        let failure = self.firewall_state.borrow().failure.clone();
        Err(FailureReason::Missing(failure.unwrap_or_else(|| "the firewall's rules are not in place".to_owned())))
    }

    async fn start(&mut self, run: &Run) -> Result<Running, FailureReason> {
        if let Some(missing) = failure_reason::missing() {
            return Err(FailureReason::Missing(missing));
        }
        let openvpn = OpenVpn::at(&self.here.settings.openvpn).await.map_err(|error| FailureReason::missing(&error))?;
        if self.failures == 0 {
            self.report(DaemonState::Starting, None, run.request.clone());
        }
        write_secrets(&self.dir, &run.secrets).map_err(|error| FailureReason::missing(&error))?;
        let running = openvpn.start(&self.dir, &run.config).map_err(|error| FailureReason::missing(&error))?;
        tracing::info!(event = "daemon.started",
            server.id = %self.key.server_id, pid = running.pid(), openvpn = %openvpn.version(),
            "daemon started");
        Ok(running)
    }

    /// The dialogue with a process, and the guard that closes the link when it is dropped.
    async fn converse(&self, running: &Running) -> Result<(Conversation, DropGuard), FailureReason> {
        let close = CancellationToken::new();
        let (link, events) = self.connect(running, &close).await?;
        let roster_file = self.roster.file(running);
        let begun = Conversation::begin(Arc::clone(&self.here), self.key.server_id, link, events, roster_file);
        let conversation = begun.map_err(|_closed| FailureReason::Ended(failure_reason::last_words(&self.dir)))?;
        Ok((conversation, close.drop_guard()))
    }

    async fn connect(
        &self,
        running: &Running,
        close: &CancellationToken,
    ) -> Result<(LinkHandle, mpsc::Receiver<Event>), FailureReason> {
        relay::ensure(&self.here.settings.relay, &self.dir).map_err(|error| FailureReason::missing(&error))?;
        let path = self.dir.file(RuntimeDir::RELAY);
        tokio::select! {
            linked = Link::connect(&path, SOCKET_LIMIT, &self.here.tracker, close.clone()) => match linked {
                Ok(linked) => Ok(linked),
                Err(error) => {
                    // The next try begins with another one.
                    self.end_relay().await;
                    Err(FailureReason::Missing(format!("the daemon's relay does not open its socket: {error}")))
                }
            },
            _ = running.gone() => Err(FailureReason::Ended(failure_reason::last_words(&self.dir))),
        }
    }

    /// Ends a daemon that must not go on: its clients are sent elsewhere first.
    async fn finish(&self, mut conversation: Conversation, running: &Running) {
        // A daemon that does not listen any more is ended all the same.
        let _ = conversation.clear(LEAVE_LIMIT).await;
        self.end(running, END_LIMIT, conversation.drain(END_LIMIT)).await;
        conversation.reap();
        self.end_relay().await;
    }

    async fn finish_unattended(&self, running: Running) {
        match self.converse(&running).await {
            Ok((conversation, _link)) => self.finish(conversation, &running).await,
            Err(_mute) => {
                self.end(&running, END_LIMIT, std::future::ready(())).await;
                self.end_relay().await;
            }
        }
    }

    /// Ends the process: in words, and by force after `patience`.
    async fn end(&self, running: &Running, patience: Duration, meanwhile: impl Future<Output = ()>) {
        let ended = async {
            running.terminate()?;
            if !running.wait_gone(patience).await? {
                running.kill()?;
                running.wait_gone(END_LIMIT).await?;
            }
            Ok::<(), openvpn::process::ProcessError>(())
        };
        let hearing = async {
            tokio::select! {
                ended = ended => ended,
                () = async { meanwhile.await; std::future::pending().await } => Ok(()),
            }
        };
        match hearing.await {
            Ok(()) => tracing::info!(event = "daemon.ended", server.id = %self.key.server_id, "daemon ended"),
            Err(error) => tracing::error!(event = "daemon.unended",
                server.id = %self.key.server_id, error = &error as &dyn std::error::Error,
                "a daemon could not be ended"),
        }
    }

    /// The server does not run here any more: nothing of it stays.
    async fn remove(self) {
        match Running::adopt(&self.dir) {
            Ok(Some(running)) => self.finish_unattended(running).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(
                event = "daemon.unseen",
                error = &error as &dyn std::error::Error,
                "whether a daemon runs could not be read"
            ),
        }
        // What is left of it has no daemon to talk with, and writes nothing into a folder that is to go.
        self.end_relay().await;
        let Self { here, key, dir, roster, .. } = self;
        roster.close().await;
        if let Err(error) = std::fs::remove_dir_all(dir.path()) {
            tracing::warn!(
                event = "daemon.files_kept",
                error = &error as &dyn std::error::Error,
                "the files of a daemon could not be removed"
            );
        }
        here.services.problems().forget(key.server_id);
        here.registry.settle(key.server_id);
        here.registry.report(Report::Gone(key));
    }
}
