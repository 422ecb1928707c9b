//! The recurring work of a process over its services, and how all its tasks are. [`runtime::reconcile`] runs them; what a
//! task makes true stands in the area that it is about.

pub mod heartbeat;
pub mod upkeep;

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Act, Cluster, Core, ServiceError};
use domain::clock::Clock;
use domain::role::Permission;
use domain::task::{TaskResult, TaskRun, TaskState};
use domain::text::HostName;
use metrics::Metrics;
use metrics::catalogue::{TASK_LAST_SUCCESS, TASK_RUNS, TASK_SECONDS};
use runtime::reconcile;
use runtime::reconcile::{Observer, Reconciler, Task, TaskStatus};

/// The tasks of a process, counted in its numbers: on `tracker`, until `stop`.
pub fn reconciler(
    tracker: &TaskTracker,
    stop: &CancellationToken,
    metrics: &Metrics,
    clock: Arc<dyn Clock>,
) -> Reconciler {
    Reconciler::new(tracker.clone(), stop.clone(), Arc::new(Meter { metrics: metrics.clone(), clock }))
}

/// Counts runs.
struct Meter {
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl Observer for Meter {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point; seconds stay far below 2^52")]
    fn ran(&self, task: &Task, run: &reconcile::TaskRun) {
        self.metrics.count(&TASK_RUNS, [task.name, run.result.as_str()]);
        self.metrics.observe(&TASK_SECONDS, [task.name], run.duration.as_secs_f64());
        if run.result == reconcile::TaskResult::Done {
            self.metrics.set(&TASK_LAST_SUCCESS, [task.name], self.now().as_second() as f64);
        }
    }
}

/// The tasks of the process.
impl Cluster<'_> {
    /// The recurring tasks of this process; none in one that does not serve.
    pub fn tasks(self, act: &Act) -> Result<Vec<TaskState>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.task_states())
    }
}

/// How the tasks of the process are.
impl Core {
    /// The same for whoever is on this machine.
    pub fn task_states(&self) -> Vec<TaskState> {
        let Some((host, tasks)) = &self.tasks else { return Vec::new() };
        tasks.tasks().into_iter().map(|status| state(host, status)).collect()
    }
}

fn state(host: &HostName, status: TaskStatus) -> TaskState {
    let TaskStatus { task, running_since, last_run, last_success_at, next_run_at, .. } = status;
    TaskState {
        host: host.clone(),
        name: task.name.to_owned(),
        description: task.description.to_owned(),
        period_seconds: task.period.as_secs(),
        running_since,
        last_run: last_run.map(|run| TaskRun {
            started_at: run.started_at,
            duration_ms: u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX),
            result: match run.result {
                reconcile::TaskResult::Done => TaskResult::Done,
                reconcile::TaskResult::Failed => TaskResult::Failed,
                reconcile::TaskResult::TimedOut => TaskResult::TimedOut,
                reconcile::TaskResult::Panicked => TaskResult::Panicked,
            },
            detail: run.detail,
        }),
        last_success_at,
        next_run_at,
    }
}
