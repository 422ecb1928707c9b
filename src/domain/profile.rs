//! One issued credential: one user, one server, one device.

use std::{fmt, net::Ipv4Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    host::Host,
    ids::{HostId, ProfileId, ServerId, UserId},
    server::{Port, Protocol, Server},
    text::{HostName, Name, PublicAddress},
};

/// The SHA-256 of a certificate's DER form: what a daemon reports about a client, and how a profile is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a profile still opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfileState {
    /// It connects, as long as its user may.
    Active,
    /// It never connects again.
    Revoked,
}

/// A profile. Its private key is nowhere in it: the key is made at delivery, sent once and forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it leads.
    pub server_id: ServerId,
    /// The device, as its owner calls it.
    pub name: Name,
    /// Its fixed address in the server's network, the same on every host.
    #[schema(value_type = String, format = Ipv4, example = "10.200.0.7")]
    pub address: Ipv4Addr,
    /// Whether it still opens anything.
    pub state: ProfileState,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When its certificate ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it last connected; unknown and never look alike.
    pub last_connected_at: Option<Timestamp>,
    /// The profile that took its place, if one did; it goes on working until it expires.
    pub replaced_by: Option<ProfileId>,
    /// Which certificate it is.
    #[serde(skip)]
    pub fingerprint: Fingerprint,
    /// What its file names; unknown of imported ones.
    #[serde(skip)]
    pub written_for: Option<WrittenFor>,
}

/// What stands in a profile's file, so that a later look can tell what it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFor {
    /// The server's port.
    pub port: Port,
    /// The server's transport.
    pub protocol: Protocol,
    /// The hosts of the `remote` lines.
    pub hosts: Vec<WrittenHost>,
}

/// A host as a profile's file names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenHost {
    /// Which one.
    pub id: HostId,
    /// Its name then, for the day when it is gone.
    pub name: HostName,
    /// Its addresses then.
    pub addresses: Vec<PublicAddress>,
}

/// In what a profile differs from one that would be issued now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outdated {
    /// Hosts that it does not list yet.
    pub added: Vec<HostName>,
    /// Hosts that it lists and that no longer run the server.
    pub removed: Vec<HostName>,
    /// Whether anything else changed: port, protocol, the address of a host.
    pub other: bool,
}

impl WrittenFor {
    /// What a file of now names: the hosts that are not draining.
    pub fn now(server: &Server, attached: &[Host]) -> Self {
        let in_service = attached.iter().filter(|host| !host.is_draining());
        let hosts = in_service.map(|host| WrittenHost {
            id: host.id,
            name: host.name.clone(),
            addresses: host.public_addresses.clone(),
        });
        Self { port: server.port, protocol: server.protocol, hosts: hosts.collect() }
    }

    /// In what it differs from a file of now, if it does. A host that drains is away for a while and no reason for a new
    /// file: it counts neither as added nor as removed.
    pub fn outdated(&self, server: &Server, attached: &[Host]) -> Option<Outdated> {
        let now = Self::now(server, attached);
        let knows = |id| self.hosts.iter().find(|written| written.id == id);
        let added = now.hosts.iter().filter(|host| knows(host.id).is_none()).map(|host| host.name.clone()).collect();
        let gone = |written: &&WrittenHost| !attached.iter().any(|host| host.id == written.id);
        let removed = self.hosts.iter().filter(gone).map(|written| written.name.clone()).collect();
        let moved = attached
            .iter()
            .any(|host| knows(host.id).is_some_and(|written| written.addresses != host.public_addresses));
        let other = moved || (self.port, self.protocol) != (now.port, now.protocol);
        let outdated = Outdated { added, removed, other };
        (outdated != Outdated::default()).then_some(outdated)
    }
}
