//! What a machine needs of the networks around it, and which server networks would take it away.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::network::ServerNetwork;

/// Hosts tell the cluster of so many of their networks at most.
pub const MOST_HOST_NETWORKS: usize = 64;

/// Why a machine needs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostNetworkKind {
    /// The database answers there.
    Database,
    /// The machine has this address.
    Address,
    /// A router of the machine has this address.
    Gateway,
    /// One of its interfaces is in this network.
    Link,
    /// It reaches this network by a router.
    Route,
}

/// A network that a machine needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostNetwork {
    /// What for.
    pub kind: HostNetworkKind,
    /// Which.
    pub network: Ipv4Net,
    /// By which interface, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl HostNetwork {
    /// One address.
    pub fn single(kind: HostNetworkKind, address: Ipv4Addr) -> Self {
        Self { kind, network: address.into(), device: None }
    }

    /// Whether a server's network would take it away: holds it, or a part of the network that an interface is in. A
    /// network that is reached by a router may be wider than a server's; then the server's is a part that the company
    /// gave to the VPN.
    pub fn collides_with(&self, server: ServerNetwork) -> bool {
        match self.kind {
            HostNetworkKind::Link => server.overlaps(self.network),
            _ => server.net().contains(&self.network),
        }
    }

    /// What is wrong with a server's network that would take it away.
    pub fn collision(&self, server: ServerNetwork) -> String {
        format!("the server's network {} holds {self}", server.net())
    }

    /// The first of these networks that a server's would take away, the most needed first.
    pub fn first_in(networks: &[Self], server: ServerNetwork) -> Option<&Self> {
        networks.iter().filter(|network| network.collides_with(server)).min()
    }
}

impl fmt::Display for HostNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.network.addr();
        match self.kind {
            HostNetworkKind::Database => write!(f, "the address {address} of the database")?,
            HostNetworkKind::Address => write!(f, "the machine's own address {address}")?,
            HostNetworkKind::Gateway => write!(f, "the address {address} of the machine's router")?,
            HostNetworkKind::Link => write!(f, "the machine's own network {}", self.network)?,
            HostNetworkKind::Route => write!(f, "the network {}, which the machine reaches by a router", self.network)?,
        }
        match &self.device {
            Some(device) => write!(f, " ({device})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(kind: HostNetworkKind, network: &str) -> HostNetwork {
        HostNetwork { kind, network: network.parse().unwrap(), device: None }
    }

    #[test]
    fn a_server_network_may_lie_in_a_routed_one_and_touch_nothing_nearer() {
        use HostNetworkKind::{Address, Database, Gateway, Link, Route};
        let cases = [
            (Link, "10.200.0.0/16", "10.200.0.0/16", true),
            (Link, "10.200.3.0/24", "10.200.0.0/16", true),
            (Link, "10.0.0.0/8", "10.200.0.0/16", true),
            (Link, "10.201.0.0/16", "10.200.0.0/16", false),
            (Route, "10.200.3.0/24", "10.200.0.0/16", true),
            (Route, "10.200.0.0/16", "10.200.0.0/16", true),
            (Route, "10.0.0.0/8", "10.200.0.0/16", false),
            (Address, "10.200.3.1/32", "10.200.0.0/16", true),
            (Gateway, "10.201.0.1/32", "10.200.0.0/16", false),
            (Database, "10.200.9.9/32", "10.200.0.0/16", true),
        ];
        for (kind, network, server, expected) in cases {
            assert_eq!(needs(kind, network).collides_with(server.parse().unwrap()), expected, "{kind:?} {network}");
        }
    }

    #[test]
    fn the_way_to_the_database_is_named_first() {
        let networks = [
            HostNetwork { device: Some("core".into()), ..needs(HostNetworkKind::Link, "10.92.0.0/24") },
            needs(HostNetworkKind::Database, "10.92.0.2/32"),
        ];
        let first = HostNetwork::first_in(&networks, "10.92.0.0/16".parse().unwrap()).unwrap();
        assert_eq!(first.to_string(), "the address 10.92.0.2 of the database");
        assert_eq!(networks[0].to_string(), "the machine's own network 10.92.0.0/24 (core)");
        assert_eq!(HostNetwork::first_in(&networks, "10.93.0.0/16".parse().unwrap()), None);
    }
}
