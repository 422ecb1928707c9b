//! Hosts with what they run, for lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::hosts::view::HostView;
use crate::network::probes::{Reached, answers};
use crate::{Act, Hosts, Missing, Page, PageRequest, ServiceError};
use domain::Revised;
use domain::host::{HostState, ProcessRole};
use domain::ids::{HostId, ServerId};
use domain::role::Permission;
use domain::server::{Attachment, AttachmentKey, DaemonState, Port, Protocol, Server};
use domain::text::Name;

/// A host and its daemons.
#[derive(Debug, Clone)]
pub struct HostRow {
    /// The host.
    pub host: Revised<HostView>,
    /// The servers that it is to run, by their names.
    pub daemons: Vec<HostDaemon>,
}

/// A server that a host is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDaemon {
    /// Which.
    pub server_id: ServerId,
    /// Its name.
    pub name: Name,
    /// The port that clients dial.
    pub port: Port,
    /// By which transport.
    pub protocol: Protocol,
    /// Whether it is to run at all.
    pub enabled: bool,
    /// How its daemon is, as the host said last.
    pub state: DaemonState,
    /// Why, in words.
    pub detail: Option<String>,
    /// Whether clients can reach it, as another host saw it last. Known of a single host, while it serves.
    pub reached: Option<Reached>,
}

/// A server that a host could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerChoice {
    /// Which.
    pub id: ServerId,
    /// Its name.
    pub name: Name,
}

/// The releases of Postern that run side by side, and how many hosts that are online run each; the newest last.
pub type Releases = Vec<(String, usize)>;

impl Hosts<'_> {
    /// A page of hosts, each with its daemons.
    pub async fn host_rows(self, act: &Act, page: &PageRequest) -> Result<Page<HostRow>, ServiceError> {
        let Page { items, next, count } = self.hosts(act, page).await?;
        Ok(Page { items: self.with_daemons(items).await?, next, count })
    }

    /// One host with its daemons.
    pub async fn host_row(self, act: &Act, id: HostId) -> Result<HostRow, ServiceError> {
        let (host, mut reached) = self.host_as_seen(act, id).await?;
        let rows = self.with_daemons(vec![host]).await?;
        let mut row = rows.into_iter().next().ok_or(ServiceError::NotFound(Missing::Host))?;
        for daemon in row.daemons.iter_mut().filter(|daemon| daemon.serves()) {
            daemon.reached = reached.remove(&daemon.server_id);
        }
        Ok(row)
    }

    async fn with_daemons(self, hosts: Vec<Revised<HostView>>) -> Result<Vec<HostRow>, ServiceError> {
        let ids: Vec<HostId> = hosts.iter().map(|host| host.value.id).collect();
        let attachments = self.store().network().attachments_on_all(&ids).await?;
        let servers: Vec<ServerId> =
            attachments.iter().map(|a| a.server_id).collect::<BTreeSet<_>>().into_iter().collect();
        let (servers, reports) = tokio::try_join!(
            self.store().network().servers_by_id(&servers),
            self.store().hosts().daemons_of_all(&servers)
        )?;
        let servers: HashMap<ServerId, Server> = servers.into_iter().map(|server| (server.id, server)).collect();
        let reports: HashMap<AttachmentKey, _> = reports.into_iter().map(|report| (report.key, report)).collect();
        let daemon = |attachment: &Attachment| {
            let Attachment { server_id, host_id, .. } = *attachment;
            let server = servers.get(&server_id)?;
            let report = reports.get(&AttachmentKey { server_id, host_id });
            let waiting = || Some("the host has not taken it up yet".to_owned());
            Some(HostDaemon {
                server_id,
                name: server.name.clone(),
                port: server.port,
                protocol: server.protocol,
                enabled: server.enabled,
                state: report.map_or(DaemonState::Pending, |report| report.state),
                detail: report.map_or_else(waiting, |report| report.detail.clone()),
                reached: None,
            })
        };
        let row = |host: Revised<HostView>| {
            let mine = attachments.iter().filter(|attachment| attachment.host_id == host.value.id);
            let mut daemons: Vec<HostDaemon> = mine.filter_map(daemon).collect();
            daemons.sort_by(|a, b| a.name.cmp(&b.name));
            HostRow { host, daemons }
        };
        Ok(hosts.into_iter().map(row).collect())
    }

    /// The releases that run in the cluster.
    pub async fn releases(self, act: &Act) -> Result<Releases, ServiceError> {
        act.require(Permission::Read)?;
        let statuses = self.store().hosts().host_statuses(None).await?;
        let mut counts = BTreeMap::<_, usize>::new();
        for status in statuses.into_values().filter(|status| status.online) {
            *counts.entry(status.version).or_default() += 1;
        }
        let mut releases: Releases = counts.into_iter().collect();
        releases.sort_by_key(|(version, _)| order(version));
        Ok(releases)
    }

    /// The servers that could be attached to a host; all of them, for a host that is yet to come.
    pub async fn server_choices(self, act: &Act, host: Option<&HostRow>) -> Result<Vec<ServerChoice>, ServiceError> {
        act.require(Permission::Read)?;
        let taken = |id| host.is_some_and(|host| host.daemons.iter().any(|daemon| daemon.server_id == id));
        let all = self.store().network().all_servers().await?.into_iter();
        let mut free: Vec<ServerChoice> =
            all.filter(|server| !taken(server.id)).map(|Server { id, name, .. }| ServerChoice { id, name }).collect();
        free.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(free)
    }
}

impl HostDaemon {
    /// Whether it lets clients in, as far as its host says.
    pub fn serves(&self) -> bool {
        self.enabled && answers(self.state)
    }
}

impl HostRow {
    /// Whether it runs daemons at all.
    pub fn runs_servers(&self) -> bool {
        self.host.value.roles.contains(&ProcessRole::Vpn)
    }

    /// Whether what it says of itself is of now.
    pub fn is_heard(&self) -> bool {
        self.host.value.state != HostState::Offline
    }
}

/// What orders releases: their numbers, and then their text.
fn order(version: &str) -> (Vec<u64>, String) {
    let numbers = version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect();
    (numbers, version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        assert!(order("0.9.0") < order("0.10.0"));
        assert!(order("1.0.0") > order("0.10.0"));
        assert!(order("1.0.0") < order("1.0.1-rc1"));
    }
}
