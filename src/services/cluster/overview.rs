//! The overview of the cluster: who is connected, which host has problems, what expires, what needs attention.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::access::usage::{Hours, Usage};
use crate::cluster::setup::Setup;
use crate::{Act, Cluster, SOON, ServiceError};
use domain::authority::{AuthorityKind, AuthorityState};
use domain::host::Host;
use domain::ids::{HostId, ServerId};
use domain::problem::Problem;
use domain::role::Permission;
use domain::server::Server;
use domain::text::{HostName, Name};
use store::entity::PageRequest;

/// More hosts and servers than this nobody looks at in one look.
const MOST: u32 = 500;

/// The cluster at one look.
#[derive(Debug, Clone)]
pub struct Overview {
    /// How many people are connected, through hosts that are heard of.
    pub sessions: u64,
    /// How many hosts there are.
    pub hosts: usize,
    /// How many of them are in service and well.
    pub ready: usize,
    /// Those with which something is wrong, and what.
    pub ill: Vec<IllHost>,
    /// Those that were taken out of service on purpose and are heard of.
    pub draining: Vec<(HostId, HostName)>,
    /// What the servers are called.
    pub servers: HashMap<ServerId, Name>,
    /// How many profiles their owners are meant to use.
    pub profiles: u64,
    /// How many of them have a file that lacks something by now.
    pub outdated: u64,
    /// What ends soonest, the first first.
    pub expiring: Vec<Expiry>,
    /// Machines that want to join and say that something is wrong with them.
    pub joins_in_trouble: Vec<HostName>,
    /// How busy the cluster was in the last day.
    pub usage: Usage,
    /// What the hosts are called.
    pub names: HashMap<HostId, HostName>,
    /// How far the cluster has been set up.
    pub setup: Setup,
    /// Whether events of other processes reach this one at once.
    pub hears: bool,
    /// Whether what goes to the database on another machine can be read on the way.
    pub is_readable: bool,
}

/// A host with which something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IllHost {
    /// Which.
    pub id: HostId,
    /// What it is called.
    pub name: HostName,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// What it is.
    pub what: Expiring,
    /// When.
    pub at: Timestamp,
}

/// Things that end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiring {
    /// A certificate authority.
    Authority(AuthorityKind),
    /// The certificate of a host's daemon; it is renewed by itself while the host is heard of.
    Certificate(HostName),
    /// An API token of this name.
    Token(String),
}

impl Cluster<'_> {
    /// The cluster at one look. The number of queries does not depend on its size.
    pub async fn overview(self, act: &Act) -> Result<Overview, ServiceError> {
        act.require(Permission::Read)?;
        let all = PageRequest::first(MOST);
        let now = self.now();
        let reads = async {
            tokio::try_join!(
                self.store().hosts().list_hosts(&all),
                self.store().network().list_servers(&all),
                self.store().network().authorities(),
                self.store().identity().next_token_to_end(now),
                self.store().identity().open_join_tickets(now, &all),
            )
        };
        let (hosts, servers, authorities, token, joins) = self.store().deadline(SOON, reads).await?;
        let hosts: Vec<Host> = hosts.items.into_iter().map(|found| found.value).collect();
        let servers: Vec<Server> = servers.items.into_iter().map(|found| found.value).collect();
        let ids: Vec<ServerId> = servers.iter().map(|server| server.id).collect();
        let files_of = ids.iter().copied().collect();
        let listed: Vec<&Host> = hosts.iter().collect();
        let reads = async {
            tokio::try_join!(
                self.store().hosts().attached_hosts(&ids),
                self.store().access().files_of(&files_of, now),
                self.store().network().certificate_ends(),
                self.hosts().conditions(&listed),
            )
        };
        let (attached, files, certificates, mut conditions) = self.store().deadline(SOON, reads).await?;
        let alive: Vec<HostId> = conditions.iter().filter(|(_, it)| it.is_online()).map(|(host, _)| *host).collect();
        let counting = self.store().access().live_by_server(&ids, &alive);
        let sessions = self.store().deadline(SOON, counting).await?.values().sum();

        let of = |id: &HostId| hosts.iter().find(|host| host.id == *id);
        let draining = hosts.iter().filter(|host| host.is_draining() && alive.contains(&host.id));
        let draining: Vec<(HostId, HostName)> = draining.map(|host| (host.id, host.name.clone())).collect();
        let ill = hosts.iter().filter_map(|host| {
            let problems = conditions.remove(&host.id).unwrap_or_default().problems;
            (!problems.is_empty()).then(|| IllHost { id: host.id, name: host.name.clone(), problems })
        });
        let ill: Vec<IllHost> = ill.collect();
        let is_ill = |id: HostId| ill.iter().any(|host| host.id == id);
        let well = hosts.iter().filter(|host| !host.is_draining() && !is_ill(host.id)).count();
        let outdated = files.iter().filter(|file| {
            let server = servers.iter().find(|server| server.id == file.server_id);
            let hosts = attached.get(&file.server_id).map(Vec::as_slice).unwrap_or_default();
            server.is_some_and(|server| file.written_for.outdated(server, hosts).is_some())
        });
        let issuing = authorities.iter().filter(|authority| authority.state == AuthorityState::Issuing);
        let authority = issuing.min_by_key(|authority| authority.not_after);
        let authority = authority.map(|it| Expiry { what: Expiring::Authority(it.kind), at: it.not_after });
        let certificate = certificates
            .into_iter()
            .min_by_key(|(_, at)| *at)
            .and_then(|(host, at)| Some(Expiry { what: Expiring::Certificate(of(&host)?.name.clone()), at }));
        let token = token.map(|token| Expiry { what: Expiring::Token(token.name.to_string()), at: token.expires_at });
        let mut expiring: Vec<Expiry> = [authority, certificate, token].into_iter().flatten().collect();
        expiring.sort_by_key(|expiry| expiry.at);
        let troubled = joins.items.into_iter().filter(|join| join.checks.iter().any(|check| !check.passed));
        Ok(Overview {
            sessions,
            ready: well,
            draining,
            servers: servers.iter().map(|server| (server.id, server.name.clone())).collect(),
            profiles: files.iter().map(|file| file.profiles).sum(),
            outdated: outdated.map(|file| file.profiles).sum(),
            expiring,
            joins_in_trouble: troubled.map(|join| join.host_name).collect(),
            is_readable: self.store().protection().is_readable(),
            hears: self.bus.as_ref().is_some_and(|bus| bus.counters().listening_since().is_some()),
            usage: self.access().usage(act, Hours::default()).await?,
            names: hosts.iter().map(|host| (host.id, host.name.clone())).collect(),
            setup: self.setup(act).await?,
            hosts: hosts.len(),
            ill,
        })
    }
}
