//! The rules that change something, one file per area.
//!
//! Pages, API and command line all end here, so they cannot disagree. Each verb takes an [`Act`] first: who asks, in
//! the course of which request. It checks the asker's right, then changes policy through `Services::change`, which
//! runs one transaction (revision, documents, audit entry) and, once that is committed, nudges the other processes.
//!
//! What must become true on hosts is not done here. It is written down; the host's reconcilers make it true.

pub mod admission;
pub mod attachments;
pub mod audit;
pub mod authorities;
pub mod backup;
mod clock;
pub mod drain;
pub mod effect;
pub mod error;
pub mod events;
pub mod explain;
pub mod groups;
pub mod health;
pub mod history;
mod host_networks;
mod host_problems;
pub mod host_rows;
pub mod host_users;
pub mod hosts;
pub mod import;
pub mod jobs;
pub mod joining;
pub mod limits;
pub mod logins;
pub mod looks;
pub mod meaning;
mod membership;
pub mod memory;
pub mod migrations;
pub mod my_data;
pub mod nudges;
pub mod once;
pub mod organizations;
pub mod overview;
mod owner_link;
mod owners;
pub mod pause;
pub mod people;
pub mod problems;
pub mod profile_view;
pub mod profiles;
pub mod refusals;
pub mod removal;
mod retention;
pub mod self_service;
pub mod server_keys;
pub mod server_view;
pub mod servers;
pub mod sessions;
pub mod settings;
pub mod setup;
mod sign_in;
mod sign_in_test;
pub mod tickets;
pub mod tokens;
pub mod usage;
pub mod users;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

pub use error::ServiceError;
pub use keys::host::{HostKey, HostPublicKey};
pub use nudges::Nudge;
use serde::{Deserialize, Deserializer, Serialize};
pub use store::{
    Bus, BusMessage, Subscription,
    audit::AuditFilter,
    entity::{COUNTED, Page, PageRequest},
    hosts::DaemonStatus,
    order::{Order, OrderBy},
    profiles::ProfileFilter,
    servers::AttachmentKey,
    sessions::{EndedSession, SessionFilter},
    users::UserFilter,
};

use self::{
    effect::Trial,
    limits::{Buckets, Whose},
};
use domain::{
    Revised, Revision,
    audit::{Action, Actor, AuditEntry},
    clock::Clock,
    command_line::CommandLine,
    ids::{Id, RequestId},
    job::Job,
    login::Surface,
    role::Permission,
};
use keys::master::MasterKey;
use metrics::Metrics;
use oidc::Provider;
use runtime::{boot::boot_id, random};
use store::{Store, StoreError, events::Emitter, policy::PolicyChange};

/// Reads that a page waits for are given up after this, so that it can say so while its reader still waits.
const SOON: Duration = Duration::from_secs(2);

/// Who asks, and in the course of which request.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// Which request, for the trail.
    pub request_id: Option<RequestId>,
    trial: Option<Trial>,
    warnings: Warnings,
}

/// What whoever acts should know, and what is no reason to refuse. All copies of an act share it.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Act {
    /// An act of Postern itself, or of a host, outside of any request.
    pub fn of(actor: Actor) -> Self {
        Self::by(actor, None)
    }

    /// An act in the course of a request.
    pub fn by(actor: Actor, request_id: Option<RequestId>) -> Self {
        Self { actor, request_id, trial: None, warnings: Warnings::default() }
    }

    /// The same act, to be tried only: what it would do comes to be known, and nothing is done. Verbs that change
    /// policy by `Services::change_by` can be tried; others take no notice.
    pub fn tried(&self) -> (Self, Trial) {
        let trial = Trial::default();
        (Self { trial: Some(trial.clone()), warnings: trial.warnings.clone(), ..self.clone() }, trial)
    }

    /// Tells whoever acts what they should know.
    pub(crate) fn warn(&self, sentence: String) {
        self.warnings.list().push(sentence);
    }

    /// What they were told.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.list().clone()
    }

    /// Whether it is tried only.
    pub fn is_tried(&self) -> bool {
        self.trial.is_some()
    }

    /// Refuses whoever lacks a right.
    pub fn require(&self, permission: Permission) -> Result<(), ServiceError> {
        if self.actor.may(permission) { Ok(()) } else { Err(ServiceError::Forbidden(described(permission))) }
    }
}

