//! What the service manager is told that started this process: that it is ready, alive, ending (`sd_notify(3)`). Where
//! none asked for it, nothing is told.

use std::future::ready;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::status::Status;
use crate::runtime::reconcile::{Done, Failure, Reconciler, Task};

/// The listeners are open. That the database is away does not make a start fail.
pub(super) fn started() {
    tell(NotifyState::Ready);
}

/// Starts the task that says in time that this process is alive, as long as its work goes on: not while a dialogue with a
/// daemon is stuck, so that the process is started anew.
pub(super) fn keep_alive(tasks: &Reconciler, status: Arc<Status>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let task = Task::new("watchdog", "Tells the service manager that this process is alive.", limit / 3);
    tasks.start(task, move || {
        let is_turning = status.is_turning();
        if is_turning {
            tell(NotifyState::Watchdog);
        }
        ready(if is_turning { Ok(Done::default()) } else { Err(Failure::because("a dialogue with a daemon is stuck")) })
    });
}

/// Says that this process ends, once `stop` says so.
pub(super) async fn tell_of_stop(stop: CancellationToken) {
    stop.cancelled().await;
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the service manager could not be notified");
    }
}
