//! How the process ends.
//!
//! # Theory of operation
//! Every task is spawned on one tracker and given one of two tokens. The first SIGTERM or SIGINT cancels the *soft*
//! token: loops finish what they hold, listeners take nothing new, queues are drained. After [`GRACE`], or at the
//! second signal, the *hard* token is cancelled: whatever still runs lets go. Tasks that do not even then are left
//! behind after [`MERCY`], so the process is gone within ten seconds whatever happens, before a service manager loses
//! its patience. A task that ends by a panic is a bug that must not be lived with: it starts the soft stop, and the
//! process says so by its exit code. (What recurs survives its panics: see [`reconcile`](super::reconcile).)

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time between the soft and the hard stop.
pub const GRACE: Duration = Duration::from_secs(7);
/// Time between the hard stop and the end.
pub const MERCY: Duration = Duration::from_secs(2);

/// The tasks of the process and the two tokens that end them; cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    grace: Duration,
    mercy: Duration,
    tasks: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    crashed: Arc<AtomicBool>,
}

/// How the process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, and every task ended.
    Clean,
    /// Tasks had to be left behind.
    Late,
    /// A task panicked.
    Crashed,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new(GRACE, MERCY)
    }
}

impl Lifecycle {
    /// With `grace` between the soft and the hard stop, and `mercy` between that and the end.
    pub fn new(grace: Duration, mercy: Duration) -> Self {
        let (tasks, soft, hard) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        Self { grace, mercy, tasks, soft, hard, crashed: Arc::default() }
    }

    /// Cancelled when the process shall end: finish, and take nothing new.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when there is no time left to finish.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Where tasks are spawned that watch over themselves.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Spawns a task without which the process must not go on: should it panic, the soft stop begins.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let guard = CrashGuard { soft: self.soft.clone(), crashed: Arc::clone(&self.crashed) };
        self.tasks.spawn(async move {
            let _guard = guard;
            task.await;
        });
    }

    /// Waits for a signal or for the soft token, then ends everything as the module says.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub async fn run(self) -> std::io::Result<Ending> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!(event = "process.stop_requested", "told to stop by SIGTERM"),
            _ = interrupt.recv() => tracing::info!(event = "process.stop_requested", "told to stop by SIGINT"),
            () = self.soft.cancelled() => {}
        }
        self.soft.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = tokio::time::sleep(self.grace) => tracing::warn!(event = "process.stop_late",
                "some tasks take too long to finish, cutting them off"),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        self.hard.cancel();
        let all_ended = tokio::time::timeout(self.mercy, self.tasks.wait()).await.is_ok();
        Ok(match (self.crashed.load(Ordering::SeqCst), all_ended) {
            (true, _) => Ending::Crashed,
            (false, true) => Ending::Clean,
            (false, false) => Ending::Late,
        })
    }
}

/// Sees a panic go by.
struct CrashGuard {
    soft: CancellationToken,
    crashed: Arc<AtomicBool>,
}

impl Drop for CrashGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.crashed.store(true, Ordering::SeqCst);
            self.soft.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_heed_the_soft_stop_end_cleanly() {
        let lifecycle = Lifecycle::default();
        let soft = lifecycle.soft().clone();
        lifecycle.spawn(async move { soft.cancelled().await });
        lifecycle.soft().cancel();
        assert_eq!(lifecycle.run().await.unwrap(), Ending::Clean);
    }

    #[test]
    fn the_end_comes_within_ten_seconds() {
        assert!(GRACE + MERCY < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn stubborn_tasks_are_cut_off_and_then_left_behind() {
        let lifecycle = Lifecycle::new(Duration::from_millis(20), Duration::from_millis(20));
        let hard = lifecycle.hard().clone();
        lifecycle.spawn(std::future::pending());
        lifecycle.soft().cancel();
        assert_eq!(lifecycle.run().await.unwrap(), Ending::Late);
        assert!(hard.is_cancelled());
    }

    #[tokio::test]
    async fn panic_of_a_task_ends_the_process_as_a_crash() {
        let lifecycle = Lifecycle::default();
        lifecycle.spawn(async { panic!("a bug") });
        assert_eq!(lifecycle.run().await.unwrap(), Ending::Crashed);
    }
}
