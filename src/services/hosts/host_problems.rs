//! The problems of hosts, as every surface shows them: those that a host reports of itself, and those that others find.
//!
//! A host knows its own firewall, clock and daemons, and reports them with its heartbeat. That it is silent, that its
//! report cannot be read, that clients do not reach it: that is found here, when somebody asks. One thing is told once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use crate::network::probes::{Reachability, Reached, answers, reachability};
use crate::{AttachmentKey, Hosts, ServiceError};
use domain::host::Host;
use domain::ids::{HostId, ServerId};
use domain::problem::{Problem, ProblemCode};
use domain::server::DaemonState;
use store::StoreError;
use store::hosts::conditions::Conditions;
use store::hosts::records::{DaemonStatus, HostStatus, TroubledDaemon};

/// How a host is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    /// What it says of itself, if it ever said anything.
    pub(crate) status: Option<HostStatus>,
    /// What is wrong with it; nothing if it is well.
    pub(crate) problems: Vec<Problem>,
    /// What others saw of its daemons.
    pub(crate) reached: BTreeMap<ServerId, Reached>,
}

impl Condition {
    /// Whether it was heard of lately.
    pub(crate) fn is_online(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.online)
    }
}

impl Hosts<'_> {
    /// How the given hosts are, by one query, and a second one where daemons are not reached.
    pub(crate) async fn conditions(self, hosts: &[&Host]) -> Result<HashMap<HostId, Condition>, StoreError> {
        let ids: Vec<HostId> = hosts.iter().map(|host| host.id).collect();
        let Conditions { mut statuses, probes, mut daemons } = self.store().hosts().conditions(&ids).await?;
        let reachability = reachability(probes);
        let known: HashSet<AttachmentKey> = daemons.iter().map(|troubled| troubled.daemon.key).collect();
        let shut = reachability.iter().filter(|(key, reached)| !reached.ok && !known.contains(*key));
        let keys: Vec<AttachmentKey> = shut.map(|(key, _)| *key).collect();
        if !keys.is_empty() {
            let named = self.store().hosts().daemons_named(&keys).await?;
            daemons.extend(named.into_iter().map(|daemon| TroubledDaemon { daemon, since: None }));
        }
        let now = self.now();
        let condition = |host: &&Host| {
            let status = statuses.remove(&host.id);
            let problems = problems(host, status.as_ref(), &daemons, &reachability, now);
            let of = reachability.iter().filter(|(key, _)| key.host_id == host.id);
            let reached = of.map(|(key, reached)| (key.server_id, reached.clone())).collect();
            (host.id, Condition { status, problems, reached })
        };
        Ok(hosts.iter().map(condition).collect())
    }

    /// Notes which daemons of this host clients do not reach, as the other hosts see it.
    pub async fn notice_unreached(self, host: HostId) -> Result<(), ServiceError> {
        let reachability = self.network().reachability(Some(&[host])).await?;
        let keys: Vec<AttachmentKey> =
            reachability.iter().filter(|(_, reached)| !reached.ok).map(|(key, _)| *key).collect();
        let daemons = if keys.is_empty() { Vec::new() } else { self.store().hosts().daemons_named(&keys).await? };
        let found = daemons.iter().filter_map(|daemon| Some((daemon.key.server_id, unreached(&reachability, daemon)?)));
        let found: BTreeMap<Option<ServerId>, String> =
            found.map(|(server, reached)| (Some(server), unreached_by(reached))).collect();
        self.problems().replace(ProblemCode::DaemonUnreached, found, self.now());
        Ok(())
    }
}

