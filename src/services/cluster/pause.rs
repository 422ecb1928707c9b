//! A pause: the cluster is read-only, so that its database can be moved, while the VPN goes on.
//!
//! Every change looks at the pause in its own transaction, so none slips through. Hosts go on admitting people from
//! their snapshots and keep what happens to sessions in their journals; each confirms that it does. Once all have, the
//! database holds all there is to know, and a copy of it is complete. What the journals hold is written when the pause
//! has ended, into whichever database the host then works with.

use std::time::Duration;

use jiff::Timestamp;

use crate::evidence::history::in_words;
use crate::{Act, AuditFilter, Cluster, Nudge, PageRequest, ServiceError};
use domain::Revision;
use domain::audit::Action;
use domain::ids::HostId;
use domain::role::Permission;
use domain::text::HostName;
use store::StoreError;
use store::policy::PolicyChange;

pub use store::pause::Pause;

/// How often is looked whether hosts have confirmed.
const LOOK: Duration = Duration::from_millis(200);

/// The pause that the cluster is in, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseFacts {
    /// Since when.
    pub since: Timestamp,
    /// Who ordered it, as far as the audit log tells.
    pub by: Option<String>,
}

impl Cluster<'_> {
    /// The pause that the cluster is in, and who ordered it.
    pub async fn pause_facts(self) -> Result<Option<PauseFacts>, ServiceError> {
        let Some(pause) = self.paused().await? else { return Ok(None) };
        let filter = AuditFilter { action: Some(Action::ClusterPause.as_str().to_owned()), ..AuditFilter::default() };
        let found = self.store().evidence().list_audit(&filter, &PageRequest::first(1)).await?.items.pop();
        let by = match found {
            Some(entry) => {
                Some(in_words(&entry.actor, &self.evidence().names_of([entry.actor.as_str()].into_iter()).await?))
            }
            None => None,
        };
        Ok(Some(PauseFacts { since: pause.since, by }))
    }

    /// The pause that the cluster is in.
    pub async fn paused(self) -> Result<Option<Pause>, ServiceError> {
        Ok(self.store().cluster().cluster_facts().await?.paused)
    }

    /// Refuses while the cluster is paused. For what is not written in a transaction, which would look by itself.
    pub(crate) async fn require_writable(self) -> Result<(), ServiceError> {
        if self.paused().await?.is_some() { Err(ServiceError::Paused) } else { Ok(()) }
    }

    /// Begins a pause, or answers the one that the cluster is in.
    pub async fn pause(self, act: &Act) -> Result<Pause, ServiceError> {
        act.require(Permission::ManageSettings)?;
        if let Some(pause) = self.paused().await? {
            return Ok(pause);
        }
        self.turn(|tx| async move {
            let pause = tx.cluster().pause(self.now()).await?;
            tx.record(&self.entry(act, Action::ClusterPause, &"cluster", serde_json::json!({}))).await?;
            Ok(pause)
        })
        .await
    }

    /// Ends the pause. `false` if there was none.
    pub async fn resume(self, act: &Act) -> Result<bool, ServiceError> {
        act.require(Permission::ManageSettings)?;
        if self.paused().await?.is_none() {
            return Ok(false);
        }
        self.turn(|tx| async move {
            tx.cluster().resume().await?;
            tx.record(&self.entry(act, Action::ClusterResume, &"cluster", serde_json::json!({}))).await?;
            Ok(true)
        })
        .await
    }

    async fn turn<T, F, Fut>(self, change: F) -> Result<T, ServiceError>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, ServiceError>>,
    {
        let (value, revision) = self.store().change_though_paused(change).await?;
        if let Some(revision) = revision {
            self.nudge(&Nudge::Policy(revision));
        }
        Ok(value)
    }

    /// Waits until every host that is online has confirmed the pause; answers those that have not, by the end of
    /// `patience`.
    pub async fn await_hosts(self, pause: Pause, patience: Duration) -> Result<Vec<HostName>, ServiceError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let confirmed = self.store().cluster().confirmed_pause(pause.rev).await?;
            let statuses = self.store().hosts().host_statuses(None).await?;
            let online = statuses.iter().filter(|(_, status)| status.online).map(|(host, _)| *host);
            let missing: Vec<HostId> = online.filter(|host| !confirmed.contains(host)).collect();
            if missing.is_empty() || tokio::time::Instant::now() >= deadline {
                return Ok(self.store().hosts().host_names(&missing).await?.into_values().collect());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Confirms a pause for a host that records no sessions any more.
    pub async fn confirm_pause(self, host: HostId, pause: Revision) -> Result<(), ServiceError> {
        Ok(self.store().cluster().confirm_pause(host, pause).await?)
    }

    /// Writes what is to be known of the upkeep of the cluster, paused or not.
    pub(crate) async fn upkeep<F, Fut>(self, change: F) -> Result<(), ServiceError>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<(), StoreError>>,
    {
        Ok(self.store().upkeep(change).await?)
    }
}
