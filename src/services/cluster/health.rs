//! How the cluster is, for people: numbers, no names and no addresses.

use crate::{Cluster, SOON};
use store::StoreError;

/// How the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterHealth {
    /// How many hosts are well, and how many are not; unknown while the database is away.
    pub hosts: Option<HostCount>,
    /// Whether the database answers.
    pub database: bool,
}

/// Hosts, counted. Each counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostCount {
    /// Those that are in service and well.
    pub well: usize,
    /// Those that were heard of lately and say, or are seen, to have something wrong with them.
    pub ill: usize,
    /// Those that are well and were taken out of service on purpose.
    pub draining: usize,
    /// Those that were not heard of lately.
    pub offline: usize,
}

impl HostCount {
    /// All.
    pub fn total(&self) -> usize {
        let Self { well, ill, draining, offline } = self;
        well + ill + draining + offline
    }
}

impl Cluster<'_> {
    /// How the cluster is. Answers within two seconds, whatever happens.
    pub async fn cluster_health(self) -> ClusterHealth {
        let read = async {
            let hosts = self.store().hosts().all_hosts().await?;
            let conditions = self.hosts().conditions(&hosts.iter().collect::<Vec<_>>()).await?;
            Ok::<_, StoreError>((hosts, conditions))
        };
        let Ok((hosts, conditions)) = self.store().deadline(SOON, read).await else {
            return ClusterHealth { hosts: None, database: false };
        };
        let mut count = HostCount::default();
        for host in &hosts {
            let condition = conditions.get(&host.id);
            *match condition {
                Some(condition) if condition.is_online() && !condition.problems.is_empty() => &mut count.ill,
                Some(condition) if condition.is_online() && host.is_draining() => &mut count.draining,
                Some(condition) if condition.is_online() => &mut count.well,
                _ => &mut count.offline,
            } += 1;
        }
        ClusterHealth { hosts: Some(count), database: true }
    }
}
