//! The driver, with periods of hours so that nothing but what a test does makes a task run, or of a millisecond so that
//! it runs all the time.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, mpsc};

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const ALWAYS: Duration = Duration::from_millis(1);

/// Keeps the results that it is told of.
#[derive(Default)]
struct Results(Mutex<Vec<(&'static str, TaskResult)>>);

impl Observer for Results {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn ran(&self, task: &Task, run: &TaskRun) {
        self.0.lock().unwrap().push((task.name, run.result));
    }
}

impl Results {
    fn of(&self, task: &str) -> Vec<TaskResult> {
        self.0.lock().unwrap().iter().filter(|(name, _)| *name == task).map(|(_, result)| *result).collect()
    }
}

/// Who keeps spans has to be there before the first of them is made anywhere in this process.
static SPANS: LazyLock<()> = LazyLock::new(|| {
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
});

fn reconciler() -> (Reconciler, Arc<Results>) {
    LazyLock::force(&SPANS);
    let results = Arc::<Results>::default();
    (Reconciler::new(TaskTracker::new(), CancellationToken::new(), results.clone()), results)
}

async fn stop(reconciler: &Reconciler) {
    reconciler.stop().cancel();
    reconciler.tracker().close();
    reconciler.tracker().wait().await;
}

async fn until(handle: &TaskHandle, wanted: impl FnMut(&TaskStatus) -> bool) -> TaskStatus {
    let mut status = handle.watch();
    let found = tokio::time::timeout(Duration::from_secs(30), status.wait_for(wanted)).await;
    found.expect("it comes in time").unwrap().clone()
}

/// A work that tells of the beginning of each run, and ends it when it is allowed to.
fn gated() -> (impl Work, mpsc::Receiver<()>, Arc<Semaphore>) {
    let (begins, began) = mpsc::channel(64);
    let gate = Arc::new(Semaphore::new(0));
    let allowed = Arc::clone(&gate);
    let work = move || {
        let (begins, allowed) = (begins.clone(), Arc::clone(&allowed));
        async move {
            begins.send(()).await?;
            allowed.acquire().await?.forget();
            Ok(Done::default())
        }
    };
    (work, began, gate)
}

#[tokio::test]
async fn a_task_runs_at_the_start_and_then_by_its_period() {
    let (reconciler, results) = reconciler();
    let often = reconciler.start(Task::new("often", "", ALWAYS), async || Ok(Done::saying("Did it.")));
    let once = reconciler.start(Task::new("once", "", HOUR), async || Ok(Done::default()));
    let status = until(&often, |status| status.runs >= 3).await;
    let run = status.last_run.unwrap();
    assert_eq!((run.result, run.detail.as_deref()), (TaskResult::Done, Some("Did it.")));
    let status = until(&once, |status| status.runs > 0 && status.running_since.is_none()).await;
    assert_eq!(status.runs, 1);
    assert!(status.last_success_at.is_some());
    let next = status.next_run_at.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs();
    assert!(next > HOUR.mul_f64(0.89) && next <= HOUR, "{next:?}");
    stop(&reconciler).await;
    assert!(results.of("often").len() >= 3);
    assert_eq!(results.of("once"), [TaskResult::Done]);
}

#[tokio::test]
async fn nudges_during_a_run_lead_to_one_more() {
    let (reconciler, results) = reconciler();
    let (work, mut began, gate) = gated();
    let handle = reconciler.start(Task::new("a", "", HOUR), work);
    began.recv().await.unwrap();
    for _ in 0..5 {
        handle.nudge().now();
    }
    gate.add_permits(10);
    let idle = |runs| move |status: &TaskStatus| status.runs == runs && status.is_at_rest();
    until(&handle, idle(2)).await;
    // The task takes each nudge that it has before it says that it is at rest, so a third run would have begun.
    handle.nudge().now();
    until(&handle, idle(3)).await;
    stop(&reconciler).await;
    assert_eq!(results.of("a").len(), 3);
}

#[tokio::test]
async fn a_change_of_a_value_wakes_a_task() {
    let (reconciler, _) = reconciler();
    let (value, changes) = watch::channel(1);
    let seen = Arc::new(AtomicU32::new(0));
    let (saw, read) = (Arc::clone(&seen), changes.clone());
    let work = move || {
        saw.store(*read.borrow(), Ordering::SeqCst);
        std::future::ready(Ok(Done::default()))
    };
    let handle = reconciler.start(Task::new("a", "", HOUR), work);
    handle.wake_on_change(changes);
    until(&handle, |status| status.runs == 1).await;
    value.send(2).unwrap();
    until(&handle, |status| status.runs == 2).await;
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    stop(&reconciler).await;
}

#[tokio::test]
async fn a_change_of_another_part_of_a_value_wakes_nobody() {
    let (reconciler, results) = reconciler();
    let (value, changes) = watch::channel((1, 1));
    let (look, mut looks) = mpsc::channel(8);
    let handle = reconciler.start(Task::new("a", "", HOUR), async || Ok(Done::default()));
    let other = reconciler.start(Task::new("other", "", HOUR), async || Ok(Done::default()));
    for task in [&handle, &other] {
        until(task, |status| status.runs == 1).await;
    }
    handle.wake_on_change_of(changes, move |(part, other)| {
        look.try_send(*other).unwrap();
        *part
    });
    value.send((1, 2)).unwrap();
    while looks.recv().await != Some(2) {}
    // On one thread, whoever is woken later runs later.
    other.nudge().now();
    until(&other, |status| status.runs == 2).await;
    assert_eq!(results.of("a").len(), 1);
    value.send((2, 2)).unwrap();
    until(&handle, |status| status.runs == 2).await;
    stop(&reconciler).await;
}

#[tokio::test]
async fn a_task_that_builds_on_another_waits_for_it_and_follows_it() {
    let (reconciler, results) = reconciler();
    let (work, mut began, gate) = gated();
    let first = reconciler.start(Task::new("first", "", HOUR), work);
    let second = reconciler.start_after(&[&first], Task::new("second", "", HOUR), async || Ok(Done::default()));
    began.recv().await.unwrap();
    assert_eq!(second.watch().borrow().runs, 0, "both are due, and the first one runs");
    gate.add_permits(1);
    until(&second, |status| status.runs >= 1).await;
    assert_eq!(results.0.lock().unwrap()[..2], [("first", TaskResult::Done), ("second", TaskResult::Done)]);
    let before = until(&second, TaskStatus::is_at_rest).await.runs;
    gate.add_permits(1);
    first.nudge().now();
    until(&second, |status| status.runs > before).await;
    assert_eq!(results.of("first").len(), 2);
    stop(&reconciler).await;
}

#[tokio::test]
async fn a_task_that_hangs_holds_up_neither_what_builds_on_it_nor_others() {
    let (reconciler, results) = reconciler();
    let task = Task::new("hangs", "", ALWAYS).deadline(Duration::from_millis(20));
    let hangs = reconciler.start(task, std::future::pending);
    let follows = reconciler.start_after(&[&hangs], Task::new("follows", "", ALWAYS), async || Ok(Done::default()));
    let other = reconciler.start(Task::new("other", "", ALWAYS), async || Ok(Done::default()));
    for handle in [&hangs, &follows, &other] {
        until(handle, |status| status.runs >= 2).await;
    }
    stop(&reconciler).await;
    let kinds = |task| results.of(task).into_iter().map(TaskResult::as_str).collect::<BTreeSet<_>>();
    assert_eq!(kinds("hangs"), ["timed_out"].into());
    assert_eq!(kinds("follows"), ["done"].into());
    assert_eq!(kinds("other"), ["done"].into());
}

#[tokio::test]
async fn a_task_that_panics_goes_on_and_so_do_others() {
    let (reconciler, results) = reconciler();
    let mut runs = 0;
    let panics = reconciler.start(Task::new("panics", "", ALWAYS), move || {
        runs += 1;
        let runs = runs;
        async move {
            assert!(runs != 1, "run {runs}");
            Ok(Done::default())
        }
    });
    let other = reconciler.start(Task::new("other", "", ALWAYS), async || Ok(Done::default()));
    let mut statuses = panics.watch();
    let failed = statuses.wait_for(|status| status.runs == 1).await.unwrap().last_run.clone().unwrap();
    assert_eq!((failed.result, failed.detail.as_deref()), (TaskResult::Panicked, Some("run 1")));
    for handle in [&panics, &other] {
        until(handle, |status| status.runs >= 2).await;
    }
    stop(&reconciler).await;
    assert_eq!(results.of("panics")[..2], [TaskResult::Panicked, TaskResult::Done]);
}

#[tokio::test]
async fn a_failure_is_told_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("it cannot be written")]
    struct Outer(#[source] std::io::Error);

    let (reconciler, _) = reconciler();
    let work = async || Err(Outer(std::io::Error::other("the disk is full")))?;
    let handle = reconciler.start(Task::new("a", "", HOUR), work);
    let status = until(&handle, |status| status.runs == 1).await;
    let run = status.last_run.unwrap();
    assert_eq!(run.result, TaskResult::Failed);
    assert_eq!(run.detail.as_deref(), Some("it cannot be written: the disk is full"));
    assert_eq!(status.last_success_at, None);
    stop(&reconciler).await;
}

/// Hangs, and says when it is dropped and when it is closed.
struct Closes {
    begins: mpsc::Sender<&'static str>,
}

struct Dropped(mpsc::Sender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.try_send("dropped").unwrap();
    }
}