/// What is wrong with a host, the worst first.
fn problems(
    host: &Host,
    status: Option<&HostStatus>,
    daemons: &[TroubledDaemon],
    reachability: &Reachability,
    now: Timestamp,
) -> Vec<Problem> {
    let Some(status) = status.filter(|status| status.online) else { return vec![offline(host, status)] };
    let mut all: Vec<Problem> =
        status.problems.iter().filter(|problem| !problem.code.is_found_by_others()).cloned().collect();
    let at = |problem: Problem| Problem { since: problem.since.min(now), ..problem };
    if !status.readable {
        let detail = format!(
            "reports of {} cannot be read, or not all of them: it may run a release that this one does not know",
            host.name
        );
        let since = status.last_seen_at.unwrap_or(now);
        all.push(Problem { code: ProblemCode::Report, server_id: None, detail, since });
    }
    // Whatever the host says of a daemon itself is what is wrong with that daemon.
    let told: BTreeSet<ServerId> =
        all.iter().filter(|it| it.code.is_about_a_daemon()).filter_map(|it| it.server_id).collect();
    let untold = |key: &AttachmentKey| key.host_id == host.id && !told.contains(&key.server_id);
    for TroubledDaemon { daemon, since } in daemons.iter().filter(|troubled| untold(&troubled.daemon.key)) {
        let server_id = Some(daemon.key.server_id);
        if let Some(reached) = unreached(reachability, daemon) {
            let detail = unreached_by(reached);
            all.push(Problem { code: ProblemCode::DaemonUnreached, server_id, detail, since: reached.at });
        } else if let Some(detail) = failed(daemon) {
            all.push(Problem { code: ProblemCode::DaemonFailed, server_id, detail, since: since.unwrap_or(now) });
        }
    }
    all.sort_by_key(|problem| (!problem.code.is_grave(), problem.code, problem.server_id));
    all.into_iter().map(at).map(Problem::clipped).collect()
}

fn offline(host: &Host, status: Option<&HostStatus>) -> Problem {
    let since = status.and_then(|status| status.last_seen_at);
    let detail = match since {
        _ if status.is_some_and(|status| status.stopped) => format!("{} was stopped", host.name),
        Some(at) => format!("{} has not been heard of since {at:.0}", host.name),
        None => format!("{} has never been heard of", host.name),
    };
    Problem { code: ProblemCode::Offline, server_id: None, detail, since: since.unwrap_or(Timestamp::UNIX_EPOCH) }
}

/// Why a daemon does not run, if it should.
fn failed(daemon: &DaemonStatus) -> Option<String> {
    let because = |what: &str| match &daemon.detail {
        Some(detail) => format!("{what}: {detail}"),
        None => what.to_owned(),
    };
    match daemon.state {
        DaemonState::Failed => Some(daemon.detail.clone().unwrap_or_else(|| "the daemon does not run".to_owned())),
        DaemonState::Pending => Some(because("the daemon has been waiting to be started for minutes")),
        DaemonState::Starting => Some(because("the daemon has been starting for minutes")),
        DaemonState::Running | DaemonState::Draining | DaemonState::Stopped => None,
    }
}

/// The last probe of a daemon that serves, if it was not answered.
fn unreached<'a>(reachability: &'a Reachability, daemon: &DaemonStatus) -> Option<&'a Reached> {
    reachability.get(&daemon.key).filter(|reached| !reached.ok && answers(daemon.state))
}

