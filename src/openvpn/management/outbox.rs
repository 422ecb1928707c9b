//! Commands on their way to a daemon: taken without waiting, so that the task that reads the daemon never stops for them.
//!
//! What is asked of a daemon is bounded by what it reports: one answer for each question that is open, an end or two
//! for each client that it carries. [`MOST`] is above all of that; a daemon that makes us owe it more than this while
//! it reads nothing is not one that can be talked to, and the link ends. Answers to clients that wait go before ends of
//! sessions, of which there may be thousands at once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::{Command, Reply};

/// How many commands may wait. A daemon has 4,096 clients at most, and an end takes two commands.
const MOST: usize = 64 * 1024;

/// A command, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub command: Command,
    pub reply: Option<oneshot::Sender<Reply>>,
}

/// The commands that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    first: VecDeque<Request>,
    then: VecDeque<Request>,
    closed: bool,
}

/// The link is closed, or has to be.
#[derive(Debug)]
pub(super) struct Closed;

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a command; never waits.
    pub(super) fn put(&self, request: Request) -> Result<(), Closed> {
        let mut waiting = self.waiting();
        if !waiting.closed && waiting.first.len() + waiting.then.len() >= MOST {
            tracing::error!(
                event = "daemon.commands_overflow",
                "a daemon takes no commands, and the link to it is given up"
            );
            waiting.close();
        }
        let closed = waiting.closed;
        if !closed {
            let queue = if request.command.ends_session() { &mut waiting.then } else { &mut waiting.first };
            queue.push_back(request);
        }
        drop(waiting);
        self.news.notify_one();
        if closed { Err(Closed) } else { Ok(()) }
    }

    /// The next command to be written; an end of a session only if `ends` may be.
    pub(super) fn take(&self, ends: bool) -> Option<Request> {
        let mut waiting = self.waiting();
        let first = waiting.first.pop_front();
        first.or_else(|| if ends { waiting.then.pop_front() } else { None })
    }

    /// Waits until there may be something new: a command, or the end. May be dropped and called again.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// No more commands are taken, and all callers that wait for an answer get an error.
    pub(super) fn close(&self) {
        self.waiting().close();
        self.news.notify_one();
    }

    /// Whether the end has come.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting().closed
    }
}

impl Waiting {
    fn close(&mut self) {
        self.closed = true;
        self.first.clear();
        self.then.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::{Cid, Farewell};

    fn request(command: Command) -> Request {
        Request { command, reply: None }
    }

    #[test]
    fn what_a_client_waits_for_goes_before_ends_of_sessions() {
        let outbox = Outbox::default();
        let kill = |cid| Command::Kill { cid: Cid(cid), farewell: Farewell::Restart };
        outbox.put(request(kill(1))).unwrap();
        outbox.put(request(kill(2))).unwrap();
        outbox.put(request(Command::Pid)).unwrap();
        assert!(outbox.take(false).is_some_and(|request| request.command == Command::Pid));
        assert!(outbox.take(false).is_none());
        let order: Vec<_> = std::iter::from_fn(|| outbox.take(true).map(|request| request.command)).collect();
        assert_eq!(order, [kill(1), kill(2)]);
    }

    #[test]
    fn a_daemon_that_takes_nothing_costs_bounded_memory() {
        let outbox = Outbox::default();
        let taken = (0..=MOST).take_while(|_| outbox.put(request(Command::Pid)).is_ok()).count();
        assert_eq!(taken, MOST);
        assert!(outbox.is_closed() && outbox.take(true).is_none());
    }
}
