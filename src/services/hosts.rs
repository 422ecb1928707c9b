//! Hosts: come into being, say that they are alive, are changed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Act, Nudge, ServiceError, Services, check_revision, drain::DrainView, given};
use crate::{
    domain::{
        Revised, Revision,
        audit::{Action, Actor},
        drain::Drain,
        host::{Host, HostState, ProcessRole},
        ids::HostId,
        role::Permission,
        text::{HostName, PublicAddress},
    },
    store::{
        StoreError,
        entity::{Page, PageRequest},
        hosts::HostStatus,
    },
};

pub(super) const WHAT: &str = "host";

/// A host, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Host)]
pub struct HostView {
    /// Its id.
    pub id: HostId,
    /// Its name, unique in the cluster.
    pub name: HostName,
    /// Where clients reach it: the first of its addresses.
    pub public_address: Option<PublicAddress>,
    /// All of them, a `remote` line each.
    pub public_addresses: Vec<PublicAddress>,
    /// Whether it is of use right now.
    pub state: HostState,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// Its release of Postern.
    pub version: Option<String>,
    /// What its process does.
    pub roles: BTreeSet<ProcessRole>,
    /// How many sessions it carries.
    pub sessions: u64,
    /// How far it has come with leaving service, while it is to.
    pub drain: Option<DrainView>,
}

impl HostView {
    fn new(host: Host, status: Option<&HostStatus>, drain: Option<DrainView>) -> Self {
        let state = match status {
            Some(status) if status.online && host.is_draining() => HostState::Draining,
            Some(status) if status.online => HostState::Online,
            _ => HostState::Offline,
        };
        let last_seen_at = status.and_then(|status| status.last_seen_at);
        Self {
            id: host.id,
            name: host.name,
            public_address: host.public_addresses.first().cloned(),
            public_addresses: host.public_addresses,
            state,
            last_seen_at,
            version: status.map(|status| status.version.clone()),
            roles: host.roles,
            sessions: status.map_or(0, |status| status.sessions),
            drain,
        }
    }
}

/// A change of a host; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPatch {
    /// The new name. The host's own configuration must follow, or its next start is refused.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub name: Option<HostName>,
}

/// What a process tells of the machine it runs on.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Its name.
    pub name: HostName,
    /// Where clients reach it.
    pub public_addresses: Vec<PublicAddress>,
    /// What its process does.
    pub roles: BTreeSet<ProcessRole>,
    /// The public half of its key.
    pub public_key: [u8; 32],
}

impl Services {
    /// A page of hosts.
    pub async fn hosts(&self, act: &Act, page: &PageRequest) -> Result<Page<Revised<HostView>>, ServiceError> {
        act.require(Permission::Read)?;
        let page = self.store().list_hosts(page).await?;
        let ids: Vec<HostId> = page.items.iter().map(|host| host.value.id).collect();
        let statuses = self.store().host_statuses(Some(&ids)).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for host in page.items {
            let status = statuses.get(&host.value.id);
            let drain = self.drain_view(&host.value, status).await?;
            items.push(Revised { rev: host.rev, value: HostView::new(host.value, status, drain) });
        }
        Ok(Page { items, next: page.next, count: page.count })
    }

    /// One host.
    pub async fn host(&self, act: &Act, id: HostId) -> Result<Revised<HostView>, ServiceError> {
        act.require(Permission::Read)?;
        let found = self.store().find::<Host>(&id).await?.ok_or(ServiceError::NotFound(WHAT))?;
        let statuses = self.store().host_statuses(Some(&[id])).await?;
        let status = statuses.get(&id);
        let drain = self.drain_view(&found.value, status).await?;
        Ok(Revised { rev: found.rev, value: HostView::new(found.value, status, drain) })
    }

    /// Changes a host.
    pub async fn update_host(
        &self,
        act: &Act,
        id: HostId,
        patch: HostPatch,
        expected: Option<Revision>,
    ) -> Result<Revised<HostView>, ServiceError> {
        act.require(Permission::ManageHosts)?;
        let patch = &patch;
        self.change(|tx| async move {
            let found = tx.find::<Host>(&id).await?.ok_or(ServiceError::NotFound(WHAT))?;
            check_revision(&found, expected)?;
            let name = patch.name.clone().unwrap_or_else(|| found.value.name.clone());
            if name == found.value.name {
                return Ok(());
            }
            let changes = serde_json::json!({ "name": [found.value.name, name] });
            tx.replace(&Host { name, ..found.value }).await.map_err(ServiceError::taken("name", WHAT))?;
            tx.record(&self.entry(act, Action::HostUpdate, &id, changes)).await?;
            Ok(())
        })
        .await?;
        self.host(act, id).await
    }

