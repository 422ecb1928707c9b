//! What all areas stand on: the store, the clock, the keys, and what this process was told about itself.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::cluster::limits::{Buckets, Whose};
use crate::hosts::database_users::HostDatabase;
use crate::hosts::joining::JoinAddress;
use crate::hosts::problems::Problems;
use crate::hosts::registry::Instance;
use crate::network::authorities::Loaded;
use crate::{Act, Bus, Nudge, ServiceError, Subscription};
use domain::audit::{Action, AuditEntry};
use domain::clock::Clock;
use domain::command_line::CommandLine;
use domain::ids::Id;
use domain::job::Job;
use domain::login::Surface;
use domain::text::HostName;
use keys::master::MasterKey;
use metrics::Metrics;
use oidc::{Provider, Proxies};
use runtime::boot::boot_id;
use runtime::random;
use runtime::reconcile::Reconciler;
use store::bus::events::Emitter;
use store::policy::PolicyChange;
use store::{Store, StoreError};

/// The services of a process; cheap to clone. Each area is a view of the same [`Core`], asked for by its name.
#[derive(Clone)]
pub struct Services(Arc<Core>);

impl Deref for Services {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.0
    }
}

/// What the areas share.
pub struct Core {
    pub(crate) store: Store,
    pub(crate) emitter: Emitter,
    pub(crate) clock: Arc<dyn Clock>,
    /// Which run of the machine this is.
    pub(crate) boot: String,
    pub(crate) master_key: Option<MasterKey>,
    pub(crate) authorities: Loaded,
    pub(crate) join_address: Option<JoinAddress>,
    pub(crate) host_database: Option<HostDatabase>,
    urls: BTreeMap<Surface, String>,
    command_line: CommandLine,
    pub(crate) bus: Option<Bus>,
    /// The recurring work of this process, and on which host.
    pub(crate) tasks: Option<(HostName, Reconciler)>,
    pub(crate) provider: Provider,
    pub(crate) buckets: Buckets<Whose>,
    problems: Problems,
    pub(crate) instance: Instance,
    /// When the runs of jobs began that this process made last, in the milliseconds that the database keeps.
    pub(crate) led: Mutex<BTreeMap<Job, i64>>,
}

macro_rules! areas {
    ($($method:ident: $name:ident, $about:literal;)+) => {
        $(
            #[doc = concat!("The area [`", stringify!($method), "`](crate::", stringify!($method), "): ", $about, ".")]
            #[derive(Clone, Copy)]
            pub struct $name<'a>(&'a Core);

            impl Deref for $name<'_> {
                type Target = Core;

                fn deref(&self) -> &Core {
                    self.0
                }
            }
        )+

        /// The areas.
        impl Core {
            $(
                #[doc = concat!("The verbs of the area [`", stringify!($method), "`](crate::", stringify!($method), ").")]
                pub fn $method(&self) -> $name<'_> {
                    $name(self)
                }
            )+
        }
    };
}

areas! {
    identity: Identities, "who somebody is";
    people: People, "users, groups, organizations and what they do for themselves";
    network: Network, "servers, their keys and authorities, and which hosts run them";
    hosts: Hosts, "how hosts join, report, are drained and removed";
    access: Access, "who may connect";
    cluster: Cluster, "settings, jobs, maintenance and the state of the whole";
    evidence: Evidence, "the audit log and other records of what happened";
}

/// Puts [`Services`] together: what is optional is left out by processes that do not have it.
pub struct Builder(Core);

impl Builder {
    /// Without it nothing can be issued.
    #[must_use]
    pub fn master_key(self, key: Option<MasterKey>) -> Self {
        Self(Core { master_key: key, ..self.0 })
    }

    /// By which this process gets the events of the cluster.
    #[must_use]
    pub fn bus(self, bus: Bus) -> Self {
        Self(Core { bus: Some(bus), ..self.0 })
    }

    /// The recurring work of this process, which is on a host of this name.
    #[must_use]
    pub fn tasks(self, host: HostName, tasks: Reconciler) -> Self {
        Self(Core { tasks: Some((host, tasks)), ..self.0 })
    }

