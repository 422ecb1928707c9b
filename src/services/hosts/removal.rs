//! Removing hosts from the cluster.
//!
//! One change takes a host's place in the policy: its attachments with what was sealed to it, the host itself, the token
//! that it came of. Its key is kept, so that the machine cannot come back by itself. Its process learns of it as of
//! every change of policy, ends what it runs and then itself. What it needs until then, its reports and its database
//! user, goes when it has said farewell, or after a while without one.

use std::collections::HashMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::hosts::drain::{Stranded, names_no_other};
use crate::hosts::view::{DrainState, HostView};
use crate::network::server_keys::known_to;
use crate::{Act, Hosts, Missing, Nudge, Refusal, ServiceError, check_revision};
use domain::Revision;
use domain::audit::Action;
use domain::effect::{CutOff, ProfileFile};
use domain::host::{Host, HostState, RemovedHost};
use domain::ids::{HostId, ServerId};
use domain::role::Permission;
use domain::server::{Attachment, AttachmentKey, Server};
use domain::text::Name;
use store::policy::PolicyChange;

/// How long a removed host that is alive may take to say farewell.
const FAREWELL: SignedDuration = SignedDuration::from_secs(30);

/// How to remove a host.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Whether to remove it though it is in service: whoever is connected through it is cut off.
    #[serde(default)]
    pub force: bool,
}

/// What removing a host would mean, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = HostRemoval)]
pub struct RemovalView {
    /// Whether it takes force: the host is in service.
    pub needs_force: bool,
    /// How many sessions it carries.
    pub sessions: u64,
    /// How many active profiles list it. They are shown as outdated to their owners.
    pub profiles: u64,
    /// How many of the profiles in use list no other host that stays: they connect again once their owners have the
    /// updated one.
    pub profiles_cut_off: u64,
    /// How many of its sessions are of such profiles.
    pub sessions_cut_off: u64,
    /// Whose they are: the first 20.
    pub cut_off: Vec<CutOff>,
    /// The servers whose shared key the host has.
    pub servers: Vec<SharedKey>,
}

/// A server whose shared key a host has.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SharedKey {
    /// Which server.
    pub server_id: ServerId,
    /// Its name.
    pub name: Name,
    /// How many active profiles it has. With none, it gets another key when the host is removed; else rotating the key is
    /// for an administrator to order, because it revokes them.
    pub active_profiles: u64,
}

