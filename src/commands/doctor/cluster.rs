//! What the database must be and have, and what this machine is in it.

use std::sync::Arc;

use super::super::database::{Database, master_key};
use super::finding::{Finding, Verdict};
use super::{machine, network};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::clock::SystemClock;
use crate::domain::host::ProcessRole;
use crate::domain::ids::ServerId;
use crate::domain::join::DatabaseUser;
use crate::domain::problem::ProblemCode;
use crate::domain::server::Server;
use crate::keys::host::HostKey;
use crate::runtime::instance::instance;
use crate::services::access::admission::Admission;
use crate::services::hosts::database_users::HostAccess;
use crate::services::{Act, ServiceError, Services};
use crate::store::check::{ServerFacts, check, check_as_host};
use crate::store::{Store, StoreError, migrate};

const DATABASE: &str = "database";
const MASTER_KEY: &str = "cluster_key";
const HOST: &str = "host";

/// Looks at the database of this configuration. What it needs for trying, it removes again.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    if config.database.uri.is_none() && !config.host.data_dir.join("database/access.json").exists() {
        return vec![private_to_come(config)];
    }
    match Database::of(config).await {
        Ok(database) => {
            let findings = look_into(config, &database).await;
            database.close().await;
            findings
        }
        Err(error) => vec![refused(&error)],
    }
}

/// A database that does not exist yet is not made in order to look at it.
fn private_to_come(config: &Config) -> Finding {
    match crate::store::private::find_mongod(config.database.mongod.as_deref()) {
        Ok(mongod) => {
            Finding::ok(DATABASE, format!("a private one will be made at the first start, with {}", mongod.display()))
        }
        Err(error) => Finding::store(DATABASE, &error),
    }
}

fn refused(error: &anyhow::Error) -> Finding {
    match error.downcast_ref::<StoreError>() {
        Some(error @ StoreError::Misconfigured { .. }) => Finding::store(DATABASE, error),
        _ => Finding::fail(
            DATABASE,
            format!("{error:#}"),
            "see that a primary runs and that this machine may reach it: database.uri, DNS, firewall",
        ),
    }
}

async fn look_into(config: &Config, database: &Database) -> Vec<Finding> {
    let mut findings = match tried(config, database).await {
        Ok(findings) => findings,
        Err(error) => return vec![refused(&error.into())],
    };
    if database.store.protection().is_readable() {
        findings.push(Finding::warn(
            DATABASE,
            "what is sent to it is not encrypted",
            "add tls=true to database.uri (and tlsCAFile=… for a CA of your own)",
        ));
    }
    let migrations = migrations(&database.store, database.is_private()).await;
    let current = migrations.result != Verdict::Fail;
    findings.push(migrations);
    // In a database that is not in shape, nothing more is where it should be.
    if current && migrate::is_current(&database.store).await.is_ok() {
        findings.extend(cluster(config, database).await);
    }
    findings
}

/// What the processes of this configuration rely on. One that only serves VPN may have a database user that can try
/// nothing out; it relies on what the others have tried.
async fn tried(config: &Config, database: &Database) -> Result<Vec<Finding>, StoreError> {
    if config.needs_master_key() {
        return Ok(server(&check(&database.store, &SystemClock).await?, database.is_private()));
    }
    let offset = check_as_host(&database.store, &SystemClock).await?;
    Ok(vec![Finding::ok(DATABASE, "it answers"), machine::clock("database", offset)])
}

/// What `check` has tried and measured.
fn server(facts: &ServerFacts, private: bool) -> Vec<Finding> {
    let database = Finding::ok(DATABASE, format!("MongoDB {} answers and takes writes", facts.version));
    let set = match (&facts.set_name, facts.members) {
        (Some(name), 1) if !private => Finding::warn(
            "replica_set",
            format!("{name} has one member: while that machine is down, nothing can be changed"),
            "add two more: start mongod there with --replSet, then rs.add(\"HOST:27017\") in mongosh",
        ),
        (Some(name), members) => Finding::ok("replica_set", format!("{name}, members: {members}")),
        (None, _) => Finding::ok("replica_set", "a sharded cluster, by its router"),
    };
    let took = format!("{} ms from insert to the waiting cursor", facts.nudge_delay.as_millis());
    let tail = if facts.prompt {
        Finding::ok("capped_tailable", format!("tried: {took}"))
    } else {
        let fix = "use MongoDB itself rather than a product that speaks its protocol";
        Finding::warn("capped_tailable", format!("{took}: changes reach hosts late"), fix)
    };
    vec![
        database,
        set,
        tail,
        Finding::ok("transactions", "tried: committed"),
        machine::clock("database", facts.clock_offset),
    ]
}

