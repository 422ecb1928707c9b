//! Taking hosts out of service and back.
//!
//! The order is a field of the host, so it is policy: it reaches the host like every other change, survives every
//! restart, and is taken back by another change. How far the host has come, it writes into its own status; how many
//! people were moved, and how many were cut off, is told by the records of their sessions: a client that was told to go
//! has not been moved before it is seen on another host.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::hosts::view::{DrainView, HostView};
use crate::{Act, AttachmentKey, Hosts, Missing, Nudge, Refusal, ServiceError};
use domain::Revised;
use domain::audit::Action;
use domain::drain::{Drain, DrainBudget, DrainOutcome, DrainProgress};
use domain::effect::CutOff;
use domain::host::Host;
use domain::ids::{HostId, ServerId};
use domain::profile::WrittenFor;
use domain::role::Permission;
use domain::server::{DaemonState, Server};
use store::hosts::records::HostStatus;
use store::network::moves::CarriedFile;
use store::policy::PolicyChange;

/// How to take a host out of service.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainOrder {
    /// Within how many seconds its sessions are to be on other hosts.
    pub budget_seconds: DrainBudget,
    /// Whether sessions end even where no other host can take them over.
    #[serde(default)]
    pub force: bool,
}

impl Hosts<'_> {
    /// Takes a host out of service: it turns newcomers away and sends its sessions to the other hosts of their servers,
    /// within the budget. Whoever has a profile that names no other host is let in and kept until the budget is over.
    /// Of a host that is being drained already, the budget is what changes.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] where one of its servers would be left with no host that is online, unless by force.
    pub async fn drain_host(self, act: &Act, id: HostId, order: DrainOrder) -> Result<Revised<HostView>, ServiceError> {
        act.require(Permission::ManageHosts)?;
        let running = &self.running_daemons(id).await?;
        let ids: Vec<ServerId> = running.servers.iter().copied().collect();
        let (servers, attached) =
            tokio::try_join!(self.store().network().servers_by_id(&ids), self.store().hosts().attached_hosts(&ids))?;
        let stranded = self.stranded_on(id, &servers, &attached).await?.count;
        self.change_by(act, |tx| async move {
            let found = tx.find::<Host>(&id).await?.ok_or(ServiceError::NotFound(Missing::Host))?.value;
            if !order.force {
                refuse_to_strand(&tx, id, running).await?;
            }
            let now = self.now();
            let started_at = found.drain.map_or(now, |drain| drain.started_at);
            let drain = Drain { started_at, ends_at: now + order.budget_seconds.span(), forced: order.force };
            let changes = serde_json::json!({ "drain": [found.drain, drain], "without_other_host": [null, stranded] });
            tx.replace(&Host { drain: Some(drain), ..found }).await?;
            tx.record(&self.entry(act, Action::HostDrain, &id, changes)).await?;
            Ok(())
        })
        .await?;
        if !act.is_tried() {
            self.nudge(&Nudge::HostChange(id));
        }
        self.host(act, id).await
    }

    /// Takes a host back into service, whether its drain is over or not. Sessions that were moved stay where they are.
    /// Repeating it changes nothing.
    pub async fn resume_host(self, act: &Act, id: HostId) -> Result<Revised<HostView>, ServiceError> {
        act.require(Permission::ManageHosts)?;
        let before = self.host(act, id).await?.value.drain;
        let outcome = &before.map(|drain| (drain.moved, drain.cut_off));
        self.change(|tx| async move {
            let found = tx.find::<Host>(&id).await?.ok_or(ServiceError::NotFound(Missing::Host))?.value;
            if found.drain.is_none() {
                return Ok(());
            }
            let (moved, cut_off) = outcome.unzip();
            let changes = serde_json::json!({
                "drain": [found.drain, null], "moved": [null, moved], "cut_off": [null, cut_off],
            });
            tx.replace(&Host { drain: None, ..found }).await?;
            tx.record(&self.entry(act, Action::HostResume, &id, changes)).await?;
            Ok(())
        })
        .await?;
        self.nudge(&Nudge::HostChange(id));
        self.host(act, id).await
    }

    /// How far a host has come, if it is to leave service.
    pub(crate) async fn drain_view(
        self,
        host: &Host,
        status: Option<&HostStatus>,
    ) -> Result<Option<DrainView>, ServiceError> {
        let Some(drain) = &host.drain else { return Ok(None) };
        let progress = status.and_then(|status| status.drain).filter(|progress| progress.order == drain.started_at);
        let outcome = match progress {
            Some(progress) => self.drain_outcome(host.id, progress.order).await?,
            None => DrainOutcome::default(),
        };
        let carried = status.map_or(0, |status| status.sessions);
        Ok(Some(DrainView::new(host, drain, progress, carried, outcome)))
    }

    /// What became of the people whom a host told to go since the order of this moment.
    pub async fn drain_outcome(self, host: HostId, order: Timestamp) -> Result<DrainOutcome, ServiceError> {
        Ok(self.store().network().drain_outcome(host, order).await?)
    }

    /// Whose live sessions on a host can go nowhere when it leaves: the files of their profiles name none of the other
    /// hosts that stay. `servers` and `attached` are those of the host, with all their hosts.
    pub(crate) async fn stranded_on(
        self,
        host: HostId,
        servers: &[Server],
        attached: &HashMap<ServerId, Vec<Host>>,
    ) -> Result<Stranded, ServiceError> {
        let carried = self.store().network().carried_files(host).await?;
        let is_stranded = |session: &CarriedFile| {
            let server = servers.iter().find(|server| server.id == session.server_id);
            let hosts = attached.get(&session.server_id).map(Vec::as_slice).unwrap_or_default();
            match (server, &session.written_for) {
                (Some(server), Some(file)) => names_no_other(server, hosts, file, host),
                _ => false,
            }
        };
        let one = |session: CarriedFile| {
            let CarriedFile { user_id, user, profile_id, profile, .. } = session;
            CutOff { user_id, user, profile_id, profile }
        };
        let mut named: Vec<CutOff> = carried.into_iter().filter(is_stranded).map(one).collect();
        let count = named.len() as u64;
        named.truncate(NAMED);
        Ok(Stranded { count, named })
    }

    /// What a host said last of its leaving service.
    pub async fn drain_progress(self, host: HostId) -> Result<Option<DrainProgress>, ServiceError> {
        let statuses = self.store().hosts().host_statuses(Some(&[host])).await?;
        Ok(statuses.get(&host).and_then(|status| status.drain))
    }

    /// Says how far this host has come with leaving service. `false` if the cluster has not heard of it yet.
    pub async fn report_drain(self, host: HostId, progress: &DrainProgress) -> Result<bool, ServiceError> {
        self.refuse_displaced()?;
        let told = self.store().hosts().report_drain(host, progress).await?;
        self.nudge(&Nudge::HostChange(host));
        Ok(told)
    }

    /// Which other hosts can take over the sessions of each server of a host: those that are online, run it, and are
    /// not draining.
    pub async fn takers(self, host: HostId) -> Result<BTreeMap<ServerId, BTreeSet<HostId>>, ServiceError> {
        let running = self.running_daemons(host).await?;
        let servers: Vec<ServerId> = running.servers.iter().copied().collect();
        let attached = self.store().hosts().attached_hosts(&servers).await?;
        let takers = |server: ServerId| {
            let others = attached.get(&server).into_iter().flatten();
            others.filter(|other| !other.is_draining() && running.on(server, other.id)).map(|other| other.id).collect()
        };
        Ok(servers.iter().map(|server| (*server, takers(*server))).collect())
    }

    /// The servers of a host that another host runs, which can see from outside whether clients reach this one.
    pub async fn watched(self, host: HostId) -> Result<BTreeSet<ServerId>, ServiceError> {
        Ok(self.running_daemons(host).await?.daemons.into_iter().map(|(server, _)| server).collect())
    }

    /// The daemons on other hosts of the servers of `host` that clients can connect to right now.
    async fn running_daemons(self, host: HostId) -> Result<Running, ServiceError> {
        let attachments = self.store().network().attachments_on(host).await?;
        let servers: BTreeSet<ServerId> = attachments.iter().map(|found| found.value.server_id).collect();
        let wanted: Vec<ServerId> = servers.iter().copied().collect();
        let (reports, statuses) =
            tokio::try_join!(self.store().hosts().daemons_of_all(&wanted), self.store().hosts().host_statuses(None))?;
        let runs = reports.into_iter().filter(|report| report.state == DaemonState::Running).map(|report| report.key);
        let online = |key: &AttachmentKey| statuses.get(&key.host_id).is_some_and(|status| status.online);
        let daemons = runs.filter(|key| key.host_id != host && online(key));
        Ok(Running { servers, daemons: daemons.map(|key| (key.server_id, key.host_id)).collect() })
    }
}

