//! The recurring work of the process: tasks, and the one driver that runs them.
//!
//! # Theory of operation
//! The wanted state stands in the database or in memory; a [`Work`] compares it with what is, and makes it true. It runs
//! once at the start, then whenever its [`Task`]'s period is over, and earlier if it gets a [`Nudge`]. A nudge
//! carries no data and may be lost: the next period covers it. So a run asks for everything that it needs, may be
//! dropped at any await, and may be repeated at will.
//!
//! Each task has its own loop on the lifecycle's tracker, so none waits for another unless it is started after that one
//! ([`Reconciler::start_after`]). A run that fails, panics or exceeds the task's deadline is a result like any other: it
//! is logged, counted and shown, and the task goes on. When a task runs next is decided by `schedule`, without a clock.
//!
//! At the stop, runs are dropped where they are ([`Task::finish_at_stop`] is the exception), and each work may say a last
//! word ([`Work::close`]).
//!
//! # What is a task
//! Whatever the process does again and again by itself. Not a task is what belongs to one thing that comes and goes:
//!
//! - the reader of a stream, whose period is that of what it reads: a socket, a tailable cursor, a subscription, a
//!   signal, a queue that is written out in order (the events of the bus, the sessions of the daemons, a roster file);
//! - the state machine of one process or connection, with its timeouts: a daemon's keeper, conversation and management
//!   link, a relay, a database of our own, a browser's event stream;
//! - an attempt that ends with its success: to come up, to take a lock, to renew a lease during one run.

mod driver;
mod schedule;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use driver::Driver;

/// What a recurring piece of work is called, and when it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Task {
    /// Its name: a word that stays what it is, for metrics, logs and the API.
    pub name: &'static str,
    /// What it does, as a sentence.
    pub description: &'static str,
    /// The longest time from the beginning of one run to that of the next.
    pub period: Duration,
    jitter: f64,
    deadline: Duration,
    retry: Option<(Duration, Duration)>,
    gather: Duration,
    distance: Duration,
    closing: Duration,
    quiet: bool,
    finishes: bool,
}

impl Task {
    /// A task that runs once in `period` at least.
    pub const fn new(name: &'static str, description: &'static str, period: Duration) -> Self {
        Self {
            name,
            description,
            period,
            jitter: 0.1,
            deadline: Duration::from_secs(30),
            retry: None,
            gather: Duration::ZERO,
            distance: Duration::ZERO,
            closing: Duration::from_secs(1),
            quiet: false,
            finishes: false,
        }
    }

    /// Up to which share of the period is left out at random, so that processes which started together do not run
    /// together; a tenth unless it is said.
    #[must_use]
    pub const fn jitter(self, share: f64) -> Self {
        Self { jitter: share, ..self }
    }

    /// How long a run may take; 30 seconds unless it is said.
    #[must_use]
    pub const fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The first and the longest pause after failed runs, which nudges do not shorten. A task without waits for its
    /// period.
    #[must_use]
    pub const fn retry(self, first: Duration, longest: Duration) -> Self {
        Self { retry: Some((first, longest)), ..self }
    }

    /// How long a nudge waits for others, so that what changes together is one run.
    #[must_use]
    pub const fn gather(self, pause: Duration) -> Self {
        Self { gather: pause, ..self }
    }

    /// How far from the end of the last run a nudge leads to the next.
    #[must_use]
    pub const fn distance(self, distance: Duration) -> Self {
        Self { distance, ..self }
    }

    /// How long [`Work::close`] may take; a second unless it is said.
    #[must_use]
    pub const fn closing(self, limit: Duration) -> Self {
        Self { closing: limit, ..self }
    }

    /// Its failures are logged for debugging only: another task warns of the same cause.
    #[must_use]
    pub const fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// A run that is under way when the process stops is not dropped, but may use up its deadline.
    #[must_use]
    pub const fn finish_at_stop(self) -> Self {
        Self { finishes: true, ..self }
    }
}

/// What a task does.
pub trait Work: Send + 'static {
    /// One run. It may be dropped at any await: when it exceeds the deadline, and when the process stops.
    fn run(&mut self) -> impl Future<Output = Outcome> + Send;

    /// What is left to be done when the process stops.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

impl<F, Fut> Work for F
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Outcome> + Send,
{
    fn run(&mut self) -> impl Future<Output = Outcome> + Send {
        self()
    }
}

/// What a run has to say.
pub type Outcome = Result<Done, Failure>;

/// A run that did what it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    detail: Option<String>,
    again: Option<Duration>,
}

impl Done {
    /// There was something to do: what, as a sentence.
    pub fn saying(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), again: None }
    }

    /// The next run comes this soon, if the period is longer.
    #[must_use]
    pub fn again_in(self, pause: Duration) -> Self {
        Self { again: Some(pause), ..self }
    }
}

/// Why a run failed, in words for the administrator of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// For a reason that is no error.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    /// With all causes that do not say the same again.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            next = cause.source();
        }
        Self(text)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskResult {
    /// It did what it is for.
    Done,
    /// It could not.
    Failed,
    /// It exceeded its deadline, and was dropped.
    TimedOut,
    /// It panicked, which is a mistake in the program.
    Panicked,
}