async fn migrations(store: &Store, private: bool) -> Finding {
    const CHECK: &str = "migrations";
    let pending = match migrate::plan(store).await {
        Ok(pending) => pending,
        Err(error) => return Finding::store(CHECK, &error),
    };
    let names: Vec<_> = pending.iter().map(|migration| migration.name).collect();
    if names.is_empty() {
        Finding::ok(CHECK, "none pending")
    } else if private {
        Finding::ok(CHECK, format!("pending, the next start applies them: {}", names.join(", ")))
    } else {
        Finding::fail(CHECK, format!("pending: {}", names.join(", ")), "postern migrate apply")
    }
}

async fn cluster(config: &Config, database: &Database) -> Vec<Finding> {
    // Where the key cannot be used, the check of the machine says why.
    let key = master_key(config).unwrap_or_default();
    let services = database.services(key).await;
    let mut findings = vec![pause(&services).await];
    if services.has_master_key() {
        findings.push(cluster_key(&services).await);
    }
    if config.host_database().is_some() && config.roles().contains(&ProcessRole::Console) {
        findings.push(database_users(&services).await);
    }
    match host(config, database, &services).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(refused(&error)),
    }
    if config.roles().contains(&ProcessRole::Vpn) {
        match servers(config, database, &services).await {
            Ok(servers) => {
                findings.extend(servers.iter().flat_map(server_findings));
                findings.extend(network::look(&servers, &database.store.machines()).await);
            }
            Err(error) => findings.push(refused(&error)),
        }
    }
    findings
}

async fn pause(services: &Services) -> Finding {
    const CHECK: &str = "pause";
    match services.cluster().paused().await {
        Ok(None) => Finding::ok(CHECK, "the cluster can be changed"),
        Ok(Some(pause)) => {
            let cause = format!("the cluster has been paused since {}: nothing can be changed", pause.since);
            Finding::warn(CHECK, cause, "when its database has been moved: postern resume")
        }
        Err(error) => Finding::fail(CHECK, error.to_string(), "see the check of the database"),
    }
}

async fn cluster_key(services: &Services) -> Finding {
    match services.network().prove_master_key().await {
        Ok(true) => Finding::ok(MASTER_KEY, "the master key here opens this cluster's secrets"),
        Ok(false) => Finding::ok(MASTER_KEY, "this cluster has no secrets yet; the first start makes them"),
        Err(ServiceError::Internal(error)) => Finding::fail(
            MASTER_KEY,
            format!("the master key here is not this cluster's: {error}"),
            "copy the key file from a host that works to keys.master_key_file",
        ),
        Err(error) => Finding::fail(MASTER_KEY, error.to_string(), "see the check of the database"),
    }
}

/// As whom hosts that join come to the database.
async fn database_users(services: &Services) -> Finding {
    const CHECK: &str = "database_users";
    match services.hosts().host_access().await {
        Ok(HostAccess::As(DatabaseUser::Own)) => Finding::ok(CHECK, "hosts that join get a database user of their own"),
        Ok(HostAccess::As(DatabaseUser::SharedByHosts)) => {
            Finding::ok(CHECK, "hosts that join share the user that database.uri_for_hosts names")
        }
        Ok(HostAccess::As(DatabaseUser::NotAsked)) => Finding::ok(CHECK, "the database has no access control"),
        Ok(HostAccess::As(DatabaseUser::SharedWithWeb)) => Finding::warn(
            CHECK,
            "this process may make no database users: no host can join, unless its join token lets it share the user of \
             this process, which may read and change everything",
            "run apply.js of deploy/mongodb as an administrator of the database, or set database.uri_for_hosts",
        ),
        Ok(HostAccess::Lacks(rights)) => Finding::warn(
            CHECK,
            format!("the database role of hosts is older than this release needs; it lacks {}", rights.join(", ")),
            "postern migrate apply; if that may not grant them, run apply.js of deploy/mongodb as an administrator of the \
             database",
        ),
        Err(error) => Finding::fail(CHECK, error.to_string(), "see the check of the database"),
    }
}