/// What a right allows, in words that follow "may".
pub fn described(permission: Permission) -> &'static str {
    match permission {
        Permission::Read => "see the cluster",
        Permission::ReadAudit => "read the audit trail",
        Permission::ManageOrganizations => "manage organizations",
        Permission::ManageUsers => "manage users",
        Permission::ManageServers => "manage servers",
        Permission::ManageHosts => "manage hosts",
        Permission::EndSessions => "end sessions",
        Permission::ManageSettings => "manage settings",
        Permission::ManageTokens => "manage API tokens",
    }
}

/// The services of a process; cheap to clone.
#[derive(Clone)]
pub struct Services(Arc<Inner>);

struct Inner {
    store: Store,
    emitter: Emitter,
    clock: Arc<dyn Clock>,
    /// Which run of the machine this is.
    boot: String,
    master_key: Option<MasterKey>,
    authorities: authorities::Loaded,
    join_address: OnceLock<joining::JoinAddress>,
    host_database: OnceLock<host_users::HostDatabase>,
    urls: Urls,
    command_line: OnceLock<CommandLine>,
    bus: OnceLock<Bus>,
    provider: Provider,
    buckets: Buckets<Whose>,
    problems: problems::Problems,
    instance: hosts::Instance,
    /// When the runs of jobs began that this process made last, in the milliseconds that the database keeps.
    led: Mutex<BTreeMap<Job, i64>>,
}

impl Services {
    /// Services over a store. Without a master key nothing can be issued.
    pub fn new(store: Store, emitter: Emitter, clock: Arc<dyn Clock>, master_key: Option<MasterKey>) -> Self {
        Self(Arc::new(Inner {
            store,
            emitter,
            provider: Provider::new(Arc::clone(&clock)),
            clock,
            boot: boot_id(),
            master_key,
            authorities: authorities::Loaded::default(),
            join_address: OnceLock::new(),
            host_database: OnceLock::new(),
            urls: Urls::default(),
            command_line: OnceLock::new(),
            bus: OnceLock::new(),
            buckets: Buckets::default(),
            problems: problems::Problems::default(),
            instance: hosts::Instance::default(),
            led: Mutex::default(),
        }))
    }

    /// Tells under which URL browsers reach the pages of a surface; the first word counts.
    pub fn set_url(&self, surface: Surface, url: &str) {
        drop(self.0.urls.cell(surface).set(url.trim_end_matches('/').into()));
    }

    /// Tells how commands are called on this machine; later calls are ignored.
    pub fn set_command_line(&self, line: CommandLine) {
        drop(self.0.command_line.set(line));
    }

    /// How commands are called on this machine.
    pub fn command_line(&self) -> &CommandLine {
        self.0.command_line.get_or_init(CommandLine::default)
    }

    /// Whether that is known.
    pub fn has_url(&self, surface: Surface) -> bool {
        self.url(surface).is_some()
    }

    fn url(&self, surface: Surface) -> Option<&str> {
        self.0.urls.cell(surface).get().map(|url| &**url)
    }

    /// Gives this process ears; the first bus counts.
    pub fn set_bus(&self, bus: Bus) {
        drop(self.0.bus.set(bus));
    }

    /// What happens in the cluster from now on; nothing for a process without ears.
    pub fn listen(&self) -> Option<Subscription> {
        self.0.bus.get().map(Bus::subscribe)
    }

    /// Whether this process can issue and change secrets.
    pub fn has_master_key(&self) -> bool {
        self.0.master_key.is_some()
    }

    /// What is wrong with the host of this process.
    pub fn problems(&self) -> &problems::Problems {
        &self.0.problems
    }

