//! Hosts that look at each other from outside: whether clients could reach a daemon at all.
//!
//! A machine cannot see by itself that a firewall in front of it lets nobody through. So each host of a server tries,
//! as a client would, the next two in the ring of those that run it. Whatever the number of hosts, each looks at two and
//! is looked at by two.

use jiff::{SignedDuration, Timestamp};

use super::access::Snapshot;
use super::ids::{HostId, ServerId};
use super::server::{Port, Protocol};
use super::text::{HostName, PublicAddress};

/// How many hosts each looks at, for each server that it runs.
pub const LOOKED_AT: usize = 2;

/// So many of those that follow in the ring are considered; beyond, too many are silent to learn anything.
const WINDOW: usize = 32;

/// A host tells of no more looks than this.
pub const MOST_LOOKS: usize = 128;

/// After this long a look tells nothing any more: three that should have come since.
pub const GOOD_FOR: SignedDuration = SignedDuration::from_secs(200);

/// Where clients find the daemon of a server on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Which server.
    pub server_id: ServerId,
    /// On which host.
    pub host_id: HostId,
    /// At which address.
    pub address: PublicAddress,
    /// At which port.
    pub port: Port,
    /// By which transport.
    pub protocol: Protocol,
}

/// What came of trying a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The door.
    pub door: Door,
    /// Whether a daemon with the server's key answered.
    pub ok: bool,
    /// What was seen instead, in words.
    pub detail: Option<String>,
}

/// A look that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The host that looked.
    pub by: HostId,
    /// Its name.
    pub name: HostName,
    /// When.
    pub at: Timestamp,
    /// What it saw.
    pub look: Look,
}

/// The doors that `host` is to choose from when it looks at the others of `server`, the next ones of the ring first. A
/// server that is disabled has none.
pub fn doors(snapshot: &Snapshot, host: HostId, server: ServerId) -> Vec<Door> {
    let Some(server) = snapshot.server(server).filter(|server| server.enabled) else { return Vec::new() };
    let door = |host_id: HostId, address: &PublicAddress| Door {
        server_id: server.id,
        host_id,
        address: address.clone(),
        port: server.port,
        protocol: server.protocol,
    };
    // Attachments are ordered by the ids of their hosts.
    let others = snapshot.hosts_of(server.id).filter(|other| other.id != host);
    let all = others.filter_map(|other| Some(door(other.id, other.public_addresses.first()?)));
    let (before, mut ring): (Vec<Door>, Vec<Door>) = all.partition(|door| door.host_id < host);
    ring.extend(before);
    ring.truncate(WINDOW);
    ring
}

/// The latest of the looks at each door, by server and host.
pub fn latest(mut seen: Vec<Seen>) -> Vec<Seen> {
    let place = |seen: &Seen| (seen.look.door.server_id, seen.look.door.host_id);
    seen.sort_by(|a, b| place(a).cmp(&place(b)).then(b.at.cmp(&a.at)).then(a.by.cmp(&b.by)));
    seen.dedup_by(|later, earlier| place(later) == place(earlier));
    seen
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::access::Change;
    use crate::host::Host;
    use crate::samples::id;
    use crate::server::{Attachment, Server};
    use crate::{Revision, samples};

    fn server(enabled: bool) -> Server {
        Server { enabled, ..samples::server(1) }
    }

    fn snapshot(hosts: u128, enabled: bool) -> Snapshot {
        let host = |n: u128| Host {
            id: id(n),
            // The fourth has not said yet where it is reached.
            public_addresses: (n != 4).then(|| format!("203.0.113.{}", n % 250).parse().unwrap()).into_iter().collect(),
            ..samples::host(1)
        };
        let attachment = |n| Attachment { server_id: id(1), host_id: id(n), credentials: None };
        let hosts =
            (1..=hosts).flat_map(|n| [Change::Host(Box::new(host(n))), Change::Attachment(Box::new(attachment(n)))]);
        Snapshot::default().with(Revision(1), hosts.chain([Change::Server(Box::new(server(enabled)))]))
    }

    fn ring(snapshot: &Snapshot, host: u128) -> Vec<HostId> {
        doors(snapshot, id(host), id(1)).into_iter().map(|door| door.host_id).collect()
    }

    #[test]
    fn a_host_looks_at_those_after_it_and_then_from_the_beginning() {
        let snapshot = snapshot(5, true);
        assert_eq!(ring(&snapshot, 2), [id(3), id(5), id(1)]);
        assert_eq!(ring(&snapshot, 5), [id(1), id(2), id(3)]);
        let door = doors(&snapshot, id(2), id(1)).remove(0);
        assert_eq!((door.address, door.port.get()), ("203.0.113.3".parse().unwrap(), 1194));
    }

    #[test]
    fn in_a_ring_of_a_thousand_each_looks_at_two_and_is_looked_at_by_two() {
        let snapshot = snapshot(1000, true);
        let mut looked_at = std::collections::BTreeMap::<HostId, usize>::new();
        for host in (1..=1000).filter(|host| *host != 4) {
            let ring = ring(&snapshot, host);
            assert_eq!(ring.len(), WINDOW);
            ring.into_iter().take(LOOKED_AT).for_each(|other| *looked_at.entry(other).or_default() += 1);
        }
        assert_eq!(looked_at.len(), 999);
        assert!(looked_at.values().all(|count| *count == LOOKED_AT), "{looked_at:?}");
    }

    #[test]
    fn alone_or_disabled_there_is_nothing_to_look_at() {
        assert!(ring(&snapshot(1, true), 1).is_empty());
        assert!(ring(&snapshot(3, false), 1).is_empty());
    }

    #[test]
    fn of_two_looks_at_one_door_the_latest_counts() {
        let door = |host| doors(&snapshot(3, true), id(host), id(1)).remove(0);
        let seen = |by, at, ok| Seen {
            by: id(by),
            name: "vpn-1".parse().unwrap(),
            at: Timestamp::from_second(at).unwrap(),
            look: Look { door: door(2), ok, detail: None },
        };
        let other = Seen { look: Look { door: door(1), ok: true, detail: None }, ..seen(1, 5, true) };
        let latest = latest(vec![seen(1, 10, true), seen(2, 20, false), other.clone()]);
        assert_eq!(latest, [other, seen(2, 20, false)]);
    }
}
