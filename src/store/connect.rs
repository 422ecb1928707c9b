//! The connections to the database and the limits around them.
//!
//! There are two clients: one for calls, and a small one for the bus, whose awaiting cursor holds a connection nearly
//! all the time. The driver's options are set where the connection string does not say otherwise, except for what
//! Postern's correctness rests on (majority writes, reads from the primary): a string that says otherwise is refused.
//!
//! The driver waits and retries through a failover by itself, and knows no limit for a whole operation, so limits are
//! put around it here:
//! - every call has a deadline;
//! - writes take a permit, fewer than there are connections. A frozen primary makes majority writes stall for many
//!   seconds; without the permits they would hold all connections and starve the reads;
//! - once no primary has been known for [`ABSENCE`], calls fail at once instead of piling up.
//!
//! Each call has a span, so that what is logged in its course names the operation and the collection that it came to.

use std::collections::BTreeSet;
use std::fmt;
use std::future::IntoFuture;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::error::ErrorKind;
use mongodb::event::EventHandler;
use mongodb::event::sdam::{SdamEvent, TopologyDescription};
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadPreference, SelectionCriteria, ServerAddress, Tls, WriteConcern,
};
use mongodb::{Client, Collection, Database, ServerType};
use tokio::sync::Semaphore;
use tracing::{Instrument as _, Span};

use crate::error::{Outage, StoreError, message};
use domain::chain::Head;
use metrics::Metrics;
use metrics::catalogue::{MONGO_ERRORS, MONGO_OP_SECONDS};

/// Deadline of a call that a person or a request waits for.
pub const REQUEST: Duration = Duration::from_secs(10);
/// Deadline of a call of periodic work.
pub const BACKGROUND: Duration = Duration::from_secs(30);
/// Without a primary for this long, calls are not tried any more. Longer than a planned change of the primary,
/// shorter than the patience of a person.
pub const ABSENCE: Duration = Duration::from_secs(5);

const POOL: u32 = 32;
const BUS_POOL: u32 = 4;

/// Which database to use.
#[derive(Clone)]
pub struct Settings {
    /// A MongoDB connection string; may hold a password.
    pub uri: String,
    /// Name of the database.
    pub database: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("database", &self.database).finish_non_exhaustive()
    }
}

/// How the way to the database is protected, as the connection string says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// Whether the database is on another machine.
    pub is_elsewhere: bool,
    /// Whether Postern shows who it is.
    pub has_login: bool,
    /// Whether nobody on the way can read along.
    pub has_tls: bool,
}

impl Protection {
    fn of(options: &ClientOptions) -> Self {
        let is_here = |server: &ServerAddress| match server {
            ServerAddress::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
            // A socket of the file system.
            _ => true,
        };
        Self {
            is_elsewhere: !options.hosts.iter().all(is_here),
            has_login: options.credential.is_some(),
            has_tls: matches!(options.tls, Some(Tls::Enabled(_))),
        }
    }

    /// Refuses a database on another machine that asks nobody who they are: whoever reaches it is an administrator of
    /// the VPN.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`].
    pub fn require_login(self) -> Result<(), StoreError> {
        if self.is_elsewhere && !self.has_login {
            return Err(StoreError::mendable(
                "database.uri names another machine and no user: whoever reaches that database can change everything",
                "name a user (deploy/mongodb makes them), or set database.insecure = true if nobody else reaches it",
            ));
        }
        Ok(())
    }

    /// Whether what is sent to another machine can be read on the way.
    pub fn is_readable(self) -> bool {
        self.is_elsewhere && !self.has_tls
    }
}

/// The handle to the database; cheap to clone. Made once per process.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    bus: Database,
    writes: Semaphore,
    policy_turn: Arc<tokio::sync::Mutex<()>>,
    trail: tokio::sync::Mutex<Option<Head>>,
    primary: Arc<PrimaryWatch>,
    /// The servers that the connection string names.
    seeds: Vec<ServerAddress>,
    protection: Protection,
    metrics: Metrics,
    trouble: Mutex<Option<&'static str>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.database.name()).finish()
    }
}