    /// What is counted in this process.
    pub fn metrics(&self) -> &Metrics {
        self.store().metrics()
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn master_key(&self) -> Result<&MasterKey, ServiceError> {
        self.0.master_key.as_ref().ok_or(ServiceError::NoMasterKey)
    }

    /// A new id of any kind.
    pub fn new_id<T: Id>(&self) -> T {
        T::from_parts(self.now(), random::u128())
    }

    /// Tells the other processes where to look.
    fn nudge(&self, nudge: &Nudge) {
        self.0.emitter.emit(nudge.into());
    }

    /// Changes policy in one transaction, and nudges everybody once it is committed.
    async fn change<T, F, Fut>(&self, change: F) -> Result<T, ServiceError>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, ServiceError>>,
    {
        self.change_or(change).await
    }

    /// Like [`Self::change`], with refusals of another kind.
    async fn change_or<T, E, F, Fut>(&self, change: F) -> Result<T, E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let (value, revision) = self.store().change(change).await?;
        if let Some(revision) = revision {
            self.nudge(&Nudge::Policy(revision));
        }
        Ok(value)
    }

    /// The audit entry of a successful act.
    fn entry(&self, act: &Act, action: Action, object: &dyn ToString, changes: serde_json::Value) -> AuditEntry {
        AuditEntry {
            id: self.new_id(),
            at: self.now(),
            actor: act.actor.to_string(),
            action: action.as_str().to_owned(),
            object: object.to_string(),
            outcome: "success".to_owned(),
            request_id: act.request_id,
            changes,
            link: None,
        }
    }
}

/// Under which URLs browsers reach us, as far as it is configured.
#[derive(Default)]
struct Urls {
    portal: OnceLock<Box<str>>,
    console: OnceLock<Box<str>>,
}

impl Urls {
    fn cell(&self, surface: Surface) -> &OnceLock<Box<str>> {
        match surface {
            Surface::Portal => &self.portal,
            Surface::Console => &self.console,
        }
    }
}

/// What became of a noun: each field that differs, as `[before, after]`. One of the two sides may be absent.
fn difference<T: Serialize>(before: Option<&T>, after: Option<&T>) -> serde_json::Value {
    let fields = |side: Option<&T>| match side.map(serde_json::to_value) {
        Some(Ok(serde_json::Value::Object(fields))) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, mut after) = (fields(before), fields(after));
    let mut changes = serde_json::Map::new();
    for (field, old) in before {
        let new = after.remove(&field).unwrap_or_default();
        if old != new {
            changes.insert(field, serde_json::json!([old, new]));
        }
    }
    changes.extend(after.into_iter().map(|(field, new)| (field, serde_json::json!([null, new]))));
    changes.into()
}

/// Refuses a change to something that is not what the asker last saw.
fn check_revision<T>(found: &Revised<T>, expected: Option<Revision>) -> Result<(), ServiceError> {
    match expected {
        Some(expected) if expected != found.rev => Err(ServiceError::Stale { current: found.rev }),
        _ => Ok(()),
    }
}

/// A field of a merge patch (RFC 7396) that may be removed: absent, `null`, or a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Removable<T> {
    /// It stays as it is.
    #[default]
    Kept,
    /// It goes.
    Removed,
    /// It becomes this.
    Set(T),
}

impl<T: Clone> Removable<T> {
    /// What becomes of the field.
    fn over(&self, before: Option<&T>) -> Option<T> {
        match self {
            Self::Kept => before.cloned(),
            Self::Removed => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Removable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Removed, Self::Set))
    }
}

/// For a field of a merge patch that may not be removed: `null` is refused, not passed over.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_recorded() {
        let before = json!({"name": "a", "groups": ["x"], "disabled": false});
        let after = json!({"name": "a", "groups": ["x"], "disabled": true});
        assert_eq!(difference(Some(&before), Some(&after)), json!({"disabled": [false, true]}));
        assert_eq!(difference(None, Some(&json!({"name": "a"}))), json!({"name": [null, "a"]}));
        assert_eq!(difference(Some(&json!({"name": "a"})), None), json!({"name": ["a", null]}));
    }
}
