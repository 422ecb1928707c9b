//! `postern host`.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::api::Ask;
use super::error::ClientError;
use super::options::time;
use super::output::{Column, ColumnFormat, View, at};
use super::paging::Paging;
use super::refs::NounKind;
use super::wait::Wait;
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("NAME", "name", ColumnFormat::Plain),
        Column("STATE", "state", ColumnFormat::Plain),
        Column("PROBLEMS", "problems", ColumnFormat::Each("code")),
        Column("SESSIONS", "sessions", ColumnFormat::Plain),
        Column("VERSION", "version", ColumnFormat::Plain),
        Column("ADDRESSES", "public_addresses", ColumnFormat::Plain),
        Column("ROLES", "roles", ColumnFormat::Plain),
        Column("LAST SEEN", "last_seen_at", ColumnFormat::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List hosts.
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a host.
    Show {
        /// Its id or name.
        host: String,
    },
    /// Rename a host. Its own configuration must follow before its next start.
    Rename {
        /// Its id or name.
        host: String,
        /// Its new name.
        name: String,
    },
    /// Drain a host: newcomers, and then its sessions, go to the other hosts.
    #[command(after_help = "Example:\n  postern host drain vpn-2 --budget 60s --wait")]
    Drain {
        /// Its id or name.
        host: String,
        /// Within which time its sessions are to be on other hosts.
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
        budget: Duration,
        /// End sessions too that no other host can take over.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take a host back into service, whether its drain is over or not.
    Resume {
        /// Its id or name.
        host: String,
    },
    /// Remove a host from the cluster for good: drain it first, or give --force. Its key makes no host any more.
    #[command(visible_alias = "delete")]
    Remove {
        /// Its id or name.
        host: String,
        /// Remove it though it is in service; whoever is connected through it is cut off.
        #[arg(long)]
        force: bool,
    },
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path = |host: &str| -> Result<String, ClientError> {
            Ok(format!("/hosts/{}", client.find(NounKind::Host, host)?))
        };
        match self {
            Self::List { paging } => client.list("/hosts", &[], &paging, &VIEW),
            Self::Show { host } => client.show(&Ask::get(&path(&host)?), &VIEW),
            Self::Rename { host, name } => client.show(&Ask::patch(&path(&host)?, &json!({ "name": name })), &VIEW),
            Self::Drain { host, budget, force, wait } => {
                let path = path(&host)?;
                let order = format!("{path}/drain");
                let body = json!({ "budget_seconds": budget.as_secs(), "force": force });
                let ask = Ask::post(&order).body(&body);
                if force {
                    let what = format!("end sessions on host {host} that no other host can take over");
                    client.confirm_effect(&what, &ask)?;
                } else {
                    client.announce_effect(&format!("drain host {host}"), &ask)?;
                }
                let sentence = format!("host {host} leaves service; `postern host resume {host}` takes it back");
                client.done(&ask, &sentence)?;
                if client.api.dry_run {
                    return Ok(());
                }
                wait.until_drained(client, &path)?;
                client.show(&Ask::get(&path), &VIEW)
            }
            Self::Resume { host } => client.show(&Ask::post(&format!("{}/resume", path(&host)?)), &VIEW),
            Self::Remove { host, force } => remove(client, &host, &path(&host)?, force),
        }
    }
}

/// Removes a host, after a look at what that means.
fn remove(client: &Client, host: &str, path: &str, force: bool) -> Result<(), ClientError> {
    let means = client.api.send(&Ask::get(&format!("{path}/removal")))?.json()?;
    let count = |field| at(&means, field).as_u64().unwrap_or(0);
    let (sessions, profiles) = (count("sessions"), count("profiles"));
    let forced = [("force", "true".to_owned())];
    let ask = Ask::delete(path).query(if force { &forced } else { &[] });
    let what = format!(
        "remove host {host}, which carries {sessions} sessions and stands in {profiles} active profiles, for good"
    );
    client.confirm_effect(&what, &ask)?;
    client.done(&ask, &format!("removed host {host}"))?;
    if client.api.dry_run {
        return Ok(());
    }
    for server in at(&means, "servers").as_array().into_iter().flatten() {
        let name = at(server, "name").as_str().unwrap_or_default();
        match at(server, "active_profiles").as_u64().unwrap_or(0) {
            0 => client.out.remark(&format!("server {name} has another key from now on")),
            profiles => client.out.remark(&format!(
                "the machine still has the key of server {name}: if it is not in your hands, `postern server rotate {name}` \
                 makes another and revokes {profiles} profiles"
            )),
        }
    }
    Ok(())
}