/// Whether this machine may be the host that it wants to be, and what its running process says is wrong with it.
async fn host(config: &Config, database: &Database, services: &Services) -> anyhow::Result<Vec<Finding>> {
    let name = config.host_name()?;
    let Some(known) = database.store.hosts().find_host_by_name(&name).await? else {
        return Ok(vec![Finding::ok(HOST, format!("{name} is new; the first start makes it a host"))]);
    };
    let id = known.value.id;
    let status = database.store.hosts().host_statuses(Some(&[id])).await?.remove(&id).filter(|status| status.online);
    let key_file = config.host.data_dir.join("host.key");
    if key_file.exists() && HostKey::load_or_create(&key_file)?.public().as_bytes() == &known.value.public_key {
        let Some(status) = status else { return Ok(vec![Finding::ok(HOST, format!("{name} is {id}"))]) };
        if status.instance.is_some_and(|holder| instance(&config.host.data_dir).is_ok_and(|own| own != holder)) {
            let cause = format!("another machine that is alive runs as host {name} with this machine's key");
            let fix = "if this disk is a copy: delete host.key in host.data_dir and join with a new token";
            return Ok(vec![Finding::fail(HOST, cause, fix).coded(ProblemCode::ClonedHost)]);
        }
        let host = services.hosts().host_row(&Act::of(Actor::Shell("doctor")), id).await?;
        let server =
            |of: ServerId| host.daemons.iter().find(|daemon| daemon.server_id == of).map(|daemon| &daemon.name);
        let problems = host.host.value.problems.iter();
        let mut findings = vec![Finding::ok(HOST, format!("{name} is {id}, and running"))];
        findings.extend(problems.map(|problem| Finding::reported(problem, problem.server_id.and_then(server))));
        return Ok(findings);
    }
    if status.is_some() {
        let cause = format!("another machine runs as host {name}");
        return Ok(vec![Finding::fail(HOST, cause, "give this one another host.name")]);
    }
    let cause = format!("host {name} is known with another key, and silent");
    let fix = if config.needs_master_key() {
        "start postern: it takes the name over; or give this machine another host.name"
    } else {
        "remove that host, or give this machine another host.name"
    };
    Ok(vec![Finding::warn(HOST, cause, fix)])
}

/// The servers that run here or are to.
async fn servers(config: &Config, database: &Database, services: &Services) -> anyhow::Result<Vec<Arc<Server>>> {
    let Some(host) = database.store.hosts().find_host_by_name(&config.host_name()?).await? else {
        return Ok(Vec::new());
    };
    let admission = Admission::new(services.clone());
    admission.refresh().await?;
    let snapshot = admission.snapshot();
    let servers = snapshot.attached_to(host.value.id).map(|(server, _)| server).filter(|server| server.enabled);
    Ok(servers.cloned().collect())
}

/// The port of a server, and what is likely a mistake in its settings.
fn server_findings(server: &Arc<Server>) -> Vec<Finding> {
    let warned = server.warnings().into_iter().map(|warning| {
        let cause = format!("{}: {warning}", server.name);
        Finding::warn("server", cause, format!("postern server update {} --dns ADDRESS", server.id))
    });
    let port = machine::vpn_port(server.name.as_str(), server.protocol, server.port);
    std::iter::once(port).chain(warned).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn clocks_are_told_of_before_they_matter() {
        for (seconds, result) in
            [(0, Verdict::Ok), (-5, Verdict::Ok), (6, Verdict::Warn), (-60, Verdict::Warn), (301, Verdict::Fail)]
        {
            assert_eq!(machine::clock("database", SignedDuration::from_secs(seconds)).result, result, "{seconds}");
        }
        let finding = machine::clock("database", SignedDuration::from_secs(-7));
        assert_eq!(finding.cause.as_deref(), Some("the database's clock is 7.0 s behind this machine's"));
    }
}
