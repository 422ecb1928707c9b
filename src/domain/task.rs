//! Recurring work of one process: its tasks, and what came of their last runs. (What is done once for the whole cluster
//! is a [job](super::job).)

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::HostName;

/// How a run of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskResult {
    /// It did what it is for.
    Done,
    /// It could not.
    Failed,
    /// It took too long, and was given up.
    TimedOut,
    /// It ended by a mistake in the program.
    Panicked,
}

/// A run of a task that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskRun {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub result: TaskResult,
    /// What it did, or why it could not; `null` if there was nothing to do.
    pub detail: Option<String>,
}

/// A task of the process that answers, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskState {
    /// The name of the process's host.
    pub host: HostName,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The longest time from the beginning of one run to that of the next, in seconds.
    pub period_seconds: u64,
    /// Since when it has been running, if it runs now.
    pub running_since: Option<Timestamp>,
    /// Its last run; `null` before the end of the first.
    pub last_run: Option<TaskRun>,
    /// When a run last ended as it should.
    pub last_success_at: Option<Timestamp>,
    /// When it runs next, unless something wakes it earlier.
    pub next_run_at: Timestamp,
}
