//! How a command comes to the database: the shared one of the configuration, or the private one of this machine.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Machine;
use crate::config;
use crate::config::Config;
use crate::domain::clock::ClusterClock;
use crate::keys::master::MasterKey;
use crate::services::Services;
use crate::services::hosts::database_users::HostDatabase;
use crate::store::private::PrivateDatabase;
use crate::store::{Emitter, Settings, Store, StoreError, migrate};

/// How long a nudge may take on its way.
const NUDGE_LIMIT: Duration = Duration::from_secs(8);

/// An open database, and what must be closed after it.
pub(super) struct Database {
    /// The way in.
    pub store: Store,
    for_hosts: Option<HostDatabase>,
    private: Option<PrivateDatabase>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Database {
    /// Opens the database that the configuration names.
    pub(super) async fn open(machine: &Machine) -> anyhow::Result<Self> {
        let config = load(machine)?;
        Self::of(&config).await
    }

    /// Opens the database of a configuration. The private one is started if it does not run.
    pub(super) async fn of(config: &Config) -> anyhow::Result<Self> {
        let private = if config.database.uri.is_none() {
            make_data_dir(&config.host.data_dir)?;
            Some(PrivateDatabase::open(&config.host.data_dir, config.database.mongod.as_deref()).await?)
        } else {
            None
        };
        let uri = config.database.uri.clone().or_else(|| private.as_ref().map(|private| private.uri().to_owned()));
        let settings = Settings { uri: uri.unwrap_or_default(), database: config.database.name.clone() };
        let store = Store::connect(&settings).await?;
        if !config.database.insecure {
            store.protection().require_login()?;
        }
        Ok(Self {
            store,
            for_hosts: config.host_database(),
            private,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Whether it is this machine's own, so that nobody else migrates it.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Refuses a database that is not in the shape of this release; the private one is brought into it.
    pub(super) async fn require_current(&self) -> Result<(), StoreError> {
        if self.is_private() {
            migrate::apply(&self.store).await.map(drop)
        } else {
            let newer = migrate::is_current(&self.store).await?;
            if !newer.is_empty() {
                tracing::info!(event = "migrations.newer", migrations = ?newer,
                    "the database has been migrated by a later release; going on");
            }
            Ok(())
        }
    }

    /// Tells the hosts of the cluster where to look; what is queued is sent before [`Self::close`] returns.
    pub(super) fn emitter(&self) -> Emitter {
        Emitter::start(&self.store, NUDGE_LIMIT, &self.tasks, &self.stop)
    }

    /// The rules over this database, by its clock: what a command stores, hosts compare with the time.
    pub(super) async fn services(&self, master_key: Option<MasterKey>) -> Services {
        let clock = Arc::new(ClusterClock::default());
        let services = Services::builder(self.store.clone(), self.emitter(), clock)
            .master_key(master_key)
            .host_database(self.for_hosts.clone())
            .build();
        // A database that does not answer says so at the next question.
        drop(services.cluster().measure_clock().await);
        services
    }

    /// Lets go of the database; the private one is stopped if nobody else on this machine uses it.
    pub(super) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(private) = self.private {
            private.close().await;
        }
    }
}

/// The configuration file of this machine, whether or not it is there.
pub(super) fn config_file(machine: &Machine) -> PathBuf {
    machine.config.clone().unwrap_or_else(|| config::DEFAULT_PATH.into())
}

/// The configuration of this machine.
pub(super) fn load(machine: &Machine) -> anyhow::Result<Config> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(machine.config.as_deref(), environment)
}

/// Makes the data directory, for our eyes only.
pub(super) fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("host.data_dir {} cannot be made", path.display()))
}

/// The master key, if this process has one. With the private database it is made at the first start.
pub(super) fn master_key(config: &Config) -> anyhow::Result<Option<MasterKey>> {
    match (&config.keys.master_key_file, &config.database.uri) {
        (Some(path), _) => Ok(Some(MasterKey::load(path)?)),
        (None, None) => Ok(Some(MasterKey::load_or_create(&config.host.data_dir.join("master.key"))?)),
        (None, Some(_)) => Ok(None),
    }
}
