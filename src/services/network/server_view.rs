//! Servers as people look at them: with their hosts, counted and by name. A number of queries that does not depend on how
//! many there are.

use std::collections::HashMap;

use crate::{Act, Network, ServiceError};
use domain::Revised;
use domain::host::{Host, ProcessRole};
use domain::ids::{HostId, OrganizationId, ServerId};
use domain::organization::Organization;
use domain::role::Permission;
use domain::server::{DaemonState, Server};
use domain::text::{HostName, Name};
use store::entity::{Page, PageRequest};

/// So many organizations or hosts are offered to choose among.
const CHOICES: u32 = 500;

/// A server of a list.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// Which.
    pub server: Revised<Server>,
    /// How many hosts are attached to it.
    pub attached: usize,
    /// On how many of them it runs, as far as they are heard of.
    pub running: usize,
    /// How many people are connected to it.
    pub sessions: u64,
}

/// A host that is attached to a server, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHost {
    /// Which.
    pub id: HostId,
    /// What it is called.
    pub name: HostName,
    /// How its daemon is, as it said last.
    pub state: DaemonState,
    /// Why, in words.
    pub detail: Option<String>,
    /// Whether the host was heard of lately.
    pub is_online: bool,
}

/// A server with everything around it.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// The server, counted.
    pub row: ServerRow,
    /// Its hosts, by their names.
    pub hosts: Vec<ServerHost>,
    /// Hosts that could run it as well: their ids and names.
    pub others: Vec<(HostId, HostName)>,
    /// The organizations that it is open to, by their names.
    pub organizations: Vec<(OrganizationId, Name)>,
    /// Profiles that its users are meant to use.
    pub profiles: u64,
    /// Those of them whose file lacks something by now.
    pub outdated: u64,
}

impl Network<'_> {
    /// A page of servers with how they fare.
    pub async fn server_rows(self, act: &Act, page: &PageRequest) -> Result<Page<ServerRow>, ServiceError> {
        let Page { items, next, count } = self.servers(act, page).await?;
        let ids: Vec<ServerId> = items.iter().map(|server| server.value.id).collect();
        let (attached, daemons, statuses) = tokio::try_join!(
            self.store().hosts().attached_hosts(&ids),
            self.store().hosts().daemons_of_all(&ids),
            self.store().hosts().host_statuses(None),
        )?;
        let is_online = |host: &HostId| statuses.get(host).is_some_and(|status| status.online);
        let alive: Vec<HostId> = statuses.keys().filter(|host| is_online(host)).copied().collect();
        let sessions = self.store().access().live_by_server(&ids, &alive).await?;
        let row = |server: Revised<Server>| {
            let id = server.value.id;
            let hosts = attached.get(&id).map(Vec::as_slice).unwrap_or_default();
            let runs = |host: &&Host| {
                let mine = daemons.iter().find(|daemon| daemon.key.server_id == id && daemon.key.host_id == host.id);
                is_online(&host.id) && mine.is_some_and(|daemon| daemon.state == DaemonState::Running)
            };
            ServerRow {
                attached: hosts.len(),
                running: hosts.iter().filter(runs).count(),
                sessions: sessions.get(&id).copied().unwrap_or_default(),
                server,
            }
        };
        Ok(Page { items: items.into_iter().map(row).collect(), next, count })
    }

    /// One server with everything around it.
    pub async fn server_view(self, act: &Act, id: ServerId) -> Result<ServerView, ServiceError> {
        let server = self.server(act, id).await?;
        let all = PageRequest::first(CHOICES);
        let organizations: Vec<OrganizationId> = server.value.organization_ids.iter().copied().collect();
        let (ids, files_of, now) = ([id], [id].into(), self.now());
        let (reports, attached, statuses, machines, names, files) = tokio::try_join!(
            self.store().hosts().daemons_of(id),
            self.store().hosts().attached_hosts(&ids),
            self.store().hosts().host_statuses(None),
            self.store().hosts().list_hosts(&all),
            self.store().names::<Organization, Name>(&organizations),
            self.store().access().files_of(&files_of, now),
        )?;
        let alive: Vec<HostId> = statuses.iter().filter(|(_, status)| status.online).map(|(host, _)| *host).collect();
        let sessions = self.store().access().live_by_server(&ids, &alive).await?;
        let attached = attached.get(&id).map(Vec::as_slice).unwrap_or_default();
        let mut hosts: Vec<ServerHost> = attached
            .iter()
            .map(|host| {
                let report = reports.iter().find(|report| report.key.host_id == host.id);
                ServerHost {
                    id: host.id,
                    name: host.name.clone(),
                    state: report.map_or(DaemonState::Pending, |report| report.state),
                    detail: report.and_then(|report| report.detail.clone()),
                    is_online: alive.contains(&host.id),
                }
            })
            .collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        let others = able(machines).filter(|host| !attached.iter().any(|attached| attached.id == host.id));
        let outdated = files.iter().filter(|file| file.written_for.outdated(&server.value, attached).is_some());
        let outdated = outdated.map(|file| file.profiles).sum();
        let running = hosts.iter().filter(|host| host.is_online && host.state == DaemonState::Running).count();
        let sessions = sessions.get(&id).copied().unwrap_or_default();
        Ok(ServerView {
            row: ServerRow { attached: hosts.len(), running, sessions, server },
            hosts,
            others: others.map(|host| (host.id, host.name)).collect(),
            organizations: by_name(names),
            profiles: files.iter().map(|file| file.profiles).sum(),
            outdated,
        })
    }

    /// The hosts that can run servers: their ids and names.
    pub async fn host_choices(self, act: &Act) -> Result<Vec<(HostId, HostName)>, ServiceError> {
        act.require(Permission::Read)?;
        let hosts = self.store().hosts().list_hosts(&PageRequest::first(CHOICES)).await?;
        Ok(able(hosts).map(|host| (host.id, host.name)).collect())
    }

    /// The organizations that something can be opened to, by their names.
    pub async fn organization_choices(self, act: &Act) -> Result<Vec<(OrganizationId, Name)>, ServiceError> {
        let page = self.people().organizations(act, &PageRequest::first(CHOICES)).await?;
        Ok(by_name(page.items.into_iter().map(|found| (found.value.id, found.value.name)).collect()))
    }
}

/// Those that can run servers.
fn able(hosts: Page<Revised<Host>>) -> impl Iterator<Item = Host> {
    hosts.items.into_iter().map(|found| found.value).filter(|host| host.roles.contains(&ProcessRole::Vpn))
}

fn by_name<T: Ord>(names: HashMap<T, Name>) -> Vec<(T, Name)> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by(|(a, first), (b, second)| (first, a).cmp(&(second, b)));
    names
}
