//! From listeners to a host that is of use.
//!
//! The way needs the database: it is checked, the policy is read, this machine becomes a host. Where it is away, the
//! way is tried again and again; a host that has a snapshot file of its last run lets its daemons go on meanwhile.
//! Who arrives stays, until the cluster does not know this machine as a host any more: then all that it runs ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::database::Database;
use super::Status;
use crate::daemon;
use crate::daemon::HostIdentity;
use crate::domain::access::Snapshot;
use crate::domain::clock::SystemClock;
use crate::domain::host::{ProcessRole, RemovedHost};
use crate::domain::ids::HostId;
use crate::keys::host::HostKey;
use crate::runtime::backoff::Backoff;
use crate::runtime::random;
use crate::runtime::reconcile::Reconciler;
use crate::services::access::admission::Admission;
use crate::services::access::snapshot_file::SnapshotFile;
use crate::services::hosts::registry::HostFacts;
use crate::services::tasks::{heartbeat, upkeep};
use crate::services::{Refusal, ServiceError, Services, Subscription};
use crate::store::check::{check, check_as_host};
use crate::store::error::Outage;
use crate::store::{Bus, StoreError};

/// A database that needs longer for one attempt is as good as away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts to be a host that another machine is.
const KNOCK: Duration = Duration::from_secs(2);

/// How long what a removed host runs may take to end.
const CLEARING: Duration = Duration::from_secs(20);

/// Everything that the way up needs.
pub(super) struct BringUp {
    /// How daemons are run here.
    pub vpn: daemon::Settings,
    /// The database.
    pub database: Arc<Database>,
    /// The recurring work of the process, which ends with it.
    pub tasks: Reconciler,
    /// Who this host is.
    pub host_key: Arc<HostKey>,
    /// The facts about this host that it registers with.
    pub facts: HostFacts,
    /// The snapshot file of its last run.
    pub snapshot_file: SnapshotFile,
    /// The bus.
    pub bus: Bus,
    /// The rules.
    pub services: Services,
    /// The snapshot.
    pub admission: Admission,
    /// Where the state of the process is published.
    pub status: Arc<Status>,
    /// When the process began.
    pub began: Instant,
}