/// Which host did not reach a daemon, what came back instead, and what helps.
fn unreached_by(reached: &Reached) -> String {
    let Reached { name, address, protocol, port, .. } = reached;
    let answer = reached.detail.as_deref().unwrap_or("no answer");
    format!(
        "{name} sees {answer} at {address}, {} port {}: look for a security group, a firewall or a route in front of this host",
        protocol.as_str(),
        port.get()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::Id;
    use domain::server::Protocol;

    fn id<T: Id>(n: u128) -> T {
        T::from_parts(Timestamp::UNIX_EPOCH, n)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn host() -> Host {
        Host {
            id: id(1),
            name: "vpn-3".parse().unwrap(),
            public_addresses: Vec::new(),
            roles: BTreeSet::new(),
            public_key: [0; 32],
            drain: None,
        }
    }

    fn online(problems: Vec<Problem>) -> HostStatus {
        HostStatus {
            last_seen_at: Some(at(100)),
            stopped: false,
            online: true,
            version: String::new(),
            sessions: 0,
            drain: None,
            problems,
            instance: None,
            networks: Vec::new(),
            readable: true,
        }
    }

    fn told(code: ProblemCode, server: Option<u128>) -> Problem {
        Problem { code, server_id: server.map(id), detail: "told".into(), since: at(50) }
    }

    fn daemon(server: u128, state: DaemonState) -> TroubledDaemon {
        let key = AttachmentKey { server_id: id(server), host_id: id(1) };
        TroubledDaemon { daemon: DaemonStatus { key, state, detail: Some("taken".into()) }, since: Some(at(60)) }
    }

    fn unreached_server(server: u128) -> Reachability {
        let reached = Reached {
            by: id(2),
            name: "vpn-1".parse().unwrap(),
            at: at(70),
            ok: false,
            detail: None,
            address: "203.0.113.9".parse().unwrap(),
            port: 1194.try_into().unwrap(),
            protocol: Protocol::Udp,
        };
        Reachability::from([(AttachmentKey { server_id: id(server), host_id: id(1) }, reached)])
    }

    fn codes(
        status: Option<&HostStatus>,
        daemons: &[TroubledDaemon],
        reachability: &Reachability,
    ) -> Vec<(ProblemCode, Option<ServerId>)> {
        problems(&host(), status, daemons, reachability, at(100))
            .into_iter()
            .map(|it| (it.code, it.server_id))
            .collect()
    }

    #[test]
    fn a_host_that_says_nothing_is_wrong_is_well() {
        assert!(codes(Some(&online(Vec::new())), &[], &Reachability::new()).is_empty());
    }

    #[test]
    fn of_a_silent_host_nothing_is_told_but_that() {
        let silent = HostStatus { online: false, ..online(vec![told(ProblemCode::Firewall, None)]) };
        let daemons = [daemon(1, DaemonState::Failed)];
        assert_eq!(codes(Some(&silent), &daemons, &unreached_server(1)), [(ProblemCode::Offline, None)]);
        assert_eq!(codes(None, &[], &Reachability::new()), [(ProblemCode::Offline, None)]);
        let stopped = HostStatus { stopped: true, ..silent };
        let told = problems(&host(), Some(&stopped), &[], &Reachability::new(), at(100)).remove(0);
        assert_eq!((told.detail.as_str(), told.since), ("vpn-3 was stopped", at(100)));
    }

    #[test]
    fn one_thing_is_told_once_and_by_the_host_itself_where_it_knows() {
        let knows = online(vec![told(ProblemCode::Clock, None), told(ProblemCode::DaemonHung, Some(1))]);
        let daemons = [daemon(1, DaemonState::Failed), daemon(2, DaemonState::Failed), daemon(3, DaemonState::Running)];
        assert_eq!(
            codes(Some(&knows), &daemons, &unreached_server(3)),
            [
                (ProblemCode::DaemonHung, Some(id(1))),
                (ProblemCode::DaemonFailed, Some(id(2))),
                (ProblemCode::DaemonUnreached, Some(id(3))),
                (ProblemCode::Clock, None),
            ]
        );
        // A host cannot know from inside whether it is reached.
        let believes = online(vec![told(ProblemCode::DaemonUnreached, Some(3))]);
        assert!(codes(Some(&believes), &[], &Reachability::new()).is_empty());
    }

    #[test]
    fn a_report_that_cannot_be_read_is_told_of() {
        let status = HostStatus { readable: false, ..online(Vec::new()) };
        let found = problems(&host(), Some(&status), &[], &Reachability::new(), at(100)).remove(0);
        assert_eq!(found.code, ProblemCode::Report);
        assert!(found.detail.starts_with("reports of vpn-3 cannot be read"), "{found:?}");
    }

    #[test]
    fn no_time_in_the_future_is_believed() {
        let ahead = online(vec![Problem { since: at(500), ..told(ProblemCode::Clock, None) }]);
        assert_eq!(problems(&host(), Some(&ahead), &[], &Reachability::new(), at(100))[0].since, at(100));
    }
}