    /// Under which URL browsers reach the pages of a surface.
    #[must_use]
    pub fn url(mut self, surface: Surface, url: &str) -> Self {
        self.0.urls.insert(surface, url.trim_end_matches('/').to_owned());
        self
    }

    /// How commands are called on this machine.
    #[must_use]
    pub fn command_line(self, line: CommandLine) -> Self {
        Self(Core { command_line: line, ..self.0 })
    }

    /// Where new machines find the admin listener.
    #[must_use]
    pub fn join_address(self, address: JoinAddress) -> Self {
        Self(Core { join_address: Some(address), ..self.0 })
    }

    /// How hosts come to the database.
    #[must_use]
    pub fn host_database(self, database: Option<HostDatabase>) -> Self {
        Self(Core { host_database: database, ..self.0 })
    }

    /// Which machine this is, so that another one with the same host key is told from it.
    #[must_use]
    pub fn instance(self, name: String) -> Self {
        Self(Core { instance: Instance::named(name), ..self.0 })
    }

    /// Through whom the identity provider is asked.
    #[must_use]
    pub fn provider_proxies(self, proxies: Proxies) -> Self {
        Self(Core { provider: self.0.provider.through(proxies), ..self.0 })
    }

    /// The services.
    pub fn build(self) -> Services {
        Services(Arc::new(self.0))
    }
}

impl Services {
    /// Services over a store.
    pub fn builder(store: Store, emitter: Emitter, clock: Arc<dyn Clock>) -> Builder {
        Builder(Core {
            store,
            emitter,
            provider: Provider::new(Arc::clone(&clock)),
            clock,
            boot: boot_id(),
            master_key: None,
            authorities: Loaded::default(),
            join_address: None,
            host_database: None,
            urls: BTreeMap::new(),
            command_line: CommandLine::default(),
            bus: None,
            tasks: None,
            buckets: Buckets::default(),
            problems: Problems::default(),
            instance: Instance::default(),
            led: Mutex::default(),
        })
    }
}

impl Core {
    /// The time by the clock of the cluster.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// How commands are called on this machine.
    pub fn command_line(&self) -> &CommandLine {
        &self.command_line
    }

    /// Whether it is known under which URL browsers reach a surface.
    pub fn has_url(&self, surface: Surface) -> bool {
        self.url(surface).is_some()
    }

    pub(crate) fn url(&self, surface: Surface) -> Option<&str> {
        self.urls.get(&surface).map(String::as_str)
    }

    /// What happens in the cluster from now on; nothing for a process without a bus.
    pub fn listen(&self) -> Option<Subscription> {
        self.bus.as_ref().map(Bus::subscribe)
    }

    /// Whether this process can issue and change secrets.
    pub fn has_master_key(&self) -> bool {
        self.master_key.is_some()
    }

    /// What is wrong with the host of this process.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// What is counted in this process.
    pub fn metrics(&self) -> &Metrics {
        self.store().metrics()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn master_key(&self) -> Result<&MasterKey, ServiceError> {
        self.master_key.as_ref().ok_or(ServiceError::NoMasterKey)
    }

    /// A new id of any kind.
    pub fn new_id<T: Id>(&self) -> T {
        T::from_parts(self.now(), random::u128())
    }

    /// Tells the other processes where to look.
    pub(crate) fn nudge(&self, nudge: &Nudge) {
        self.emitter.emit(nudge.into());
    }

    /// Changes policy in one transaction, and nudges everybody once it is committed.
    pub(crate) async fn change<T, F, Fut>(&self, change: F) -> Result<T, ServiceError>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, ServiceError>>,
    {
        self.change_or(change).await
    }

    /// Like [`Self::change`], with refusals of another kind.
    pub(crate) async fn change_or<T, E, F, Fut>(&self, change: F) -> Result<T, E>
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
    pub(crate) fn entry(
        &self,
        act: &Act,
        action: Action,
        object: &dyn ToString,
        changes: serde_json::Value,
    ) -> AuditEntry {
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
