//! The one task that owns the socket to a daemon.
//!
//! It writes commands as they come, reads, and hands events to the receiver. Events are never dropped: a
//! full queue stops the reading, while commands are still written. So the holder of the receiver must never wait for
//! the daemon in the same breath as it takes events: [`LinkHandle::send`] does not wait, [`LinkHandle::ask`] does.
//! When the socket closes, or the token is cancelled, the receiver yields what is left and then `None`, and every
//! waiting `ask` ends.
//!
//! Every two seconds the task asks the daemon something cheap. One that leaves this unanswered, or answers something
//! else, is [mute](LinkHandle::is_mute), and the link ends: a stopped process keeps its socket open, and takes
//! connections.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::outbox::{Outbox, Request};
use super::{Cid, Command, Event, Machine, Output, Reply};

/// How many events wait for their taker before reading stops.
const EVENT_QUEUE: usize = 1024;
/// How many commands may be unanswered before the next is written.
const MAX_IN_FLIGHT: usize = 1024;
/// How many ends of sessions may be: whoever is let in waits for those that are on their way already.
const MAX_ENDS_IN_FLIGHT: usize = 64;
/// The most read at once, in bytes; bounds what one read turns into.
const READ_SIZE: usize = 16 * 1024;

/// Bytes of commands that are put together for one write; what is urgent overtakes the rest, but not these.
const WRITE_SIZE: usize = 4 * 1024;

/// How long to wait before a missing socket is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// The clock of the questions whether the daemon is there. Beats are counted, rather than time: those in which this
/// process itself was stopped tell nothing about the daemon.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between two questions.
const ASK_EVERY: u8 = 2;
/// Beats that an answer may take.
const ANSWER_WITHIN: u8 = 3;

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The daemon is gone or has closed the connection.
    #[error("the management connection is closed")]
    Closed,
    /// No answer in time. The command may still take effect.
    #[error("the daemon did not answer within {0:?}")]
    Late(Duration),
}

/// The management connection to one daemon.
#[derive(Debug)]
pub struct Link;

impl Link {
    /// Connects to the socket and starts the task on `tracker`; `stop` ends it.
    ///
    /// A daemon that was just started makes its socket within some 20 ms: for `patience`, a missing or dead socket is
    /// tried again.
    ///
    /// A daemon talks to one manager at a time: a second connection stays silent until the first is closed.
    pub async fn connect(
        path: &Path,
        patience: Duration,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<(LinkHandle, mpsc::Receiver<Event>)> {
        let (reader, writer) = connect(path, patience).await?.into_split();
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let shared = Arc::new(Shared::default());
        let task = Task {
            machine: Machine::new(),
            writer,
            shared: Arc::clone(&shared),
            waiting: VecDeque::new(),
            unsent: VecDeque::new(),
            outgoing: Vec::new(),
            pulse: Pulse::default(),
        };
        tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = task.run(reader, events) => if let Err(error) = ended {
                    tracing::debug!(error = &error as &dyn std::error::Error, "management connection ended");
                }
            }
        });
        Ok((LinkHandle { shared }, event_receiver))
    }
}

async fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let deadline = Instant::now() + patience;
    loop {
        match UnixStream::connect(path).await {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && Instant::now() < deadline =>
            {
                tokio::time::sleep(RETRY).await;
            }
            connected => return connected,
        }
    }
}

/// A way to send commands; cheap to clone.
#[derive(Debug, Clone)]
pub struct LinkHandle {
    shared: Arc<Shared>,
}

/// What the handles and the task share.
#[derive(Debug, Default)]
struct Shared {
    outbox: Outbox,
    mute: AtomicBool,
}

impl LinkHandle {
    /// Sends a command and does not care for the answer (an error is logged). Never waits.
    pub fn send(&self, command: Command) -> Result<(), AskError> {
        self.shared.outbox.put(Request { command, reply: None }).or(Err(AskError::Closed))
    }

    /// Sends a command and waits for its answer, at most `deadline`.
    pub async fn ask(&self, command: Command, deadline: Duration) -> Result<Reply, AskError> {
        let (reply, answer) = oneshot::channel();
        self.shared.outbox.put(Request { command, reply: Some(reply) }).or(Err(AskError::Closed))?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(answered) => answered.or(Err(AskError::Closed)),
            Err(_late) => Err(AskError::Late(deadline)),
        }
    }

    /// Whether the link ended because the daemon, though its socket was open, did not answer.
    pub fn is_mute(&self) -> bool {
        self.shared.mute.load(Ordering::Acquire)
    }
}

/// Who waits for an answer.
#[derive(Debug)]
enum Waiter {
    Nobody,
    Caller(oneshot::Sender<Reply>),
    /// Nobody, but an error is news about this client.
    Admission(Cid),
    Pulse,
}

/// Whether the daemon is there.
#[derive(Debug, Default)]
struct Pulse {
    /// Whether a question is unanswered.
    asked: bool,
    /// Since the question, or since its answer.
    beats: u8,
}

/// What a beat of the clock asks for.
#[derive(Debug, PartialEq, Eq)]
enum Beat {
    Wait,
    Ask,
    Mute,
}

