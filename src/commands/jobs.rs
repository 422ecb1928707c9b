//! `postern jobs list` and `postern jobs run`: periodic work, for whoever schedules it elsewhere.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{
    Machine,
    database::{Database, load, master_key},
    print,
};
use crate::{
    domain::{
        audit::Actor,
        job::{Job, JobState, Run, RunResult},
    },
    services::Act,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show what there is, how often each is due, and what came of its last run.
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
    let key = master_key(&load(machine)?)?;
    let services = database.services(key).await;
    match verb {
        Verb::List { json, .. } => {
            let jobs = services.cluster().jobs(&Act::of(Actor::Shell("jobs list"))).await?;
            if *json {
                print(json!({ "items": jobs }));
            } else {
                for job in &jobs {
                    print(line(job));
                }
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

fn line(job: &JobState) -> String {
    let every = match job.period_seconds / 60 {
        minutes @ 0..60 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    };
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
