//! The virtual VPN server, and the hosts it runs on.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::entity;
use super::ids::{HostId, IdError, OrganizationId, ServerId};
use super::network::{Route, ServerNetwork};
use super::text::{DnsName, GroupName, HostName, Name};

/// The transport of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// One datagram per packet: the default and the faster one.
    Udp,
    /// For networks that let nothing else out.
    Tcp,
}

impl Protocol {
    /// The word of OpenVPN's `remote` line and of nftables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A port that can be listened on: 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u16")]
#[schema(value_type = u16, minimum = 1, example = 1194)]
pub struct Port(std::num::NonZeroU16);

impl Port {
    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u32> for Port {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        let narrow = u16::try_from(number).ok().and_then(std::num::NonZeroU16::new);
        narrow.map(Self).ok_or("must be a port between 1 and 65535")
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.get()
    }
}

/// How a lost peer is noticed: a ping every `interval` seconds, gone after `timeout` seconds without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "KeepaliveForm", into = "KeepaliveForm")]
pub struct Keepalive {
    #[schema(minimum = 1, maximum = 3600, example = 2)]
    interval: u16,
    #[schema(minimum = 2, maximum = 7200, example = 6)]
    timeout: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepaliveForm {
    interval: u16,
    timeout: u16,
}

impl Keepalive {
    /// Seconds between pings.
    pub fn interval(self) -> u16 {
        self.interval
    }

    /// Seconds without a ping after which the peer is lost. `openvpn` waits twice as long on the server's side.
    pub fn timeout(self) -> u16 {
        self.timeout
    }
}

impl Default for Keepalive {
    /// A crashed host is noticed after 6 seconds; an idle client sends 7 MB a day.
    fn default() -> Self {
        Self { interval: 2, timeout: 6 }
    }
}

impl TryFrom<KeepaliveForm> for Keepalive {
    type Error = &'static str;

    fn try_from(form: KeepaliveForm) -> Result<Self, Self::Error> {
        let KeepaliveForm { interval, timeout } = form;
        let sound = (1..=3600).contains(&interval) && timeout >= interval.saturating_mul(2) && timeout <= 7200;
        sound
            .then_some(Self { interval, timeout })
            .ok_or("must have an interval of 1 to 3600 seconds and a timeout of at least twice that, 7200 at most")
    }
}

impl From<Keepalive> for KeepaliveForm {
    fn from(keepalive: Keepalive) -> Self {
        Self { interval: keepalive.interval, timeout: keepalive.timeout }
    }
}

entity! {
    /// A virtual VPN server. It runs on every host that is attached to it.
    noun Server(ServerId);
    /// A new server.
    new NewServer;
    /// A change of a server; what is absent stays.
    patch ServerPatch;
    /// A server as the database keeps it.
    stored StoredServer;
    required {
        /// Its name, unique in the cluster.
        name: Name, patch "The new name.";
        /// The network its clients get their addresses from.
        network: ServerNetwork, patch "The new network; refused while profiles hold addresses of the old one.";
        /// The port its daemons listen on, on each host.
        port: Port, patch "The new port: daemons restart, profiles become outdated.";
        /// The transport of the same.
        protocol: Protocol, patch "The new transport: likewise.";
    }
    defaulted {
        /// A server that is not enabled runs nowhere.
        enabled: bool = "yes", patch "Whether it runs.";
        /// Whose users may connect.
        organization_ids: BTreeSet<OrganizationId> = "BTreeSet::new", patch "All organizations from now on.";
        /// If not empty, only users in one of these groups may connect.
        groups: BTreeSet<GroupName> = "BTreeSet::new", patch "All groups from now on.";
        /// What clients may reach.
        routes: Vec<Route> = "Vec::new", patch "All routes from now on.";
        /// Resolvers for clients.
        dns_servers: Vec<Ipv4Addr> = "Vec::new", as Vec<String>, example ["10.0.0.53"],
            patch "All resolvers from now on.";
        /// Domains that clients append to short names.
        search_domains: Vec<DnsName> = "Vec::new", patch "All search domains from now on.";
        /// How a lost host is noticed.
        keepalive: Keepalive = "Keepalive::default", patch "The new keepalive.";
    }
    optional {}
}

fn yes() -> bool {
    true
}

/// Where the daemons of a server listen on each of its hosts, and so what every `remote` line says after the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The port.
    pub port: Port,
    /// The transport.
    pub protocol: Protocol,
}

impl Endpoint {
    /// That of a server.
    pub fn of(server: &Server) -> Self {
        Self { port: server.port, protocol: server.protocol }
    }
}

/// The key of an attachment: which server, on which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttachmentKey {
    /// What runs.
    pub server_id: ServerId,
    /// Where it runs.
    pub host_id: HostId,
}

impl fmt::Display for AttachmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.server_id, self.host_id)
    }
}

impl FromStr for AttachmentKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (server, host) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { server_id: server.parse()?, host_id: host.parse()? })
    }
}

/// What a host reports about its daemon of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DaemonState {
    /// Attached; the host has not begun, or waits for its certificate.
    Pending,
    /// The process is starting.
    Starting,
    /// Clients can connect.
    Running,
    /// Clients are being moved to other hosts.
    Draining,
    /// Not meant to run, and does not.
    Stopped,
    /// Meant to run, and does not; `detail` says why.
    Failed,
}

/// What an attachment gives a host, made by a process that holds the master key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The certificate of the host's daemon, PEM.
    pub certificate: String,
    /// The SHA-256 of the public key that it was made for, so that a host knows its own.
    pub key_hash: Vec<u8>,
    /// When it ends.
    pub not_after: Timestamp,
    /// The roots that clients' certificates must lead to, PEM.
    pub client_authorities: String,
    /// The tls-crypt-v2 server key, sealed to the host's key.
    pub sealed_tls_crypt: Vec<u8>,
}

/// A machine that is no host any more and had a server's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyHolder {
    /// What its name was.
    pub host_name: HostName,
    /// When it was removed.
    pub removed_at: Timestamp,
}

/// What may be known about the tls-crypt-v2 key that all hosts of a server share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerKeyFacts {
    /// When it was last rotated; never, while the server has the key that all servers begin with.
    pub rotated_at: Option<Timestamp>,
    /// Who has it and is no host any more. While somebody does, rotating the key is due.
    pub left_with: Vec<KeyHolder>,
}

/// A host that is to run a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What runs.
    pub server_id: ServerId,
    /// Where it runs.
    pub host_id: HostId,
    /// What its daemon needs, once it has been made.
    pub credentials: Option<Credentials>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_is_no_port() {
        assert!(serde_json::from_str::<Port>("0").is_err());
        assert!(serde_json::from_str::<Port>("65536").is_err());
        assert_eq!(serde_json::from_str::<Port>("1194").unwrap().get(), 1194);
    }

    #[test]
    fn a_keepalive_that_flaps_is_refused() {
        assert!(serde_json::from_str::<Keepalive>(r#"{"interval": 10, "timeout": 10}"#).is_err());
        assert!(serde_json::from_str::<Keepalive>(r#"{"interval": 0, "timeout": 10}"#).is_err());
        assert_eq!(
            serde_json::from_str::<Keepalive>(r#"{"interval": 2, "timeout": 6}"#).unwrap(),
            Keepalive::default()
        );
    }
}