impl Pulse {
    /// A second is over. `reading`: whether an answer could have been read in it.
    fn beat(&mut self, reading: bool) -> Beat {
        if self.asked && !reading {
            return Beat::Wait;
        }
        self.beats = self.beats.saturating_add(1);
        match self.asked {
            true if self.beats > ANSWER_WITHIN => Beat::Mute,
            false if self.beats >= ASK_EVERY => {
                *self = Self { asked: true, beats: 0 };
                Beat::Ask
            }
            _ => Beat::Wait,
        }
    }

    fn answered(&mut self) {
        *self = Self::default();
    }
}

struct Task {
    machine: Machine,
    writer: OwnedWriteHalf,
    shared: Arc<Shared>,
    waiting: VecDeque<Waiter>,
    unsent: VecDeque<Event>,
    outgoing: Vec<u8>,
    pulse: Pulse,
}

impl Drop for Task {
    fn drop(&mut self) {
        // What is put in from now on would never be sent.
        self.shared.outbox.close();
    }
}

impl Task {
    async fn run(mut self, mut reader: OwnedReadHalf, events: mpsc::Sender<Event>) -> io::Result<()> {
        let mut buffer = vec![0; READ_SIZE];
        let mut clock = tokio::time::interval(BEAT);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first question is not waited for: a socket that takes connections may be all that there is.
        self.pulse.beats = ASK_EVERY;
        loop {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                permit = events.reserve(), if !self.unsent.is_empty() => match (permit, self.unsent.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    // Nobody takes events any more: commands still go out, the rest is read and dropped.
                    _ => self.unsent.clear(),
                },
                read = reader.read(&mut buffer), if self.unsent.is_empty() => {
                    let count = read?;
                    if count == 0 {
                        return Ok(());
                    }
                    self.machine.receive(buffer.get(..count).unwrap_or_default());
                    if !self.sort() {
                        return self.give_up();
                    }
                }
                written = self.writer.write(&self.outgoing), if !self.outgoing.is_empty() => {
                    self.outgoing.drain(..written?);
                    self.fill();
                }
                () = shared.outbox.news() => self.fill(),
                _ = clock.tick() => match self.pulse.beat(self.unsent.is_empty()) {
                    Beat::Wait => {}
                    Beat::Ask => self.say(&Command::LoadStats, Waiter::Pulse),
                    Beat::Mute => return self.give_up(),
                }
            }
            if self.shared.outbox.is_closed() {
                return Ok(());
            }
        }
    }

    /// Takes the next commands once most of those before them are written, unless too many wait for their answers.
    fn fill(&mut self) {
        while self.outgoing.len() < WRITE_SIZE
            && self.machine.in_flight() < MAX_IN_FLIGHT
            && let Some(Request { command, reply }) =
                self.shared.outbox.take(self.machine.in_flight() < MAX_ENDS_IN_FLIGHT)
        {
            let waiter = match (reply, &command) {
                (Some(caller), _) => Waiter::Caller(caller),
                (None, Command::Admit { cid, .. }) => Waiter::Admission(*cid),
                (None, _) => Waiter::Nobody,
            };
            self.say(&command, waiter);
        }
    }

    fn say(&mut self, command: &Command, waiter: Waiter) {
        self.outgoing.extend(self.machine.send(command));
        self.waiting.push_back(waiter);
    }

    fn give_up(self) -> io::Result<()> {
        self.shared.mute.store(true, Ordering::Release);
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Events to the queue, answers to those who wait for them. `false` if the daemon answers what it was not asked.
    fn sort(&mut self) -> bool {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Event(event) => self.unsent.push_back(event),
                Output::Reply(reply) => match self.waiting.pop_front() {
                    // Whoever asked may have given up.
                    Some(Waiter::Caller(caller)) => drop(caller.send(reply)),
                    Some(Waiter::Pulse) => match reply {
                        Reply::Success(text) if text.starts_with("nclients=") => self.pulse.answered(),
                        _ => return false,
                    },
                    waiter @ (Some(Waiter::Admission(_) | Waiter::Nobody) | None) => {
                        if let Reply::Error(error) = reply {
                            tracing::debug!(error, "the daemon refused a command");
                            if let Some(Waiter::Admission(cid)) = waiter {
                                self.unsent.push_back(Event::NotAdmitted { cid });
                            }
                        }
                    }
                },
            }
        }
        self.fill();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_asked_at_once_and_has_three_beats_to_answer() {
        let mut pulse = Pulse { beats: ASK_EVERY, ..Pulse::default() };
        assert_eq!(pulse.beat(true), Beat::Ask);
        let beats: Vec<_> = (0..4).map(|_| pulse.beat(true)).collect();
        assert_eq!(beats, [Beat::Wait, Beat::Wait, Beat::Wait, Beat::Mute]);
        pulse.answered();
        assert_eq!([pulse.beat(true), pulse.beat(true)], [Beat::Wait, Beat::Ask]);
    }

    #[test]
    fn beats_in_which_nothing_was_read_do_not_count() {
        let mut pulse = Pulse { asked: true, beats: 0 };
        assert!((0..100).all(|_| pulse.beat(false) == Beat::Wait));
        assert!((0..3).all(|_| pulse.beat(true) == Beat::Wait));
    }
}
