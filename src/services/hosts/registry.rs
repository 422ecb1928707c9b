//! Hosts: come into being, say that they are alive, are changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::hosts::view::HostView;
use crate::network::probes::Reached;
use crate::{Act, Hosts, Missing, Nudge, Refusal, ServiceError, check_revision, given};
use domain::audit::{Action, Actor};
use domain::drain::Drain;
use domain::host::{Host, ProcessRole};
use domain::host_network::HostNetwork;
use domain::ids::{HostId, ServerId};
use domain::problem::{Problem, ProblemCode};
use domain::role::Permission;
use domain::text::{HostName, PublicAddress};
use domain::{Revised, Revision};
use store::StoreError;
use store::entity::{Page, PageRequest};
use store::hosts::heartbeat::{BeatOutcome, Heartbeat};

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

impl Hosts<'_> {
    /// A page of hosts.
    pub async fn hosts(self, act: &Act, page: &PageRequest) -> Result<Page<Revised<HostView>>, ServiceError> {
        act.require(Permission::Read)?;
        let page = self.store().hosts().list_hosts(page).await?;
        let hosts: Vec<&Host> = page.items.iter().map(|host| &host.value).collect();
        let mut conditions = self.conditions(&hosts).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for host in page.items {
            let condition = conditions.remove(&host.value.id).unwrap_or_default();
            let drain = self.drain_view(&host.value, condition.status.as_ref()).await?;
            items.push(Revised { rev: host.rev, value: HostView::new(host.value, condition, drain) });
        }
        Ok(Page { items, next: page.next, count: page.count })
    }

    /// One host.
    pub async fn host(self, act: &Act, id: HostId) -> Result<Revised<HostView>, ServiceError> {
        Ok(self.host_as_seen(act, id).await?.0)
    }

    /// One host, and what others saw of its daemons.
    pub(crate) async fn host_as_seen(
        self,
        act: &Act,
        id: HostId,
    ) -> Result<(Revised<HostView>, BTreeMap<ServerId, Reached>), ServiceError> {
        act.require(Permission::Read)?;
        let found = self.store().find::<Host>(&id).await?.ok_or(ServiceError::NotFound(Missing::Host))?;
        let mut condition = self.conditions(&[&found.value]).await?.remove(&id).unwrap_or_default();
        let reached = std::mem::take(&mut condition.reached);
        let drain = self.drain_view(&found.value, condition.status.as_ref()).await?;
        Ok((Revised { rev: found.rev, value: HostView::new(found.value, condition, drain) }, reached))
    }

    /// Changes a host.
    pub async fn update_host(
        self,
        act: &Act,
        id: HostId,
        patch: HostPatch,
        expected: Option<Revision>,
    ) -> Result<Revised<HostView>, ServiceError> {
        act.require(Permission::ManageHosts)?;
        let patch = &patch;
        self.change(|tx| async move {
            let found = tx.find::<Host>(&id).await?.ok_or(ServiceError::NotFound(Missing::Host))?;
            check_revision(&found, expected)?;
            let name = patch.name.clone().unwrap_or_else(|| found.value.name.clone());
            if name == found.value.name {
                return Ok(());
            }
            let changes = serde_json::json!({ "name": [found.value.name, name] });
            tx.replace(&Host { name, ..found.value })
                .await
                .map_err(ServiceError::taken(Refusal::NameTaken { what: "host" }))?;
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
    /// [`Refusal::HostCloned`] while another machine with the same key is this host; [`Refusal::HostRemoved`] if it was
    /// one and has been removed; [`ServiceError::Conflict`] if the name belongs to somebody else, the key to a host of
    /// another name, or if there is something to change and this process's database user may not.
    pub async fn register_host(self, facts: &HostFacts) -> Result<HostId, ServiceError> {
        let known = self.store().hosts().find_host_by_name(&facts.name).await?.map(|found| found.value);
        // Nothing about the host is changed before it is known that this machine is the host.
        match &known {
            Some(known) if known.public_key == facts.public_key => self.claim_host(known.id).await?,
            _ => self.refuse_key_of_another(facts).await?,
        }
        if let Some(known) = known.filter(|known| facts.host(known.id, known.drain) == *known) {
            self.nudge(&Nudge::HostChange(known.id));
            return Ok(known.id);
        }
        self.refuse_removed(&facts.public_key).await?;
        match self.change_host(facts).await {
            Err(ServiceError::Internal(cause)) if is_refused(&*cause) => {
                Err(ServiceError::Conflict(Refusal::HostChanged { host: facts.name.clone() }))
            }
            other => other,
        }
    }

    /// Takes the place of the host for this machine. Whoever does not say which machine it is, takes none.
    async fn claim_host(self, host: HostId) -> Result<(), ServiceError> {
        if self.instance().is_some() { self.say_alive(host, None).await } else { Ok(()) }
    }

    /// Two hosts with one key could open each other's secrets, and the removal of one would shut out the other.
    async fn refuse_key_of_another(self, facts: &HostFacts) -> Result<(), ServiceError> {
        let Some(other) = self.store().hosts().find_host_by_key(&facts.public_key).await? else { return Ok(()) };
        if let Some(instance) = self.instance() {
            self.store().hosts().knock(other.id, instance).await?;
        }
        Err(ServiceError::Conflict(Refusal::KeyOfAnotherHost { host: other.name }))
    }

    async fn change_host(self, facts: &HostFacts) -> Result<HostId, ServiceError> {
        let fresh: HostId = self.new_id();
        let statuses = &self.store().hosts().host_statuses(None).await?;
        let id = self
            .change(|tx| async move {
                if let Some(removed) = tx.hosts().removed_host(&facts.public_key).await? {
                    return Err(ServiceError::Conflict(Refusal::HostRemoved { host: Box::new(removed) }));
                }
                let Some(found) = tx.hosts().host_by_name(&facts.name).await? else {
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
                        let host = facts.name.clone();
                        let refusal =
                            if alive { Refusal::HostNameAlive { host } } else { Refusal::HostKeyDiffers { host } };
                        return Err(ServiceError::Conflict(refusal));
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

    /// Whether another machine with the same host key took this one's place while it was silent.
    pub fn is_displaced(self) -> bool {
        self.instance.displaced.load(Ordering::Relaxed)
    }

    /// Says that a host is alive and what is wrong with it, and looks at the database's clock.
    ///
    /// # Errors
    /// [`Refusal::HostCloned`] while another machine with the same key is this host: then nothing was said.
    pub async fn beat(self, host: HostId, sessions: usize) -> Result<(), ServiceError> {
        self.say_alive(host, Some(sessions as u64)).await
    }

    async fn say_alive(self, host: HostId, sessions: Option<u64>) -> Result<(), ServiceError> {
        let problems = self.problems().list().into_iter();
        let problems: Vec<Problem> = problems.filter(|problem| !problem.code.is_found_by_others()).collect();
        let asked = self.cluster().asking();
        let heartbeat = Heartbeat {
            host,
            instance: self.instance(),
            version: env!("CARGO_PKG_VERSION"),
            sessions,
            problems: &problems,
            now: self.now(),
        };
        let heard = self.store().hosts().beat(&heartbeat).await?;
        self.instance.displaced.store(heard == BeatOutcome::Refused, Ordering::Relaxed);
        match heard {
            BeatOutcome::Taken { at, rival } => {
                self.cluster().note_clock(asked, at);
                let refused = rival.map(|_| CLONE_REFUSED.to_owned());
                self.problems().set(ProblemCode::ClonedHost, None, refused, self.now());
                Ok(())
            }
            BeatOutcome::Refused => {
                let why = Refusal::HostCloned;
                self.problems().set(ProblemCode::ClonedHost, None, Some(why.to_string()), self.now());
                Err(ServiceError::Conflict(why))
            }
        }
    }

    /// Refuses to write anything about the host that this machine is not any more.
    pub(crate) fn refuse_displaced(self) -> Result<(), ServiceError> {
        if self.is_displaced() { Err(ServiceError::Conflict(Refusal::HostCloned)) } else { Ok(()) }
    }

    fn instance(&self) -> Option<&str> {
        self.instance.name.as_deref()
    }

    /// Says which networks a host needs for itself. `false` if it has not said yet that it is alive.
    pub async fn report_networks(self, host: HostId, networks: &[HostNetwork]) -> Result<bool, ServiceError> {
        Ok(self.store().hosts().report_networks(host, networks).await?)
    }

    /// The names or addresses of the machines that the database runs on.
    pub fn database_machines(self) -> BTreeSet<String> {
        self.store().machines()
    }

    /// Says that a host stops on purpose.
    pub async fn beat_last(self, host: HostId) -> Result<(), ServiceError> {
        self.store().hosts().beat_last(host, self.instance()).await?;
        self.nudge(&Nudge::HostChange(host));
        Ok(())
    }

    /// Says that this process ends and what it carries goes on: its next start, wherever that is, need not wait.
    pub async fn release_host(self, host: HostId) -> Result<(), ServiceError> {
        if let Some(instance) = self.instance() {
            self.store().hosts().release(host, instance).await?;
        }
        Ok(())
    }

    /// Tells everybody that something about a host is news.
    pub fn tell_of_host(self, host: HostId) {
        self.nudge(&Nudge::HostChange(host));
    }
}

/// Which machine this process runs on.
#[derive(Debug, Default)]
pub(crate) struct Instance {
    name: Option<String>,
    displaced: AtomicBool,
}

impl Instance {
    pub(crate) fn named(name: String) -> Self {
        Self { name: Some(name), displaced: AtomicBool::default() }
    }
}

/// Said by the machine that is the host.
const CLONE_REFUSED: &str = "another machine with this host's key tries to be this host and is refused, because somebody started a copy of this \
     disk: stop that machine, delete host.key in its host.data_dir and let it join with a new token";

fn is_refused(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref().is_some_and(StoreError::is_refusal)
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
