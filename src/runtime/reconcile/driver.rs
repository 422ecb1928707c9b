//! The loop of one task.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::schedule::Schedule;
use super::{Failure, Nudge, Observer, Outcome, Reconciler, Task, TaskResult, TaskRun, TaskStatus, Work};
use crate::random;

/// Runs one task.
pub(super) struct Driver<W> {
    task: Task,
    work: W,
    schedule: Schedule,
    nudge: Nudge,
    after: Vec<watch::Receiver<TaskStatus>>,
    status: watch::Sender<TaskStatus>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
}

impl<W: Work> Driver<W> {
    /// That of a task, and where it says how the task is.
    pub(super) fn new(
        task: Task,
        work: W,
        nudge: Nudge,
        reconciler: &Reconciler,
    ) -> (Self, watch::Receiver<TaskStatus>) {
        let Reconciler { observer, stop, .. } = reconciler.clone();
        let now = Instant::now();
        let (status, told) = watch::channel(TaskStatus {
            task,
            runs: 0,
            running_since: None,
            last_run: None,
            last_success_at: None,
            next_run_at: observer.now(),
            due: now,
            successes: 0,
        });
        let schedule = Schedule::new(task, now);
        (Self { task, work, schedule, nudge, after: Vec::new(), status, observer, stop }, told)
    }

    /// The same; its runs come after those of others.
    pub(super) fn after(self, others: Vec<watch::Receiver<TaskStatus>>) -> Self {
        Self { after: others, ..self }
    }

    /// Runs the task until the stop.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        while stop.run_until_cancelled(self.until_due()).await.is_some() {
            self.begin();
            let run = timeout(self.task.deadline, AssertUnwindSafe(self.work.run()).catch_unwind());
            let run = run.instrument(span(&self.task));
            let ended = if self.task.finishes { Some(run.await) } else { stop.run_until_cancelled(run).await };
            let Some(ended) = ended else { break };
            self.end(match ended {
                Ok(Ok(outcome)) => Ended::By(outcome),
                Ok(Err(panic)) => Ended::Panicked(words(&*panic)),
                Err(_elapsed) => Ended::TimedOut,
            });
        }
        let closing = timeout(self.task.closing, AssertUnwindSafe(self.work.close()).catch_unwind());
        if !matches!(closing.instrument(span(&self.task)).await, Ok(Ok(()))) {
            tracing::warn!(
                event = "task.not_closed",
                task = self.task.name,
                "the last step of a task was not finished"
            );
        }
    }

    /// Waits until the next run is due and no task before this one stands in its way.
    async fn until_due(&mut self) {
        loop {
            tokio::select! {
                () = sleep_until(self.schedule.due()) => break,
                () = self.nudge.given() => {
                    self.schedule.nudge(Instant::now());
                    self.tell(|_| {});
                }
            }
        }
        for before in &mut self.after {
            let deadline = before.borrow().task.deadline;
            // One that ended, or hangs, holds nothing up.
            drop(timeout(deadline, before.wait_for(TaskStatus::is_at_rest)).await);
        }
        // Whoever nudged until now is served by the run that begins.
        self.nudge.take();
    }

    fn begin(&mut self) {
        self.schedule.begin(Instant::now());
        let now = self.observer.now();
        self.tell(|status| status.running_since = Some(now));
    }

    fn end(&mut self, ended: Ended) {
        let now = Instant::now();
        let done = if let Ended::By(Ok(done)) = &ended { Some(done) } else { None };
        self.schedule.end(now, done, u32::from_ne_bytes(random::bytes()));
        let (result, detail) = match ended {
            Ended::By(Ok(done)) => (TaskResult::Done, done.detail),
            Ended::By(Err(Failure(why))) => (TaskResult::Failed, Some(why)),
            Ended::TimedOut => (TaskResult::TimedOut, Some(format!("It took longer than {:?}.", self.task.deadline))),
            Ended::Panicked(words) => (TaskResult::Panicked, Some(words)),
        };
        let ended_at = self.observer.now();
        let (was_well, started_at) = {
            let status = self.status.borrow();
            let was_well = status.last_run.as_ref().is_none_or(|run| run.result == TaskResult::Done);
            (was_well, status.running_since.unwrap_or(ended_at))
        };
        let duration = now - self.schedule.began();
        let run = TaskRun { started_at, duration, result, detail };
        self.log(&run, was_well);
        self.observer.ran(&self.task, &run);
        self.tell(|status| {
            status.running_since = None;
            status.runs += 1;
            if run.result == TaskResult::Done {
                status.successes += 1;
                status.last_success_at = Some(ended_at);
            }
            status.last_run = Some(run);
        });
    }

    /// Says once that a task fails, and once that it does not any more; a panic is said each time.
    fn log(&self, run: &TaskRun, was_well: bool) {
        let (task, error) = (self.task.name, run.detail.as_deref().unwrap_or_default());
        match run.result {
            TaskResult::Panicked => {
                tracing::error!(event = "task.panicked", task, error, "a task of this process panicked");
            }
            _ if self.task.quiet => tracing::debug!(task, result = run.result.as_str(), error, "a task has run"),
            TaskResult::Done if !was_well => {
                tracing::info!(event = "task.recovered", task, "a task of this process works again");
            }
            TaskResult::Failed if was_well => {
                tracing::warn!(event = "task.failed", task, error, "a task of this process failed");
            }
            TaskResult::TimedOut if was_well => {
                tracing::warn!(event = "task.timed_out", task, error, "a task of this process takes too long");
            }
            TaskResult::Done => {}
            TaskResult::Failed | TaskResult::TimedOut => tracing::debug!(task, error, "a task failed again"),
        }
    }

    /// Publishes what `change` makes of the status, with the time of the next run.
    fn tell(&self, change: impl FnOnce(&mut TaskStatus)) {
        let due = self.schedule.due();
        let next_run_at = self.observer.now() + due.saturating_duration_since(Instant::now());
        self.status.send_modify(|status| {
            (status.due, status.next_run_at) = (due, next_run_at);
            change(status);
        });
    }
}

/// What everything that happens in a run is marked with, however little of it is logged.
fn span(task: &Task) -> Span {
    tracing::error_span!("task", task = %task.name)
}

/// How a run came to its end.
enum Ended {
    By(Outcome),
    TimedOut,
    Panicked(String),
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
