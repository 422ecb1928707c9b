//! One issued credential: one user, one server, one device.

use std::fmt;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host::Host;
use super::ids::{HostId, ProfileId, ServerId, UserId};
use super::server::{Endpoint, Port, Protocol, Server};
use super::text::{HostName, Name, PublicAddress};

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
#[schema(as = ProfileFacts)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WrittenFor {
    /// The server's port.
    pub port: Port,
    /// The server's transport.
    pub protocol: Protocol,
    /// The hosts of the `remote` lines.
    pub hosts: Vec<WrittenHost>,
}

/// A host as a profile's file names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// A reason why a profile is not what one issued now would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutdatedReason {
    /// A host runs the server that the file does not name.
    HostAdded,
    /// The file names a host that does not run the server any more.
    HostRemoved,
    /// The port, the protocol or the address of a host is another than in the file.
    AddressChanged,
}

impl Outdated {
    /// The reasons, as closed words.
    pub fn reasons(&self) -> Vec<OutdatedReason> {
        let reasons = [
            (!self.added.is_empty(), OutdatedReason::HostAdded),
            (!self.removed.is_empty(), OutdatedReason::HostRemoved),
            (self.other, OutdatedReason::AddressChanged),
        ];
        reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect()
    }
}

impl WrittenFor {
    /// What a file of now names: the hosts that are not draining.
    pub fn now(server: &Server, attached: &[Host]) -> Self {
        let Endpoint { port, protocol } = Endpoint::of(server);
        let in_service = attached.iter().filter(|host| !host.is_draining());
        let hosts = in_service.map(|host| WrittenHost {
            id: host.id,
            name: host.name.clone(),
            addresses: host.public_addresses.clone(),
        });
        Self { port, protocol, hosts: hosts.collect() }
    }

    /// Where its `remote` lines expect the daemons to listen.
    fn endpoint(&self) -> Endpoint {
        Endpoint { port: self.port, protocol: self.protocol }
    }

    /// Whether a client with this file can reach a host of `server`: whether one of its `remote` lines leads where the
    /// host is now. What counts is the line and not the id beside it: a host whose address changed is not reached, and
    /// one that was set up anew at the same address is.
    pub fn reaches(&self, server: &Server, host: &Host) -> bool {
        self.endpoint() == Endpoint::of(server)
            && host.public_addresses.iter().any(|address| self.lines().any(|line| line == address))
    }

    /// The addresses of its `remote` lines.
    fn lines(&self) -> impl Iterator<Item = &PublicAddress> {
        self.hosts.iter().flat_map(|host| &host.addresses)
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
        let other = moved || self.endpoint() != now.endpoint();
        let outdated = Outdated { added, removed, other };
        (outdated != Outdated::default()).then_some(outdated)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::samples;

    fn server() -> Server {
        samples::server(2)
    }

    fn host(number: u8, address: &str) -> Host {
        Host { public_addresses: vec![address.parse().unwrap()], ..samples::host(number) }
    }

    #[test]
    fn a_file_reaches_the_hosts_at_the_addresses_of_its_lines() {
        let (first, second) = (host(1, "203.0.113.1"), host(2, "203.0.113.2"));
        let file = WrittenFor::now(&server(), std::slice::from_ref(&first));
        assert!(file.reaches(&server(), &first) && !file.reaches(&server(), &second));
        assert!(!file.reaches(&server(), &host(1, "203.0.113.9")), "its address changed");
        assert!(file.reaches(&server(), &host(7, "203.0.113.1")), "another machine at the same address");
        assert!(!file.reaches(&Server { port: 1195.try_into().unwrap(), ..server() }, &first));
        assert!(!file.reaches(&Server { protocol: Protocol::Tcp, ..server() }, &first));
    }

    #[test]
    fn what_a_file_lacks_is_told_in_closed_words() {
        let (first, second) = (host(1, "203.0.113.1"), host(2, "203.0.113.2"));
        let file = WrittenFor::now(&server(), &[first.clone(), second.clone()]);
        let reasons = |attached: &[Host]| file.outdated(&server(), attached).map(|outdated| outdated.reasons());
        assert_eq!(reasons(&[first.clone(), second.clone()]), None);
        let all = [first.clone(), second.clone(), host(3, "203.0.113.3")];
        assert_eq!(reasons(&all), Some(vec![OutdatedReason::HostAdded]));
        assert_eq!(reasons(std::slice::from_ref(&first)), Some(vec![OutdatedReason::HostRemoved]));
        assert_eq!(reasons(&[first, host(2, "203.0.113.9")]), Some(vec![OutdatedReason::AddressChanged]));
    }
}
