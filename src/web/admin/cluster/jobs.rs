//! Periodic jobs: what each does, how its last run went, and a button that asks for another one. Beside them the tasks of
//! the process that answers.

use askama::Template;
use jiff::Timestamp;

use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::api::extract::{At, NoQuery};
use crate::ui::{Cell, Chip, Column, Flash, Icon, Link, Table, Tone, Topic, When, span};
use domain::job::{Job, JobState, RunResult};
use domain::task::{TaskResult, TaskState};
use domain::text::HostName;

/// The page.
#[derive(Template)]
#[template(path = "admin/jobs.html")]
pub(crate) struct Jobs<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Vec<Row>,
    /// The tasks of the process that answers, and on which host it is.
    pub(crate) tasks: Option<(HostName, Table)>,
    /// Whether something is due for so long that nobody seems to run jobs.
    pub(crate) waits: bool,
}

/// One job.
pub(crate) struct Row {
    pub(crate) name: Job,
    pub(crate) description: String,
    pub(crate) every: String,
    pub(crate) chip: Chip,
    pub(crate) last: Option<(When, String, String)>,
    pub(crate) next: Option<When>,
    pub(crate) wanted: bool,
}

/// How the last run of a task ended.
fn task_chip(task: &TaskState) -> Chip {
    match task.last_run.as_ref().map(|run| run.result) {
        None => Chip::calm("Never ran"),
        Some(TaskResult::Done) => Chip::good("Done"),
        Some(TaskResult::Failed) => Chip::bad("Failed"),
        Some(TaskResult::TimedOut) => Chip::bad("Timed out"),
        Some(TaskResult::Panicked) => Chip::bad("Ended by a mistake in Postern"),
    }
}

/// The tasks of one process.
fn task_table(tasks: &[TaskState], now: Timestamp) -> Table {
    let what = |task: &TaskState| {
        let every = match task.period_seconds {
            1 => "second".to_owned(),
            seconds @ 0..60 => format!("{seconds} seconds"),
            seconds => span(i64::try_from(seconds).unwrap_or(i64::MAX)),
        };
        Cell::strong(&task.name)
            .within("span", "mono")
            .line(Cell::soft(format_args!("{} Every {every}.", task.description)))
    };
    let last = |task: &TaskState| {
        let run = task.last_run.as_ref();
        let when = run.map(|run| {
            Cell::part(When::new(run.started_at, now))
                .then(Cell::text(format_args!(", took {}", took(run.duration_ms))))
        });
        let detail = run.and_then(|run| run.detail.as_deref());
        let cell = Cell::part(task_chip(task)).and(when);
        detail.map_or(cell.clone(), |detail| cell.line(Cell::soft(detail)))
    };
    let next = |task: &TaskState| match task.next_run_at.as_second() - now.as_second() {
        _ if task.running_since.is_some() => Cell::text("Runs now"),
        ..60 => Cell::text("Within a minute"),
        _ => Cell::part(When::new(task.next_run_at, now)),
    };
    Table::new(&[Column::name("Task", what), Column::new("Last run", last), Column::new("Next run", next)], tasks)
}

/// A job that is due this long, in seconds, waits for a process that is not there.
const LATE: i64 = 3 * 60;

impl Row {
    fn new(job: JobState, now: Timestamp) -> Self {
        let chip = match job.last_run.as_ref().map(|run| run.result) {
            None => Chip::calm("Never ran"),
            Some(RunResult::Done) => Chip::good("Done"),
            Some(RunResult::Found) => Chip::new(Tone::Bad, Icon::Alert, "Found a problem"),
            Some(RunResult::Failed) => Chip::bad("Failed"),
        };
        let due = job.next_run_at <= now;
        Self {
            every: span(i64::try_from(job.period_seconds).unwrap_or(i64::MAX)),
            chip,
            last: job.last_run.map(|run| (When::new(run.started_at, now), took(run.duration_ms), run.detail)),
            next: (!due).then(|| When::new(job.next_run_at, now)),
            wanted: job.wanted_at.is_some(),
            name: job.name,
            description: job.description,
        }
    }
}

/// Whether none of them ever ran.
fn never(jobs: &[JobState]) -> bool {
    jobs.iter().all(|job| job.last_run.is_none())
}

/// "84 ms", "3.2 s".
fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        _ => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}

impl<'a> Jobs<'a> {
    /// The page of these jobs, over a database that has had its shape since `since`.
    pub(crate) fn new(desk: &'a Desk, jobs: Vec<JobState>, tasks: &[TaskState], since: Option<Timestamp>) -> Self {
        let late = |due: Timestamp| desk.now.as_second() - due.as_second() > LATE;
        let waits = jobs.iter().any(|job| job.last_run.is_some() && late(job.next_run_at));
        // In the first minutes of a cluster nothing is late.
        let never = never(&jobs) && since.is_some_and(late);
        let rows = jobs.into_iter().map(|job| Row::new(job, desk.now)).collect();
        let tasks = tasks.first().map(|task| (task.host.clone(), task_table(tasks, desk.now)));
        Self { desk, rows, tasks, waits: waits || never }
    }
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, _: NoQuery) -> Answer {
    desk.live = &[Topic::Jobs];
    let jobs = services.cluster().jobs(&desk.act).await?;
    let since = if never(&jobs) {
        services.cluster().migrations(&desk.act).await?.into_iter().filter_map(|migration| migration.applied_at).max()
    } else {
        None
    };
    Ok(desk.show(&Jobs::new(&desk, jobs, &services.cluster().tasks(&desk.act)?, since)))
}

pub(crate) async fn run(At(job): At<Job>, Sent { services, desk, .. }: Sent) -> Answer {
    services.cluster().want_job(&desk.act, job).await?;
    Ok(desk.go(&Link::jobs(), Flash::JobWanted))
}
