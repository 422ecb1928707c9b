//! Probes: hosts try each other's daemons from outside, to learn whether clients could reach them at all.
//!
//! A machine cannot see by itself that a firewall in front of it drops all clients. So each host of a server tries,
//! as a client would, the next two in the ring of those that run it. Whatever the number of hosts, each probes two and is
//! probed by two.

use jiff::{SignedDuration, Timestamp};

use super::access::Snapshot;
use super::ids::{HostId, ServerId};
use super::server::{Port, Protocol};
use super::text::{HostName, PublicAddress};

/// How many hosts each host probes, for each server that it runs.
pub const TARGETS_EACH: usize = 2;

/// So many of those that follow in the ring are considered; beyond, too many are silent to learn anything.
const WINDOW: usize = 32;

/// A host reports no more results than this.
pub const MOST_RESULTS: usize = 128;

/// A result that is older than this is not believed: three newer ones should have come since.
pub const FRESH_FOR: SignedDuration = SignedDuration::from_secs(200);

/// What is probed: where clients find the daemon of a server on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
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

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// What was probed.
    pub target: ProbeTarget,
    /// Whether a daemon with the server's key answered.
    pub ok: bool,
    /// What came back instead, in words.
    pub detail: Option<String>,
}

/// A result that a host wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// The host that probed.
    pub by: HostId,
    /// Its name.
    pub name: HostName,
    /// When.
    pub at: Timestamp,
    /// What it found.
    pub result: ProbeResult,
}

/// The targets that `host` is to choose from when it probes the other hosts of `server`, the next ones of the ring
/// first. A server that is disabled has none.
pub fn targets(snapshot: &Snapshot, host: HostId, server: ServerId) -> Vec<ProbeTarget> {
    let Some(server) = snapshot.server(server).filter(|server| server.enabled) else { return Vec::new() };
    let target = |host_id: HostId, address: &PublicAddress| ProbeTarget {
        server_id: server.id,
        host_id,
        address: address.clone(),
        port: server.port,
        protocol: server.protocol,
    };
    // Attachments are ordered by the ids of their hosts.
    let others = snapshot.hosts_of(server.id).filter(|other| other.id != host);
    let all = others.filter_map(|other| Some(target(other.id, other.public_addresses.first()?)));
    let (before, mut ring): (Vec<ProbeTarget>, Vec<ProbeTarget>) = all.partition(|target| target.host_id < host);
    ring.extend(before);
    ring.truncate(WINDOW);
    ring
}

/// The latest report of each target, by server and host.
pub fn latest(mut reports: Vec<ProbeReport>) -> Vec<ProbeReport> {
    let place = |reports: &ProbeReport| (reports.result.target.server_id, reports.result.target.host_id);
    reports.sort_by(|a, b| place(a).cmp(&place(b)).then(b.at.cmp(&a.at)).then(a.by.cmp(&b.by)));
    reports.dedup_by(|later, earlier| place(later) == place(earlier));
    reports
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
        targets(snapshot, id(host), id(1)).into_iter().map(|target| target.host_id).collect()
    }

    #[test]
    fn a_host_probes_those_after_it_and_then_from_the_beginning() {
        let snapshot = snapshot(5, true);
        assert_eq!(ring(&snapshot, 2), [id(3), id(5), id(1)]);
        assert_eq!(ring(&snapshot, 5), [id(1), id(2), id(3)]);
        let target = targets(&snapshot, id(2), id(1)).remove(0);
        assert_eq!((target.address, target.port.get()), ("203.0.113.3".parse().unwrap(), 1194));
    }

    #[test]
    fn in_a_ring_of_a_thousand_each_probes_two_and_is_probed_by_two() {
        let snapshot = snapshot(1000, true);
        let mut probed = std::collections::BTreeMap::<HostId, usize>::new();
        for host in (1..=1000).filter(|host| *host != 4) {
            let ring = ring(&snapshot, host);
            assert_eq!(ring.len(), WINDOW);
            ring.into_iter().take(TARGETS_EACH).for_each(|other| *probed.entry(other).or_default() += 1);
        }
        assert_eq!(probed.len(), 999);
        assert!(probed.values().all(|count| *count == TARGETS_EACH), "{probed:?}");
    }

    #[test]
    fn alone_or_disabled_there_is_nothing_to_probe() {
        assert!(ring(&snapshot(1, true), 1).is_empty());
        assert!(ring(&snapshot(3, false), 1).is_empty());
    }

    #[test]
    fn of_two_results_of_one_target_the_latest_counts() {
        let target = |host| targets(&snapshot(3, true), id(host), id(1)).remove(0);
        let reports = |by, at, ok| ProbeReport {
            by: id(by),
            name: "vpn-1".parse().unwrap(),
            at: Timestamp::from_second(at).unwrap(),
            result: ProbeResult { target: target(2), ok, detail: None },
        };
        let other =
            ProbeReport { result: ProbeResult { target: target(1), ok: true, detail: None }, ..reports(1, 5, true) };
        let latest = latest(vec![reports(1, 10, true), reports(2, 20, false), other.clone()]);
        assert_eq!(latest, [other, reports(2, 20, false)]);
    }
}
