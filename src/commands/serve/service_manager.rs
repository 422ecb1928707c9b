//! What the service manager is told that started this process: that it is ready, alive, ending (`sd_notify(3)`). Where none
//! asked for it, nothing is told.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::status::Status;

/// The listeners are open. That the database is away does not make a start fail.
pub(super) fn started() {
    tell(NotifyState::Ready);
}

/// Says in time that this process is alive, as long as its work goes on: until `stop`, and not while a dialogue with a
/// daemon is stuck, so that the process is started anew.
pub(super) async fn keep_alive(status: Arc<Status>, stop: CancellationToken) {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        let mut period = tokio::time::interval(limit / 3);
        while stop.run_until_cancelled(period.tick()).await.is_some() {
            if status.is_turning() {
                tell(NotifyState::Watchdog);
            }
        }
    } else {
        stop.cancelled().await;
    }
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the service manager was not told");
    }
}
