//! What the kernel does with the packets of the servers that run here, in the words of the hosts themselves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::finding::Finding;
use crate::daemon::{device, server_rules};
use crate::domain::host_network::{HostNetwork, HostNetworkKind};
use crate::domain::problem::ProblemCode;
use crate::domain::server::Server;
use crate::firewall::{Firewall, FirewallError, Ruleset, Surroundings, legacy_command};

/// Looks at the firewall and the routes of this machine, for these servers and a database on these machines.
pub(super) async fn look(servers: &[Arc<Server>], database: &BTreeSet<String>) -> Vec<Finding> {
    if servers.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let read = match Firewall::find() {
        Ok(firewall) => firewall.read().await,
        Err(error) => Err(error),
    };
    match read {
        Ok(ruleset) => {
            findings.push(own_table(servers, &ruleset));
            findings.push(foreign(servers, &ruleset).await);
        }
        Err(error @ FirewallError::NotPermitted(_)) => findings.push(Finding::warn(
            ProblemCode::Firewall.as_str(),
            error.to_string(),
            "run `postern doctor` as root to have the rules looked at",
        )),
        // The check of nftables says why.
        Err(_) => {}
    }
    findings.push(collision(servers, database).await);
    findings
}

fn own_table(servers: &[Arc<Server>], ruleset: &Ruleset) -> Finding {
    const CHECK: &str = ProblemCode::Firewall.as_str();
    let exists = |server: &&Arc<Server>| std::path::Path::new("/sys/class/net").join(device(server.id)).exists();
    match servers.iter().find(exists) {
        Some(server) if !ruleset.has_own() => Finding::fail(
            CHECK,
            format!("server {} runs, and table inet postern is not there: its clients are not held back", server.name),
            "start postern: it puts the table in place and keeps it there",
        ),
        _ => Finding::ok(CHECK, "table inet postern is where daemons run"),
    }
}

async fn foreign(servers: &[Arc<Server>], ruleset: &Ruleset) -> Finding {
    const CHECK: &str = ProblemCode::ForeignFirewall.as_str();
    let mut rules = servers.iter().filter_map(|server| server_rules(server).ok());
    if let Some(found) = rules.find_map(|rules| ruleset.blockage(&rules)) {
        return Finding::fail(CHECK, found.cause(), found.command());
    }
    if Firewall::legacy_drops().await {
        let cause = "chain FORWARD of iptables-legacy drops what clients send";
        return Finding::fail(CHECK, cause, legacy_command());
    }
    Finding::ok(CHECK, "no other table drops what Postern lets through")
}

async fn collision(servers: &[Arc<Server>], database: &BTreeSet<String>) -> Finding {
    const CHECK: &str = ProblemCode::NetworkCollision.as_str();
    let mut networks = Surroundings::read().unwrap_or_default().networks;
    for machine in database {
        let Ok(addresses) = tokio::net::lookup_host((machine.as_str(), 0)).await else { continue };
        networks.extend(addresses.filter_map(|address| match address.ip() {
            IpAddr::V4(address) if !address.is_loopback() => {
                Some(HostNetwork::single(HostNetworkKind::Database, address))
            }
            _ => None,
        }));
    }
    let collides =
        |server: &Arc<Server>| Some((server.clone(), HostNetwork::first_in(&networks, server.network)?.clone()));
    match servers.iter().find_map(collides) {
        Some((server, needed)) => Finding::fail(
            CHECK,
            format!("server {}: {}", server.name, needed.collision(server.network)),
            "give the server a network that no host uses",
        ),
        None => Finding::ok(CHECK, "no server's network holds what this machine needs"),
    }
}