    /// Makes this machine a host of the cluster, or brings what the cluster knows of it up to date.
    ///
    /// A host is known by its key. A name that another key holds is taken over only by a process with the master key,
    /// and only while its holder is silent: that is a machine that was set up anew.
    ///
    /// A host that is known as it is needs no change, and so no right to change policy: that is how one which has
    /// joined starts, and how any does while the cluster is paused.
    ///
    /// # Errors
    /// [`ServiceError::Removed`] if it was one and has been removed; [`ServiceError::Conflict`] if the name belongs to
    /// somebody else, or if there is something to change and this
    /// process's database user may not.
    pub async fn register_host(&self, facts: &HostFacts) -> Result<HostId, ServiceError> {
        let known = self.store().find_host_by_name(&facts.name).await?.map(|found| found.value);
        if let Some(known) = known.filter(|known| facts.host(known.id, known.drain) == *known) {
            self.nudge(&Nudge::HostChange(known.id));
            return Ok(known.id);
        }
        self.refuse_removed(&facts.public_key).await?;
        match self.change_host(facts).await {
            Err(ServiceError::Internal(cause)) if is_refused(&*cause) => {
                Err(ServiceError::Conflict(changed_meanwhile(&facts.name)))
            }
            other => other,
        }
    }

    async fn change_host(&self, facts: &HostFacts) -> Result<HostId, ServiceError> {
        let fresh: HostId = self.new_id();
        let statuses = &self.store().host_statuses(None).await?;
        let id = self
            .change(|tx| async move {
                if let Some(removed) = tx.removed_host(&facts.public_key).await? {
                    return Err(ServiceError::Removed(Box::new(removed)));
                }
                let Some(found) = tx.host_by_name(&facts.name).await? else {
                    let host = facts.host(fresh, None);
                    tx.insert(&host).await?;
                    tx.record(&self.entry(&Act::of(Actor::Host(fresh)), Action::HostRegister, &fresh, facts.changes()))
                        .await?;
                    return Ok(fresh);
                };
                let known = found.value;
                let id = known.id;
                if known.public_key != facts.public_key {
                    let alive = statuses.get(&id).is_some_and(|status| status.online);
                    if alive || !self.has_master_key() {
                        return Err(ServiceError::Conflict(name_taken(&facts.name, alive)));
                    }
                }
                let host = facts.host(id, known.drain);
                if host == known {
                    return Ok(id);
                }
                tx.replace(&host).await?;
                tx.record(&self.entry(&Act::of(Actor::Host(id)), Action::HostRegister, &id, facts.changes())).await?;
                Ok(id)
            })
            .await?;
        self.nudge(&Nudge::HostChange(id));
        Ok(id)
    }

    /// Says that a host is alive, and looks at the database's clock.
    pub async fn beat(&self, host: HostId, sessions: usize) -> Result<(), ServiceError> {
        let asked = self.asking();
        let at = self.store().beat(host, env!("CARGO_PKG_VERSION"), sessions as u64).await?;
        self.note_clock(asked, at);
        Ok(())
    }

    /// Says that a host stops on purpose.
    pub async fn beat_last(&self, host: HostId) -> Result<(), ServiceError> {
        self.store().beat_last(host).await?;
        self.nudge(&Nudge::HostChange(host));
        Ok(())
    }
}

fn is_refused(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref().is_some_and(StoreError::is_refusal)
}

fn changed_meanwhile(name: &HostName) -> String {
    format!(
        "what this machine says of itself as host {name} (its key, host.public_address, host.roles) is not what the \
         cluster knows, and its database user may not change that: join again with a new token"
    )
}

fn name_taken(name: &HostName, alive: bool) -> String {
    if alive {
        format!("another machine runs as host {name}; give this one another host.name")
    } else {
        format!(
            "host {name} is known with another key: remove it, choose another host.name, or start once with the master key"
        )
    }
}

impl HostFacts {
    fn host(&self, id: HostId, drain: Option<Drain>) -> Host {
        Host {
            id,
            name: self.name.clone(),
            public_addresses: self.public_addresses.clone(),
            roles: self.roles.clone(),
            public_key: self.public_key,
            drain,
        }
    }

    fn changes(&self) -> serde_json::Value {
        serde_json::json!({
            "name": [null, self.name], "public_addresses": [null, self.public_addresses], "roles": [null, self.roles],
        })
    }
}
