//! The one task that owns the socket to a daemon.
//!
//! It writes commands as they come, reads, and hands events to whoever holds the receiver. Events are never dropped: a
//! full queue stops the reading, while commands are still written. So the holder of the receiver must not wait for the
//! answer to an [`LinkHandle::ask`] in the same breath as it takes events; [`LinkHandle::send`] is safe there.
//! When the socket closes, or the token is cancelled, the receiver yields what is left and then `None`, and every
//! waiting `ask` ends.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Command, Event, Machine, Output, Reply};

/// How many events wait for their taker before reading stops.
const EVENT_QUEUE: usize = 1024;
/// How many commands wait to be written.
const COMMAND_QUEUE: usize = 256;
/// How many commands may be unanswered before the next is written.
const MAX_IN_FLIGHT: usize = 1024;
/// The most read at once, in bytes; bounds what one read turns into.
const READ_SIZE: usize = 16 * 1024;

/// How long to wait before a missing socket is tried again.
const RETRY: Duration = Duration::from_millis(10);

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
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let task = Task {
            machine: Machine::new(),
            writer,
            commands,
            waiting: VecDeque::new(),
            unsent: VecDeque::new(),
            outgoing: Vec::new(),
        };
        tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = task.run(reader, events) => if let Err(error) = ended {
                    tracing::debug!(error = &error as &dyn std::error::Error, "management connection ended");
                }
            }
        });
        Ok((LinkHandle { commands: command_sender }, event_receiver))
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
    commands: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    command: Command,
    reply: Option<oneshot::Sender<Reply>>,
}

impl LinkHandle {
    /// Sends a command and does not care for the answer (an error is logged). Waits while the queue is full.
    pub async fn send(&self, command: Command) -> Result<(), AskError> {
        self.commands.send(Request { command, reply: None }).await.or(Err(AskError::Closed))
    }

    /// Sends a command and waits for its answer, at most `deadline`.
    pub async fn ask(&self, command: Command, deadline: Duration) -> Result<Reply, AskError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.commands.send(Request { command, reply: Some(reply) }).await.or(Err(AskError::Closed))?;
            answer.await.or(Err(AskError::Closed))
        };
        tokio::time::timeout(deadline, asked).await.unwrap_or(Err(AskError::Late(deadline)))
    }
}

struct Task {
    machine: Machine,
    writer: OwnedWriteHalf,
    commands: mpsc::Receiver<Request>,
    waiting: VecDeque<Option<oneshot::Sender<Reply>>>,
    unsent: VecDeque<Event>,
    outgoing: Vec<u8>,
}

impl Task {
    async fn run(mut self, mut reader: OwnedReadHalf, events: mpsc::Sender<Event>) -> io::Result<()> {
        let mut buffer = vec![0; READ_SIZE];
        let mut handles_live = true;
        loop {
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
                    self.sort();
                }
                written = self.writer.write(&self.outgoing), if !self.outgoing.is_empty() => {
                    self.outgoing.drain(..written?);
                }
                request = self.commands.recv(),
                    if handles_live && self.outgoing.is_empty() && self.machine.in_flight() < MAX_IN_FLIGHT =>
                {
                    match request {
                        Some(request) => self.take(request),
                        None => handles_live = false,
                    }
                }
            }
            if !handles_live && events.is_closed() && self.outgoing.is_empty() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, request: Request) {
        self.outgoing.extend(self.machine.send(&request.command));
        self.waiting.push_back(request.reply);
    }

    /// Events to the queue, answers to those who wait for them.
    fn sort(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Event(event) => self.unsent.push_back(event),
                Output::Reply(reply) => match self.waiting.pop_front().flatten() {
                    // Whoever asked may have given up.
                    Some(waiting) => drop(waiting.send(reply)),
                    None => {
                        if let Reply::Error(error) = reply {
                            tracing::debug!(error, "the daemon refused a command");
                        }
                    }
                },
            }
        }
    }
}
