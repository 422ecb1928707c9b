//! How the cluster is, for people: numbers, no names and no addresses.

use super::{SOON, Services};

/// How the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterHealth {
    /// How many hosts are alive, and how many there are; unknown while the database is away.
    pub hosts: Option<HostCount>,
    /// Whether the database answers.
    pub database: bool,
}

/// Hosts, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostCount {
    /// Those that were heard of lately.
    pub online: usize,
    /// All.
    pub total: usize,
}

impl Services {
    /// How the cluster is. Answers within two seconds, whatever happens.
    pub async fn cluster_health(&self) -> ClusterHealth {
        let read = async { tokio::try_join!(self.store().host_ids(), self.store().host_statuses(None)) };
        let Ok((hosts, statuses)) = self.store().deadline(SOON, read).await else {
            return ClusterHealth { hosts: None, database: false };
        };
        let is_online = |host| statuses.get(host).is_some_and(|status| status.online);
        let online = hosts.iter().filter(|host| is_online(host)).count();
        ClusterHealth { hosts: Some(HostCount { online, total: hosts.len() }), database: true }
    }
}
