//! `postern jobs list` and `postern jobs run`: periodic work, for outside schedulers.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::database::{Database, load, master_key};
use super::{Machine, client, print};
use crate::domain::audit::Actor;
use crate::domain::job::{Job, JobState, Run, RunResult};
use crate::domain::task::{TaskResult, TaskState};
use crate::services::Act;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the jobs of the cluster and the tasks of the process on this machine, how often each is due, and what came
    /// of its last run.
    ///
    /// A job is done once for the whole cluster. A task is what each process does for itself; a process is asked for its
    /// tasks at its ops listener.
    List {
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a job now, whether or not it is due, unless another process runs it.
    ///
    /// Exit code 4 if another process is, 8 if a job found something that should not be, 1 if one failed. A process with
    /// the role jobs does not run it again before its period is over.
    Run {
        /// The name of the job.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(Job::ALL.iter().map(|job| job.as_str())))]
        #[arg(required_unless_present = "due", conflicts_with = "due")]
        name: Option<String>,
        /// All that are due and that nobody else runs.
        #[arg(long)]
        due: bool,
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let (Verb::List { machine, .. } | Verb::Run { machine, .. }) = &verb;
    let database = Database::open(machine).await?;
    let done = on(&database, &verb).await;
    database.close().await;
    done
}

async fn on(database: &Database, verb: &Verb) -> anyhow::Result<ExitCode> {
    database.require_current().await?;
    let (Verb::List { machine, .. } | Verb::Run { machine, .. }) = verb;
    let config = load(machine)?;
    let services = database.services(master_key(&config)?).await;
    match verb {
        Verb::List { json, .. } => {
            let ops = config.ops_listen();
            let tasks = tokio::task::spawn_blocking(move || client::tasks(ops)).await?;
            let jobs = services.cluster().jobs(&Act::of(Actor::Shell("jobs list"))).await?;
            if *json {
                print(json!({ "items": jobs, "tasks": tasks }));
            } else {
                list(&jobs, tasks.as_deref(), ops);
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Run { name, json, .. } => {
            let mut runs = Vec::new();
            if let Some(name) = name {
                let job: Job = name.parse().map_err(anyhow::Error::msg)?;
                runs.push((job, services.cluster().run_job(&Act::of(Actor::Shell("jobs run")), job).await?));
            } else {
                for job in Job::ALL {
                    runs.extend(services.cluster().run_due_job(*job).await?.map(|run| (*job, run)));
                }
            }
            show(&runs, *json);
            Ok(code(&runs))
        }
    }
}

fn show(runs: &[(Job, Run)], as_json: bool) {
    if as_json {
        let items: Vec<_> = runs.iter().map(|(job, run)| json!({ "name": job, "run": run })).collect();
        print(json!({ "items": items }));
    } else {
        for (job, run) in runs {
            print(format_args!("{job}: {}", run.detail));
        }
    }
}

fn code(runs: &[(Job, Run)]) -> ExitCode {
    let any = |result| runs.iter().any(|(_, run)| run.result == result);
    if any(RunResult::Failed) {
        ExitCode::FAILURE
    } else if any(RunResult::Found) {
        ExitCode::from(8)
    } else {
        ExitCode::SUCCESS
    }
}

fn list(jobs: &[JobState], tasks: Option<&[TaskState]>, ops: SocketAddr) {
    for job in jobs {
        print(line(job));
    }
    print("");
    let Some(tasks) = tasks else {
        return print(format_args!("No process on this machine tells of its tasks: none answers at {ops}."));
    };
    print("Tasks of the process on this machine:");
    for task in tasks {
        print(task_line(task));
    }
}

fn every(seconds: u64) -> String {
    match (seconds / 60, seconds) {
        (0, seconds) => format!("{seconds} s"),
        (1, 61..) => format!("{seconds} s"),
        (minutes @ 1..60, _) => format!("{minutes} min"),
        (minutes, _) => format!("{} h", minutes / 60),
    }
}

fn task_line(task: &TaskState) -> String {
    let last = match &task.last_run {
        None => "never ran".to_owned(),
        Some(run) => {
            let result = match run.result {
                TaskResult::Done => "done",
                TaskResult::Failed => "FAILED",
                TaskResult::TimedOut => "TIMED OUT",
                TaskResult::Panicked => "PANICKED",
            };
            let detail = run.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{result} {:.0} in {} ms{detail}", run.started_at, run.duration_ms)
        }
    };
    format!("{:<19} every {:<7} {last}", task.name, every(task.period_seconds))
}

fn line(job: &JobState) -> String {
    let every = every(job.period_seconds);
    let last = match &job.last_run {
        None => "never ran".to_owned(),
        Some(run) => {
            let result = match run.result {
                RunResult::Done => "done",
                RunResult::Found => "FOUND",
                RunResult::Failed => "FAILED",
            };
            format!("{result} {} in {} ms: {}", run.started_at, run.duration_ms, run.detail)
        }
    };
    format!("{:<17} every {every:<7} {last}", job.name.as_str())
}
