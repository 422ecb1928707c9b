//! `postern migrate plan` and `postern migrate apply`.

use std::process::ExitCode;

use clap::Subcommand;

use super::database::Database;
use super::{Machine, print, tell};
use crate::store::hosts::database_user::{HostRole, role_name};
use crate::store::migrate::Pending;
use crate::store::{Store, migrate};

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
    /// Apply what is pending. Safe while hosts of the previous release run, and when two run at once.
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
            renew_host_role(&database.store).await?;
            database.close().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Hosts of this release may need rights that their database role does not have yet. It is brought up to date here, before
/// they start; where there is no such role, the first join makes it.
async fn renew_host_role(store: &Store) -> anyhow::Result<()> {
    let HostRole::Lacks(rights) = store.hosts().host_role_state().await? else { return Ok(()) };
    let (role, rights) = (role_name()?, rights.join(", "));
    match store.hosts().prepare_host_role().await? {
        HostRole::Ready => tell(format_args!("the database role {role} of hosts now allows: {rights}")),
        _ => tell(format_args!(
            "the database role {role} of hosts lacks {rights}, and this user may not grant that: before hosts of this \
             release start, run apply.js of deploy/mongodb as an administrator of the database"
        )),
    }
    Ok(())
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