impl Hosts<'_> {
    /// What removing a host would mean.
    pub async fn host_removal(self, act: &Act, id: HostId) -> Result<RemovalView, ServiceError> {
        let host = self.host(act, id).await?.value;
        self.removal_of(act, &host).await
    }

    /// What removing a host would mean that was read just now.
    pub async fn removal_of(self, act: &Act, host: &HostView) -> Result<RemovalView, ServiceError> {
        act.require(Permission::Read)?;
        let (id, now) = (host.id, self.now());
        let had: Vec<Attachment> =
            self.store().network().attachments_on(id).await?.into_iter().map(|found| found.value).collect();
        let attached_to: Vec<ServerId> = had.iter().map(|attachment| attachment.server_id).collect();
        let files_of = attached_to.iter().copied().collect();
        let (servers, keys, attached, files, listing) = tokio::try_join!(
            self.store().network().all_servers(),
            self.store().network().server_keys(),
            self.store().hosts().attached_hosts(&attached_to),
            self.store().access().files_of(&files_of, now),
            self.store().access().profiles_listing(id, now),
        )?;
        let names: HashMap<ServerId, &Name> = servers.iter().map(|server| (server.id, &server.name)).collect();
        let known = known_to(names.keys().copied(), &keys, &had);
        let profiles = self.store().access().good_profiles_by_server(&known, now).await?;
        let mut shared: Vec<SharedKey> = known
            .into_iter()
            .filter_map(|server_id| {
                let active_profiles = profiles.get(&server_id).copied().unwrap_or(0);
                Some(SharedKey { server_id, name: Name::clone(names.get(&server_id)?), active_profiles })
            })
            .collect();
        shared.sort_by(|a, b| a.name.cmp(&b.name));
        // Of a host that is silent nothing is known.
        let stranded = match host.state {
            HostState::Offline => Stranded::default(),
            HostState::Online | HostState::Draining => self.stranded_on(id, &servers, &attached).await?,
        };
        Ok(RemovalView {
            needs_force: !is_out_of_service(host),
            sessions: host.sessions,
            profiles: listing,
            profiles_cut_off: cut_off(id, &servers, &attached, &files),
            sessions_cut_off: stranded.count,
            cut_off: stranded.named,
            servers: shared,
        })
    }

    /// Removes a host: its attachments, what was sealed to it, its certificates' records and the token that it came of go
    /// with it, and its key makes no host any more. Servers whose key it had and that no profile opens get other keys.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] for a host that is in service, unless by force.
    pub async fn remove_host(
        self,
        act: &Act,
        id: HostId,
        removal: Removal,
        expected: Option<Revision>,
    ) -> Result<(), ServiceError> {
        act.require(Permission::ManageHosts)?;
        let host = self.host(act, id).await?.value;
        if !removal.force && !is_out_of_service(&host) {
            let profiles = self.store().access().profiles_listing(id, self.now()).await?;
            return Err(in_service(host, profiles));
        }
        let outcome = &host.drain.as_ref().map(|drain| (drain.moved, drain.cut_off));
        let removed = self
            .change_by(act, |tx| async move {
                let found = tx.find::<Host>(&id).await?.ok_or(ServiceError::NotFound(Missing::Host))?;
                check_revision(&found, expected)?;
                let Host { name, public_key, .. } = found.value;
                let removed = RemovedHost { id, name, public_key, removed_at: self.now() };
                let had = self.take_attachments(&tx, id).await?;
                tx.delete::<Host>(&id, self.now()).await?;
                tx.identity().drop_join_ticket_of(id).await?;
                tx.insert(&removed).await?;
                let exposed = self.network().renew_keys_of(&tx, &removed, &had).await?;
                let (moved, cut_off) = outcome.unzip();
                let changes = serde_json::json!({
                    "name": [removed.name, null], "forced": [null, removal.force],
                    "moved": [null, moved], "cut_off": [null, cut_off],
                    "keys_rotated": [null, exposed.rotated], "keys_known": [null, exposed.due],
                });
                tx.record(&self.entry(act, Action::HostDelete, &id, changes)).await?;
                Ok(removed)
            })
            .await?;
        if act.is_tried() {
            return Ok(());
        }
        self.nudge(&Nudge::HostChange(id));
        if host.state == HostState::Offline {
            // Nobody is there to say farewell. What fails here is done by the next round.
            if let Err(error) = self.clear_removed_host(&removed).await {
                tracing::warn!(event = "removed_hosts.left", host.id = %id, %error, "remains of a removed host could not be deleted");
            }
        }
        Ok(())
    }

    async fn take_attachments(self, tx: &PolicyChange, host: HostId) -> Result<Vec<Attachment>, ServiceError> {
        let mut had = Vec::new();
        for attachment in tx.network().attachments_on(host).await? {
            let key = AttachmentKey { server_id: attachment.value.server_id, host_id: host };
            tx.delete::<Attachment>(&key, self.now()).await?;
            had.push(attachment.value);
        }
        Ok(had)
    }

    /// Clears away what removed hosts needed until they had heard of it. Returns how many are gone without a trace now.
    pub async fn clear_removed_hosts(self) -> Result<usize, ServiceError> {
        let removed = self.store().hosts().uncleared_hosts().await?;
        if removed.is_empty() {
            return Ok(0);
        }
        self.cluster().require_writable().await?;
        let ids: Vec<HostId> = removed.iter().map(|host| host.id).collect();
        let statuses = self.store().hosts().host_statuses(Some(&ids)).await?;
        let mut cleared = 0;
        for host in removed {
            let alive = statuses.get(&host.id).is_some_and(|status| status.online);
            if (!alive || host.removed_at + FAREWELL <= self.now()) && self.clear_removed_host(&host).await? {
                cleared += 1;
            }
        }
        Ok(cleared)
    }

    /// `false` if another process must take the way to the database from it.
    async fn clear_removed_host(self, host: &RemovedHost) -> Result<bool, ServiceError> {
        let dropped = self.drop_host_user(host.id).await?;
        self.store().hosts().clear_reports(host.id).await?;
        if dropped {
            self.store().hosts().mark_cleared(host.id).await?;
        }
        Ok(dropped)
    }

    /// Refuses the key of a host that was removed. A database user that may not look is not refused for it.
    pub(crate) async fn refuse_removed(self, public_key: &[u8; 32]) -> Result<(), ServiceError> {
        match self.store().hosts().find_removed_host(public_key).await {
            Ok(None) => Ok(()),
            Ok(Some(removed)) => Err(ServiceError::Conflict(Refusal::HostRemoved { host: Box::new(removed) })),
            Err(error) if error.is_refusal() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How many profiles find a host now and none when this one is gone.
fn cut_off(host: HostId, servers: &[Server], attached: &HashMap<ServerId, Vec<Host>>, files: &[ProfileFile]) -> u64 {
    let is_cut_off = |file: &&ProfileFile| {
        let server = servers.iter().find(|server| server.id == file.server_id);
        let hosts = attached.get(&file.server_id).map(Vec::as_slice).unwrap_or_default();
        let found = hosts.iter().find(|found| found.id == host);
        server.zip(found).is_some_and(|(server, found)| {
            let is_last = hosts.iter().all(|other| other.id == host || other.is_draining());
            let has_no_other = is_last || names_no_other(server, hosts, &file.written_for, host);
            file.written_for.reaches(server, found) && has_no_other
        })
    };
    files.iter().filter(is_cut_off).map(|file| file.profiles).sum()
}

/// Whether nobody is connected through a host, nor will be.
fn is_out_of_service(host: &HostView) -> bool {
    host.state == HostState::Offline || host.drain.as_ref().is_some_and(|drain| drain.state == DrainState::Drained)
}

fn in_service(host: HostView, profiles: u64) -> ServiceError {
    let HostView { name: host, drain, sessions, .. } = host;
    ServiceError::Conflict(Refusal::HostInService { host, is_draining: drain.is_some(), sessions, profiles })
}
