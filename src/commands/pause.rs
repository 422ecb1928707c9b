//! `postern pause` and `postern resume`: the cluster read-only, for a move of its database.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::database::{Database, master_key};
use super::{Machine, print, tell};
use crate::domain::audit::Actor;
use crate::services::{Act, Services};

/// How long hosts may take to confirm. Each looks at the revision every five seconds, nudge or not, and a step that is
/// being written takes another five at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins a pause, and returns when all hosts have confirmed it.
pub(super) async fn pause(machine: Machine, as_json: bool) -> anyhow::Result<ExitCode> {
    let database = Database::open(&machine).await?;
    database.require_current().await?;
    let services = services(&machine, &database).await?;
    let pause = services.cluster().pause(&Act::of(Actor::Shell("pause"))).await?;
    let missing = services.cluster().await_hosts(pause, PATIENCE).await?;
    database.close().await;
    if as_json {
        print(json!({ "paused_since": pause.since, "unconfirmed_hosts": missing }));
    } else {
        print(format_args!(
            "paused since {}: nothing can be changed until `postern resume`; the VPN goes on",
            pause.since
        ));
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    tell(format_args!(
        "these hosts have not confirmed and may still write down what happens to sessions: {}; stop postern on them, or \
         run `postern pause` again, before you copy the database",
        names.join(", ")
    ));
    Ok(ExitCode::from(7))
}

/// Ends the pause.
pub(super) async fn resume(machine: Machine, as_json: bool) -> anyhow::Result<ExitCode> {
    let database = Database::open(&machine).await?;
    database.require_current().await?;
    let resumed = services(&machine, &database).await?.cluster().resume(&Act::of(Actor::Shell("resume"))).await?;
    database.close().await;
    if as_json {
        print(json!({ "resumed": resumed }));
    } else {
        print(if resumed { "resumed: the cluster can be changed again" } else { "the cluster was not paused" });
    }
    Ok(ExitCode::SUCCESS)
}

async fn services(machine: &Machine, database: &Database) -> anyhow::Result<Services> {
    let key = master_key(&super::database::load(machine)?)?;
    Ok(database.services(key).await)
}
