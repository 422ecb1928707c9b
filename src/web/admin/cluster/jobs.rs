//! Periodic jobs: what each does, how its last run went, and a button that asks for another one. Beside them the tasks of
//! the process that answers.

use askama::Template;
use jiff::Timestamp;

use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::api::extract::{At, NoQuery};
use crate::ui::{Cell, Chip, Column, Flash, Icon, Link, RowButton, Table, Tone, Topic, When, span};
use domain::job::{Job, JobState, RunResult};
use domain::role::Permission;
use domain::task::{TaskResult, TaskState};
use domain::text::HostName;

/// The page.
#[derive(Template)]
#[template(path = "admin/jobs.html")]
pub(crate) struct Jobs<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Table,
    /// The tasks of the process that answers, and on which host it is.
    pub(crate) tasks: Option<(HostName, Table)>,
    /// Whether something is due for so long that nobody seems to run jobs.
    pub(crate) waits: bool,
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

/// How the last run of a job ended.
fn job_chip(job: &JobState) -> Chip {
    match job.last_run.as_ref().map(|run| run.result) {
        None => Chip::calm("Never ran"),
        Some(RunResult::Done) => Chip::good("Done"),
        Some(RunResult::Found) => Chip::new(Tone::Bad, Icon::Alert, "Found a problem"),
        Some(RunResult::Failed) => Chip::bad("Failed"),
    }
}

/// A name that the command line knows as well, and what it stands for.
fn named(name: Cell, description: &str, every: &str) -> Cell {
    name.line(Cell::soft(format_args!("{description} Every {every}.")))
}

/// How a last run ended, and when it began and how long it took, if there was one.
fn ended(chip: Chip, run: Option<(Timestamp, u64, Option<&str>)>, now: Timestamp) -> Cell {
    let Some((started_at, duration_ms, detail)) = run else { return Cell::part(chip) };
    let when = Cell::part(When::new(started_at, now)).then(Cell::text(format_args!(", took {}", took(duration_ms))));
    let cell = Cell::part(chip).and(Some(when));
    match detail {
        Some(detail) => cell.line(Cell::soft(detail)),
        None => cell,
    }
}

/// The jobs of the cluster, each with a button for those who may run one.
fn job_table(desk: &Desk, jobs: &[JobState]) -> Table {
    let every = |job: &JobState| span(i64::try_from(job.period_seconds).unwrap_or(i64::MAX));
    let name = |job: &JobState| named(Cell::text(job.name).within("strong", "mono"), &job.description, &every(job));
    let last = |job: &JobState| {
        let run = job.last_run.as_ref().map(|run| (run.started_at, run.duration_ms, Some(run.detail.as_str())));
        ended(job_chip(job), run, desk.now)
    };
    let next = |job: &JobState| match job.wanted_at {
        Some(_) => Cell::text("Asked for"),
        None if job.next_run_at <= desk.now => Cell::text("Due now"),
        None => Cell::part(When::new(job.next_run_at, desk.now)),
    };
    let run = |job: &JobState| {
        let label = Some(format!("Run now: {}", job.name));
        let button = RowButton::slim(format!("{}/{}/run", Link::jobs(), job.name), desk.chrome.form_token(), "Run now");
        RowButton { label, is_disabled: job.wanted_at.is_some(), ..button }.cell()
    };
    let columns = [
        Column::name("Job", name),
        Column::new("Last run", last),
        Column::new("Next run", next),
        Column::act(run).titled("Run it").for_whom(desk.may(Permission::ManageSettings)),
    ];
    Table::new(&columns, jobs)
}

/// The tasks of one process.
fn task_table(tasks: &[TaskState], now: Timestamp) -> Table {
    let name = |task: &TaskState| {
        let every = match task.period_seconds {
            1 => "second".to_owned(),
            seconds @ 0..60 => format!("{seconds} seconds"),
            seconds => span(i64::try_from(seconds).unwrap_or(i64::MAX)),
        };
        named(Cell::strong(&task.name).within("span", "mono"), &task.description, &every)
    };
    let last = |task: &TaskState| {
        let run = task.last_run.as_ref().map(|run| (run.started_at, run.duration_ms, run.detail.as_deref()));
        ended(task_chip(task), run, now)
    };
    let next = |task: &TaskState| match task.next_run_at.as_second() - now.as_second() {
        _ if task.running_since.is_some() => Cell::text("Runs now"),
        ..60 => Cell::text("Within a minute"),
        _ => Cell::part(When::new(task.next_run_at, now)),
    };
    Table::new(&[Column::name("Task", name), Column::new("Last run", last), Column::new("Next run", next)], tasks)
}

/// A job that is due this long, in seconds, waits for a process that is not there.
const LATE: i64 = 3 * 60;

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
    pub(crate) fn new(desk: &'a Desk, jobs: &[JobState], tasks: &[TaskState], since: Option<Timestamp>) -> Self {
        let late = |due: Timestamp| desk.now.as_second() - due.as_second() > LATE;
        let waits = jobs.iter().any(|job| job.last_run.is_some() && late(job.next_run_at));
        // In the first minutes of a cluster nothing is late.
        let never = never(jobs) && since.is_some_and(late);
        let tasks = tasks.first().map(|task| (task.host.clone(), task_table(tasks, desk.now)));
        Self { desk, rows: job_table(desk, jobs), tasks, waits: waits || never }
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
    Ok(desk.show(&Jobs::new(&desk, &jobs, &services.cluster().tasks(&desk.act)?, since)))
}

pub(crate) async fn run(At(job): At<Job>, Sent { services, desk, .. }: Sent) -> Answer {
    services.cluster().want_job(&desk.act, job).await?;
    Ok(desk.go(&Link::jobs(), Flash::JobWanted))
}