impl TaskResult {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }
}

/// A run that came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRun {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub result: TaskResult,
    /// What it did, or why it did not; nothing if there was nothing to do.
    pub detail: Option<String>,
}

/// A task as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskStatus {
    /// Which one.
    pub task: Task,
    /// How many runs came to an end.
    pub runs: u64,
    /// Since when it runs, if it does.
    pub running_since: Option<Timestamp>,
    /// Its last run.
    pub last_run: Option<TaskRun>,
    /// When a run last ended well.
    pub last_success_at: Option<Timestamp>,
    /// When it runs next, unless a nudge comes first.
    pub next_run_at: Timestamp,
    due: Instant,
    successes: u64,
}

impl TaskStatus {
    /// Whether it neither runs nor is about to.
    fn is_at_rest(&self) -> bool {
        self.running_since.is_none() && self.due > Instant::now()
    }
}

/// What the process makes of its tasks' runs.
pub trait Observer: Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Timestamp;

    /// A run came to an end.
    fn ran(&self, task: &Task, run: &TaskRun);
}

/// Wakes a task before its period is over. Any number of nudges before a run lead to one run. Clones wake the same.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Something may have changed.
    pub fn now(&self) {
        self.0.notify_one();
    }

    async fn given(&self) {
        self.0.notified().await;
    }

    /// Takes a nudge that was given and not taken yet.
    fn take(&self) {
        let _ = self.given().now_or_never();
    }
}

/// The tasks of the process; cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    observer: Arc<dyn Observer>,
    tracker: TaskTracker,
    stop: CancellationToken,
    tasks: Arc<Mutex<Vec<watch::Receiver<TaskStatus>>>>,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tasks().iter().map(|status| status.task.name)).finish()
    }
}

impl Reconciler {
    /// Runs tasks on `tracker`, until `stop`.
    pub fn new(tracker: TaskTracker, stop: CancellationToken, observer: Arc<dyn Observer>) -> Self {
        Self { observer, tracker, stop, tasks: Arc::default() }
    }

    /// The same tasks; those that are started by what is answered here go on until another `stop`.
    #[must_use]
    pub fn until(&self, stop: CancellationToken) -> Self {
        Self { stop, ..self.clone() }
    }

    /// Where tasks are spawned.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Cancelled when tasks shall end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// All tasks as they are now, in the order in which they were started.
    pub fn tasks(&self) -> Vec<TaskStatus> {
        self.listed().iter().map(|status| status.borrow().clone()).collect()
    }

    /// Starts a task.
    pub fn start(&self, task: Task, work: impl Work) -> TaskHandle {
        self.start_after(&[], task, work)
    }

    /// Starts a task that builds on others: it runs whenever one of them has run well, and while one of them runs or is
    /// about to, it waits, though not longer than that one's deadline.
    pub fn start_after(&self, others: &[&TaskHandle], task: Task, work: impl Work) -> TaskHandle {
        let nudge = Nudge::default();
        let (driver, status) = Driver::new(task, work, nudge.clone(), self);
        self.listed().push(status.clone());
        let handle = TaskHandle { nudge, status, reconciler: self.clone() };
        let driver = driver.after(others.iter().map(|other| other.status.clone()).collect());
        self.tracker.spawn(driver.run());
        for other in others {
            handle.wake_on_change_of(other.status.clone(), |status| status.successes);
        }
        handle
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, Vec<watch::Receiver<TaskStatus>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that was started.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    nudge: Nudge,
    status: watch::Receiver<TaskStatus>,
    reconciler: Reconciler,
}

impl TaskHandle {
    /// What wakes it.
    pub fn nudge(&self) -> &Nudge {
        &self.nudge
    }

    /// How it is, as that changes.
    pub fn watch(&self) -> watch::Receiver<TaskStatus> {
        self.status.clone()
    }

    /// Wakes it at every change of a value, too.
    pub fn wake_on_change<T: Send + Sync + 'static>(&self, mut value: watch::Receiver<T>) -> &Self {
        self.wake_by(async move |nudge| {
            while value.changed().await.is_ok() {
                nudge.now();
            }
        })
    }

    /// Wakes it whenever what `part` takes out of a value is another than before, too.
    pub fn wake_on_change_of<T, P>(
        &self,
        mut value: watch::Receiver<T>,
        part: impl Fn(&T) -> P + Send + 'static,
    ) -> &Self
    where
        T: Send + Sync + 'static,
        P: PartialEq + Send + 'static,
    {
        let mut known = part(&value.borrow_and_update());
        self.wake_by(async move |nudge| {
            while value.changed().await.is_ok() {
                let now = part(&value.borrow_and_update());
                if now != known {
                    known = now;
                    nudge.now();
                }
            }
        })
    }

    /// Wakes it whenever `source` says so, too. A source ends at the task's stop.
    pub fn wake_by<Fut>(&self, source: impl FnOnce(Nudge) -> Fut) -> &Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let source = source(self.nudge.clone());
        self.reconciler.tracker.spawn(self.reconciler.stop.clone().run_until_cancelled_owned(source));
        self
    }
}
