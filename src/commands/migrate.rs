//! `postern migrate plan` and `postern migrate apply`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Machine, database::Database, print};
use crate::store::migrate::{self, Pending};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show what would be applied; exit code 8 if there is anything.
    Plan {
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Apply what is pending. Safe while hosts of the release before run, and when two run at once.
    Apply {
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Plan { machine, json } => {
            let database = Database::open(&machine).await?;
            let pending = migrate::plan(&database.store).await?;
            show("pending", &pending, json);
            database.close().await;
            Ok(if pending.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(8) })
        }
        Verb::Apply { machine, json } => {
            let database = Database::open(&machine).await?;
            let applied = migrate::apply(&database.store).await?;
            show("applied", &applied, json);
            database.close().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(what: &str, migrations: &[Pending], json: bool) {
    if json {
        let rows: Vec<_> = migrations
            .iter()
            .map(|m| serde_json::json!({ "number": m.number, "name": m.name, "commands": m.commands }))
            .collect();
        print(serde_json::json!({ what: rows }));
    } else if migrations.is_empty() {
        print(format_args!("nothing {what}: the database is current"));
    } else {
        for migration in migrations {
            print(format_args!("{what}: {:04} {} ({} commands)", migration.number, migration.name, migration.commands));
        }
    }
}