impl BringUp {
    /// Goes the way once, waiting for the database where it must, and stays until the process ends.
    ///
    /// # Errors
    /// What only a person can mend; [`Refusal::HostRemoved`] once nothing runs here any more.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let stop = self.tasks.stop().clone();
        // Subscribed before anything is read, so that nothing falls between.
        let following = self.bus.subscribe();
        let host = tokio::select! {
            host = self.until_it_works() => host,
            () = stop.cancelled() => return Ok(()),
        };
        if let Some(removed) = host.as_ref().err().and_then(removal) {
            self.start_with_nothing(removed.id);
            self.end_all(removed).await;
        }
        let host = host?;
        self.start_tasks(host, following);
        if self.runs_daemons() {
            self.tell_what_is_missing().await;
            self.start_daemons(host);
            self.snapshot_file.clone().start(&self.tasks, self.services.clone(), self.admission.clone(), host);
        }
        self.status.ready(host);
        let duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(event = "process.ready", host.id = %host, host.name = %self.facts.name, duration_ms, "ready");
        match stop.run_until_cancelled(self.until_removed(host)).await {
            None => Ok(()),
            Some(removed) => {
                self.end_all(&removed).await;
                Err(ServiceError::Conflict(Refusal::HostRemoved { host: Box::new(removed) }).into())
            }
        }
    }

    /// Starts the recurring work of a host, whatever it runs.
    fn start_tasks(&self, host: HostId, following: Subscription) {
        let (tasks, services) = (&self.tasks, || self.services.clone());
        self.admission.start(tasks, following);
        let status = Arc::clone(&self.status);
        heartbeat::start(tasks, services(), host, move || status.session_count());
        let status = Arc::clone(&self.status);
        upkeep::start_confirming(tasks, services(), host, &self.admission, move || status.records_nothing());
        if self.facts.roles.contains(&ProcessRole::Jobs) {
            upkeep::start_jobs(tasks, &self.services, &self.bus);
        }
        if self.services.has_master_key() {
            upkeep::start_clearing(tasks, services());
            upkeep::start_certificates(tasks, services(), &self.bus);
        }
    }

    /// Waits until the policy does not know this host any more.
    async fn until_removed(&self, host: HostId) -> RemovedHost {
        let mut snapshots = self.admission.watch();
        // The sender lives as long as the process.
        drop(snapshots.wait_for(|snapshot| snapshot.host(host).is_none()).await);
        RemovedHost {
            id: host,
            name: self.facts.name.clone(),
            public_key: self.facts.public_key,
            removed_at: self.services.now(),
        }
    }

    /// Takes over what an earlier process left running, under a policy that wants nothing.
    fn start_with_nothing(&self, host: HostId) {
        self.admission.restore(Snapshot::default(), Duration::ZERO);
        if self.runs_daemons() {
            self.start_daemons(host);
        }
    }

    /// Waits until nothing runs here any more, as the policy now wants it.
    async fn end_all(&self, removed: &RemovedHost) {
        tracing::error!(
            event = "host.removed",
            host.id = %removed.id,
            host.name = %removed.name,
            "this host was removed from the cluster: its daemons end, its firewall rules go, then this process ends"
        );
        self.snapshot_file.forget();
        let Some(daemons) = self.status.daemons() else { return };
        if tokio::time::timeout(CLEARING, daemons.until_bare()).await.is_err() {
            tracing::warn!(
                event = "host.not_cleared",
                "not all daemons and session records of this host could be cleared"
            );
        }
    }

    fn runs_daemons(&self) -> bool {
        self.facts.roles.contains(&ProcessRole::Vpn)
    }

    /// A machine that cannot run daemons still serves pages and the API.
    async fn tell_what_is_missing(&self) {
        let missing = daemon::preflight(&self.vpn.openvpn).await;
        for sentence in &missing {
            tracing::warn!(event = "vpn.missing", missing = sentence, "this machine cannot run VPN daemons");
        }
        self.status.lacks(&missing);
    }

    /// Starts the daemons, unless they were started from the snapshot file already.
    fn start_daemons(&self, host: HostId) {
        if self.status.has_daemons() {
            return;
        }
        self.status.carries(daemon::start(
            self.vpn.clone(),
            HostIdentity { id: host, key: Arc::clone(&self.host_key) },
            self.services.clone(),
            self.admission.clone(),
            &self.bus,
            &self.tasks,
        ));
    }

    async fn until_it_works(&self) -> anyhow::Result<HostId> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let (mut told, mut refused) = (false, false);
        loop {
            let attempt = tokio::time::timeout(PATIENCE, self.attempt()).await;
            match attempt.unwrap_or_else(|_elapsed| Err(StoreError::from(Outage::Deadline(PATIENCE)).into())) {
                Ok(host) => return Ok(host),
                Err(error) if is_passing(&error) => {
                    if !told {
                        told = true;
                        tracing::warn!(
                            event = "mongo.away",
                            error = format!("{error:#}"),
                            "the database is away; trying until it is there"
                        );
                        self.start_from_snapshot_file();
                    }
                    let pause = backoff.pause(u32::from_be_bytes(random::bytes()));
                    tokio::time::sleep(pause).await;
                }
                Err(error) if is_cloned(&error) => {
                    if !refused {
                        tracing::error!(event = "host.cloned", "{error:#}");
                    }
                    refused = true;
                    tokio::time::sleep(KNOCK).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(&self) -> anyhow::Result<HostId> {
        // Before anything is written: what is written bears the database's time.
        self.services.cluster().measure_clock().await?;
        if self.services.has_master_key() {
            let facts = check(&self.database.store, &SystemClock).await?;
            tracing::debug!(?facts, "the database has what Postern needs");
        } else {
            check_as_host(&self.database.store, &SystemClock).await?;
        }
        self.database.require_current().await?;
        self.services.network().ensure_authorities().await?;
        let host = self.services.hosts().register_host(&self.facts).await?;
        self.admission.refresh().await?;
        Ok(host)
    }

    fn start_from_snapshot_file(&self) {
        if !self.runs_daemons() {
            return;
        }
        if let Some(saved) = self.snapshot_file.read(self.services.cluster().machine_now()) {
            let age_s = saved.age.as_secs();
            tracing::warn!(
                event = "snapshot_file.used",
                age_s,
                revision = saved.snapshot.revision.0,
                "admitting clients by the snapshot file of the last run"
            );
            self.admission.restore(saved.snapshot, saved.age);
            self.start_daemons(saved.host_id);
        }
    }
}

/// Whether another machine is this host: once that one is silent, this one takes its place.
fn is_cloned(error: &anyhow::Error) -> bool {
    let cloned = |cause: &ServiceError| matches!(cause, ServiceError::Conflict(Refusal::HostCloned));
    error.chain().any(|cause| cause.downcast_ref().is_some_and(cloned))
}

fn is_passing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::Unavailable { .. }))
            || matches!(cause.downcast_ref::<ServiceError>(), Some(ServiceError::Unavailable(_) | ServiceError::Paused))
    })
}

/// The host that this machine was, if that is why it cannot be one.
fn removal(error: &anyhow::Error) -> Option<&RemovedHost> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ServiceError::Conflict(Refusal::HostRemoved { host })) => Some(&**host),
        _ => None,
    })
}