impl Store {
    /// Prepares the clients. Connections are made when they are needed, so this does not fail when the database is
    /// away (only when a `mongodb+srv` name cannot be resolved).
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] names the setting that must be changed.
    pub async fn connect(settings: &Settings) -> Result<Self, StoreError> {
        check_name(&settings.database)?;
        let mut options = parse(&settings.uri).await?;
        refuse_weak(&options)?;
        fill_in(&mut options);

        let primary = Arc::new(PrimaryWatch::default());
        let pool = options.max_pool_size.unwrap_or(POOL);
        let seeds = options.hosts.clone();
        let protection = Protection::of(&options);
        let mut bus_options = options.clone();
        bus_options.max_pool_size = Some(BUS_POOL);
        bus_options.min_pool_size = None;
        options.sdam_event_handler = Some(primary.handler());
        Ok(Self(Arc::new(Inner {
            database: client(options)?.database(&settings.database),
            bus: client(bus_options)?.database(&settings.database),
            writes: Semaphore::new(write_permits(pool)),
            policy_turn: Arc::default(),
            trail: tokio::sync::Mutex::default(),
            primary,
            seeds,
            protection,
            metrics: Metrics::default(),
            trouble: Mutex::default(),
        })))
    }

    /// The database, for calls. Bound every use by [`Store::deadline`] or [`Store::write`].
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// A collection, by whose name the call that asks for it is known in the log.
    pub(super) fn rows<T: Send + Sync>(&self, collection: &str) -> Collection<T> {
        Span::current().record("db.collection", collection);
        self.database().collection(collection)
    }

    /// How the way to the database is protected.
    pub fn protection(&self) -> Protection {
        self.0.protection
    }

    /// The same database through the small client of the bus.
    pub fn bus_client(&self) -> &Database {
        &self.0.bus
    }

    /// The queue of this process's changes of policy.
    pub(super) fn policy_turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.0.policy_turn)
    }

    /// The newest entry of this process's chain in the audit log; none where the next one begins a chain.
    pub(super) fn trail(&self) -> &tokio::sync::Mutex<Option<Head>> {
        &self.0.trail
    }

    /// What is counted in this process.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The class of the last failure of a call, as in [`StoreError::class`]; `None` if none has failed.
    pub fn last_trouble(&self) -> Option<&'static str> {
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that failed; what is merely a refusal is none. Whoever called decides whether it is worth a warning.
    pub(super) fn note_trouble(&self, error: &StoreError) {
        if let Some(class) = error.class() {
            tracing::debug!(class, error = error as &dyn std::error::Error, "a call to the database failed");
            self.0.metrics.count(&MONGO_ERRORS, [class]);
            *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(class);
        }
    }

    /// Notes how long an operation took that began at `began`.
    pub(super) fn note_duration(&self, op: &'static str, began: Instant) {
        self.0.metrics.observe(&MONGO_OP_SECONDS, [op], began.elapsed().as_secs_f64());
    }

    /// How long no primary has been known; `None` while there is one.
    pub fn without_primary(&self) -> Option<Duration> {
        self.0.primary.state().lost.map(|since| since.elapsed())
    }

    /// The names or addresses of the machines that it talks to: those of the connection string, and those that they name.
    pub fn machines(&self) -> BTreeSet<String> {
        let state = self.0.primary.state();
        let known = state.topology.as_ref().map(|topology| topology.servers().into_keys().cloned().collect::<Vec<_>>());
        let all = self.0.seeds.iter().cloned().chain(known.into_iter().flatten());
        let name = |server| match server {
            ServerAddress::Tcp { host, .. } => Some(host),
            _ => None,
        };
        all.filter_map(name).collect()
    }

    /// What the driver last saw of the servers, their errors included, in words.
    pub(super) fn topology(&self) -> String {
        self.0.primary.state().topology.as_ref().map_or_else(String::new, ToString::to_string)
    }

    /// Runs a call with a limit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when `limit` passes, or at once when no primary has been known for [`ABSENCE`].
    pub fn deadline<T, E>(
        &self,
        limit: Duration,
        call: impl IntoFuture<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, StoreError>>
    where
        E: Into<StoreError>,
    {
        self.watched("read", limit, call)
    }

    /// Runs a writing call with a limit, which covers the wait for one of the permits that keep connections free for
    /// reads.
    ///
    /// # Errors
    /// As [`Store::deadline`].
    pub fn write<T, E>(
        &self,
        limit: Duration,
        call: impl IntoFuture<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, StoreError>>
    where
        E: Into<StoreError>,
    {
        let permitted = async move {
            let _permit = self.0.writes.acquire().await.map_err(|_closed| Outage::Stopping)?;
            call.into_future().await.map_err(Into::into)
        };
        self.watched("write", limit, permitted)
    }

    fn watched<T, E>(
        &self,
        op: &'static str,
        limit: Duration,
        call: impl IntoFuture<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, StoreError>>
    where
        E: Into<StoreError>,
    {
        self.limited(op, limit, call).instrument(span_of(op))
    }

    async fn limited<T, E>(
        &self,
        op: &'static str,
        limit: Duration,
        call: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<T, StoreError>
    where
        E: Into<StoreError>,
    {
        let began = Instant::now();
        let answer = match self.without_primary().filter(|absent| *absent > ABSENCE) {
            Some(absent) => Err(Outage::NoPrimary(absent).into()),
            None => match tokio::time::timeout(limit, call.into_future()).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(Outage::Deadline(limit).into()),
            },
        };
        self.note_duration(op, began);
        answer.inspect_err(|error| self.note_trouble(error))
    }
}

/// What is logged in the course of an operation bears this, whatever is shown of the log.
pub(super) fn span_of(op: &'static str) -> Span {
    tracing::error_span!("store", db.operation = op, db.collection = tracing::field::Empty)
}

/// Since when there is no primary, by the driver's monitoring.
#[derive(Default)]
struct PrimaryWatch(Mutex<PrimaryState>);

#[derive(Default)]
struct PrimaryState {
    /// `None` while there is a primary, and before the first look at the set.
    lost: Option<Instant>,
    topology: Option<TopologyDescription>,
}

impl PrimaryWatch {
    fn handler(self: &Arc<Self>) -> EventHandler<SdamEvent> {
        let watch = Arc::clone(self);
        EventHandler::callback(move |event| {
            if let SdamEvent::TopologyDescriptionChanged(change) = event {
                watch.see(change.new_description);
            }
        })
    }

    fn see(&self, topology: TopologyDescription) {
        let writable = topology.servers().values().any(|server| {
            matches!(
                server.server_type(),
                ServerType::RsPrimary | ServerType::Mongos | ServerType::LoadBalancer | ServerType::Standalone
            )
        });
        let mut state = self.state();
        state.lost = if writable { None } else { Some(state.lost.unwrap_or_else(Instant::now)) };
        state.topology = Some(topology);
    }

    fn state(&self) -> MutexGuard<'_, PrimaryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fewer than there are connections, so that reads and health checks always find one.
fn write_permits(pool: u32) -> usize {
    let pool = if pool == 0 { POOL } else { pool }; // 0 means no limit
    usize::try_from(pool * 5 / 8).unwrap_or(1).max(1)
}

async fn parse(uri: &str) -> Result<ClientOptions, StoreError> {
    ClientOptions::parse(uri).await.map_err(|error| match error.kind.as_ref() {
        ErrorKind::InvalidArgument { .. } => {
            StoreError::mendable(format!("database.uri: {}", message(&error)), "correct it in the URI, or remove it")
        }
        _ => error.into(),
    })
}

fn client(options: ClientOptions) -> Result<Client, StoreError> {
    Client::with_options(options).map_err(|error| match error.kind.as_ref() {
        ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. } => {
            StoreError::misconfigured(format!("database.uri: {}", message(&error)))
        }
        _ => error.into(),
    })
}

/// The server's rules for names of databases (manual, "Naming Restrictions").
fn check_name(name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > 63 || name.contains(|c: char| "/\\. \"$*<>:|?\0".contains(c)) {
        return Err(StoreError::misconfigured(format!("database.name: {name:?} is not a name for a database")));
    }
    if matches!(name, "admin" | "local" | "config") {
        return Err(StoreError::mendable(format!("database.name: {name} belongs to MongoDB"), "choose another"));
    }
    Ok(())
}

/// Refuses what would silently break a promise.
fn refuse_weak(options: &ClientOptions) -> Result<(), StoreError> {
    if options.direct_connection == Some(true) {
        return Err(StoreError::mendable(
            "database.uri: directConnection=true pins one member, so that writes end at the first failover",
            "remove it and name the set by replicaSet=…",
        ));
    }
    let weak = |w: &Acknowledgment| !matches!(w, Acknowledgment::Majority);
    if options.write_concern.as_ref().and_then(|concern| concern.w.as_ref()).is_some_and(weak) {
        return Err(StoreError::mendable(
            "database.uri: w weaker than majority loses acknowledged changes at a failover",
            "remove it",
        ));
    }
    if let Some(SelectionCriteria::ReadPreference(preference)) = &options.selection_criteria
        && *preference != ReadPreference::Primary
    {
        return Err(StoreError::mendable(
            "database.uri: readPreference must be primary, others may answer with the past",
            "remove it",
        ));
    }
    Ok(())
}

/// Our defaults, where the connection string says nothing.
fn fill_in(options: &mut ClientOptions) {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    options.app_name.get_or_insert_with(|| concat!("postern/", env!("CARGO_PKG_VERSION")).into());
    options.max_pool_size.get_or_insert(POOL);
    options.min_pool_size.get_or_insert(2);
    options.max_connecting.get_or_insert(4);
    options.connect_timeout = options.connect_timeout.or(seconds(3));
    options.heartbeat_freq = options.heartbeat_freq.or(seconds(5));
    // Longer than an election with the server's defaults (10 s), else a normal failover turns into errors.
    options.server_selection_timeout = options.server_selection_timeout.or(seconds(15));
    let concern = options.write_concern.get_or_insert_with(WriteConcern::default);
    concern.w = Some(Acknowledgment::Majority);
    concern.w_timeout = concern.w_timeout.or(seconds(5));
}