impl Work for Closes {
    async fn run(&mut self) -> Outcome {
        let _dropped = Dropped(self.begins.clone());
        self.begins.send("began").await?;
        std::future::pending().await
    }

    async fn close(&mut self) {
        self.begins.try_send("closed").unwrap();
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_stop_drops_the_run_closes_the_work_and_ends_all_loops() {
    let (reconciler, results) = reconciler();
    let (begins, mut steps) = mpsc::channel(8);
    let handle = reconciler.start(Task::new("a", "", HOUR).closing(ALWAYS), Closes { begins });
    let (_value, changes) = watch::channel(());
    handle.wake_on_change(changes).wake_by(|_| std::future::pending());
    assert_eq!(steps.recv().await, Some("began"));
    stop(&reconciler).await;
    drop(handle);
    let mut rest = Vec::new();
    steps.recv_many(&mut rest, 8).await;
    assert_eq!(rest, ["dropped", "closed"]);
    assert_eq!(results.of("a"), [], "a run that was dropped at the stop is no result");
}

#[tokio::test]
async fn a_task_that_finishes_at_the_stop_is_not_dropped_in_a_run() {
    let (reconciler, results) = reconciler();
    let (work, mut began, gate) = gated();
    reconciler.start(Task::new("a", "", HOUR).finish_at_stop(), work);
    began.recv().await.unwrap();
    reconciler.stop().cancel();
    gate.add_permits(1);
    stop(&reconciler).await;
    assert_eq!(results.of("a"), [TaskResult::Done]);
}

#[tokio::test]
async fn a_task_may_go_on_until_another_stop() {
    let (reconciler, _) = reconciler();
    let last = CancellationToken::new();
    let ends = reconciler.start(Task::new("ends", "", ALWAYS), async || Ok(Done::default()));
    let goes_on = reconciler.until(last.clone()).start(Task::new("goes on", "", ALWAYS), async || Ok(Done::default()));
    reconciler.stop().cancel();
    let mut ended = ends.watch();
    while ended.changed().await.is_ok() {}
    let runs = goes_on.watch().borrow().runs;
    until(&goes_on, |status| status.runs > runs + 1).await;
    let names: BTreeSet<_> = reconciler.tasks().iter().map(|status| status.task.name).collect();
    assert_eq!(names, ["ends", "goes on"].into());
    last.cancel();
    stop(&reconciler).await;
}

#[tokio::test]
async fn what_happens_in_a_run_is_marked_with_the_task() {
    let (reconciler, _) = reconciler();
    let (tell, mut told) = mpsc::channel(1);
    let work = move || {
        let tell = tell.clone();
        async move {
            let span = tracing::Span::current();
            tell.send(span.metadata().map(|about| (about.name(), about.fields().field("task").is_some()))).await?;
            Ok(Done::default())
        }
    };
    reconciler.start(Task::new("a", "", HOUR), work);
    assert_eq!(told.recv().await, Some(Some(("task", true))));
    stop(&reconciler).await;
}