/// So many people are named.
const NAMED: usize = 20;

/// Those who can go nowhere when their host leaves service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stranded {
    /// How many sessions.
    pub count: u64,
    /// Whose they are: the first few.
    pub named: Vec<CutOff>,
}

/// Whether a file leads to none of the hosts that stay when `host` leaves, though there are some.
pub(crate) fn names_no_other(server: &Server, attached: &[Host], file: &WrittenFor, host: HostId) -> bool {
    let mut others = attached.iter().filter(|other| other.id != host && !other.is_draining()).peekable();
    others.peek().is_some() && !others.any(|other| file.reaches(server, other))
}

/// Which other hosts run the servers of a host, by what they say themselves.
struct Running {
    servers: BTreeSet<ServerId>,
    daemons: BTreeSet<(ServerId, HostId)>,
}

impl Running {
    fn on(&self, server: ServerId, host: HostId) -> bool {
        self.daemons.contains(&(server, host))
    }
}

/// Refuses where a server would be left with no host.
async fn refuse_to_strand(tx: &PolicyChange, id: HostId, running: &Running) -> Result<(), ServiceError> {
    for attachment in tx.network().attachments_on(id).await? {
        let server = attachment.value.server_id;
        let Some(server) = tx.find::<Server>(&server).await?.filter(|found| found.value.enabled) else { continue };
        let server = server.value;
        let mut taken_over = false;
        for other in tx.network().attachments_of(server.id).await? {
            let other = other.value.host_id;
            let stays = tx.find::<Host>(&other).await?.is_some_and(|host| !host.value.is_draining());
            taken_over |= stays && running.on(server.id, other);
        }
        if !taken_over {
            return Err(ServiceError::Conflict(Refusal::NoOtherHost { server: server.name }));
        }
    }
    Ok(())
}
