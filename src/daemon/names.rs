//! What the DNS names of hosts stand for. They are looked up in the background, so that no admission waits for a resolver,
//! and what was found last stays when the resolver fails.
//!
//! A name can rotate through many addresses, and clients may hold any of the recent ones: so each counts for an hour after
//! it was seen last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::Here;
use domain::access::Snapshot;
use domain::ids::HostId;
use domain::text::{DnsName, PublicAddress};
use runtime::reconcile::{Done, Failure, Outcome, Reconciler, Task, Work};

const TASK: Task = Task::new("host-names", "Looks up the DNS names of the hosts that run the same servers.", PERIOD)
    .deadline(PERIOD)
    .retry(Duration::from_secs(5), Duration::from_secs(5));
/// Between two rounds.
const PERIOD: Duration = Duration::from_mins(1);
/// The limit of one look-up.
const LIMIT: Duration = Duration::from_secs(5);
/// So many names are looked up at once.
const AT_ONCE: usize = 8;
/// How long an address counts after it was seen last.
const KEPT: Duration = Duration::from_hours(1);
/// The most names, and the most addresses of each: more are no cluster but a mistake.
const MOST_NAMES: usize = 256;
const MOST_ADDRESSES: usize = 16;

/// The addresses of names, each with the time it was seen last.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<DnsName, BTreeMap<IpAddr, Instant>>>);

impl Names {
    fn known(&self) -> MutexGuard<'_, BTreeMap<DnsName, BTreeMap<IpAddr, Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a name stands for, as far as it is known.
    pub(super) fn addresses(&self, name: &DnsName) -> Vec<IpAddr> {
        self.known().get(name).map(|addresses| addresses.keys().copied().collect()).unwrap_or_default()
    }

    /// Forgets all names but these.
    fn retain(&self, names: &BTreeSet<DnsName>) {
        self.known().retain(|name, _| names.contains(name));
    }

    /// Takes over what a resolver answered.
    fn found(&self, name: &DnsName, answer: impl IntoIterator<Item = IpAddr>, now: Instant) {
        let mut known = self.known();
        let addresses = known.entry(name.clone()).or_default();
        let before = addresses.len();
        addresses.extend(answer.into_iter().take(MOST_ADDRESSES).map(|address| (address.to_canonical(), now)));
        if addresses.len() != before {
            tracing::debug!(%name, count = addresses.len(), "the name of a host stands for other addresses");
        }
        addresses.retain(|_, seen| now.duration_since(*seen) < KEPT);
        while addresses.len() > MOST_ADDRESSES {
            let oldest = addresses.iter().min_by_key(|(_, seen)| **seen).map(|(address, _)| *address);
            oldest.map(|address| addresses.remove(&address));
        }
    }
}

/// The names of all hosts that run the servers of this one.
fn wanted(snapshot: &Snapshot, host: HostId) -> BTreeSet<DnsName> {
    let servers = snapshot.attached_to(host).map(|(server, _)| server.id);
    let hosts = servers.flat_map(|server| snapshot.hosts_of(server));
    let named = hosts.flat_map(|host| &host.public_addresses).filter_map(|address| match address {
        PublicAddress::Name(name) => Some(name.clone()),
        PublicAddress::Ip(_) => None,
    });
    named.take(MOST_NAMES).collect()
}

/// Starts the task: what is new is looked up at once, and all names in a period.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler) {
    let host = here.host;
    tasks
        .start(TASK, LookUps(Arc::clone(here)))
        .wake_on_change_of(here.admission.watch(), move |snapshot| wanted(snapshot, host));
}

struct LookUps(Arc<Here>);

impl Work for LookUps {
    async fn run(&mut self) -> Outcome {
        let here = &self.0;
        let names = wanted(&here.admission.snapshot(), here.host);
        here.names.retain(&names);
        let unanswered = round(&here.names, &names).await;
        match unanswered.as_slice() {
            [] => Ok(Done::default()),
            [name] => Err(Failure::because(format!("the name {name} has no answer"))),
            [name, others @ ..] => {
                Err(Failure::because(format!("the name {name} and {} others have no answer", others.len())))
            }
        }
    }
}

/// Looks all of them up; answers those that had no answer.
async fn round(known: &Names, names: &BTreeSet<DnsName>) -> Vec<DnsName> {
    let looks: Vec<_> = names.iter().map(async |name| (!look(known, name).await).then(|| name.clone())).collect();
    stream::iter(looks).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

async fn look(known: &Names, name: &DnsName) -> bool {
    match tokio::time::timeout(LIMIT, tokio::net::lookup_host((name.as_str(), 0))).await {
        Ok(Ok(answer)) => {
            known.found(name, answer.map(|address| address.ip()), Instant::now());
            true
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> DnsName {
        "vpn.example".parse().unwrap()
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    #[test]
    fn a_rotating_name_stands_for_all_that_was_seen_within_the_hour() {
        let (names, start) = (Names::default(), Instant::now());
        names.found(&name(), [ip(1)], start);
        names.found(&name(), [ip(2)], start + KEPT / 2);
        assert_eq!(names.addresses(&name()), [ip(1), ip(2)]);
        names.found(&name(), [ip(3)], start + KEPT);
        assert_eq!(names.addresses(&name()), [ip(2), ip(3)]);
        names.retain(&BTreeSet::new());
        assert!(names.addresses(&name()).is_empty());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_the_newest_stay() {
        let (names, start) = (Names::default(), Instant::now());
        for turn in 0..=u8::MAX {
            names.found(&name(), [ip(turn)], start + Duration::from_secs(turn.into()));
        }
        let kept = names.addresses(&name());
        assert_eq!(kept.len(), MOST_ADDRESSES);
        assert!(kept.contains(&ip(u8::MAX)) && !kept.contains(&ip(0)));
    }

    #[tokio::test]
    async fn a_resolver_that_fails_takes_nothing_away() {
        let names = Names::default();
        let known: DnsName = "no-such-host.invalid".parse().unwrap();
        names.found(&known, [ip(1)], Instant::now());
        let unanswered = round(&names, &BTreeSet::from([known.clone()])).await;
        assert_eq!(unanswered, std::slice::from_ref(&known));
        assert_eq!(names.addresses(&known), [ip(1)]);
        assert_eq!(round(&names, &BTreeSet::from(["localhost".parse().unwrap()])).await, []);
        assert!(names.addresses(&"localhost".parse().unwrap()).iter().all(IpAddr::is_loopback));
    }
}
