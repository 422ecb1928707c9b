//! `postern serve`: the composition root. Everything is put together here, and only here.
//!
//! The listeners open first, so that a host whose database is away can say so. Then [`BringUp`] checks the database,
//! reads the policy and makes this machine a host, again and again until it works; what needs all that (daemons, jobs)
//! starts after it. A mistake that only a person can mend ends the process with one sentence.

mod bring_up;
mod service_manager;
mod status;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use tokio::sync::oneshot;

use super::Machine;
use super::database::{Database, load, make_data_dir, master_key};
use crate::config::{Config, ListenerConfig};
use crate::domain::clock::{Clock as _, ClusterClock};
use crate::keys::host::HostKey;
use crate::keys::master::MasterKey;
use crate::runtime::instance::instance;
use crate::runtime::lifecycle::{Ending, Lifecycle};
use crate::services::access::admission::Admission;
use crate::services::access::snapshot_file::SnapshotFile;
use crate::services::hosts::registry::HostFacts;
use crate::services::{Services, tasks};
use crate::store::{Bus, BusSettings};
use crate::telemetry::Logs;
use crate::web;

use bring_up::BringUp;
use status::Status;

/// Runs this host until it is told to stop.
pub(super) async fn run(machine: Machine, logs: &Logs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let config = load(&machine)?;
    logs.name_host(config.host_name()?.as_str());
    let data_dir = &config.host.data_dir;
    make_data_dir(data_dir)?;
    let _only_one = lock(data_dir)?;
    let master_key = master_key(&config)?;
    let host_key = Arc::new(HostKey::load_or_create(&data_dir.join("host.key"))?);
    let database = Arc::new(Database::of(&config).await?);

    let lifecycle = Lifecycle::default();
    let following = logs.follow_signals()?;
    let soft = lifecycle.soft().clone();
    lifecycle.spawn(async move { soft.run_until_cancelled(following).await.unwrap_or_default() });
    let started = start(&machine, &config, logs, &database, (master_key, host_key), &lifecycle, began).await;
    if started.is_err() {
        lifecycle.soft().cancel();
    }
    let ending = lifecycle.run().await?;
    if let Some(database) = Arc::into_inner(database) {
        database.close().await;
    }
    if let Ok(Some(error)) = started?.await {
        return Err(error);
    }
    tracing::info!(event = "process.stopped", "stopped");
    Ok(if ending == Ending::Crashed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Starts everything; what comes of the bringing up is told later, `None` if it worked.
async fn start(
    machine: &Machine,
    config: &Config,
    logs: &Logs,
    database: &Arc<Database>,
    (master_key, host_key): (Option<MasterKey>, Arc<HostKey>),
    lifecycle: &Lifecycle,
    began: Instant,
) -> anyhow::Result<oneshot::Receiver<Option<anyhow::Error>>> {
    let stop = lifecycle.soft();
    if database.store.protection().is_readable() {
        tracing::warn!(
            event = "database.unencrypted",
            "what is sent to the database is not encrypted; add tls=true to database.uri"
        );
    }
    let facts = HostFacts {
        name: config.host_name()?,
        public_addresses: config.public_addresses(),
        roles: config.roles(),
        public_key: *host_key.public().as_bytes(),
    };
    let clock = Arc::new(ClusterClock::default());
    let reconciler = tasks::reconciler(lifecycle.tasks(), stop, database.store.metrics(), clock.clone());
    logs.sum_repeats(&reconciler);
    let bus = Bus::start(&database.store, &BusSettings::default(), &reconciler);
    let listeners = web::Listeners::open(web_settings(config)).await?;
    let builder = Services::builder(database.store.clone(), bus.emitter(), clock.clone())
        .master_key(master_key)
        .bus(bus.clone())
        .tasks(facts.name.clone(), reconciler.clone())
        .instance(instance(&config.host.data_dir)?)
        .command_line(machine.command_line())
        .host_database(config.host_database())
        .provider_proxies(config.provider_proxies.clone());
    let services = listeners.describe(builder, clock.now()).build();
    let admission = Admission::new(services.clone());
    let status =
        Arc::new(Status::new(database.store.clone(), bus.clone(), services.clone(), admission.clone(), stop.clone()));
    let addresses = listeners.addresses();
    listeners.serve(&services, status.clone(), lifecycle.tasks(), stop);
    tracing::info!(event = "process.listening", listeners = ?addresses, "listening");
    service_manager::started();
    lifecycle.spawn(service_manager::tell_of_stop(stop.clone()));
    service_manager::keep_alive(&reconciler, Arc::clone(&status));

    let bring_up = BringUp {
        vpn: config.vpn_settings(),
        database: Arc::clone(database),
        tasks: reconciler,
        snapshot_file: SnapshotFile::new(&config.host.data_dir, Arc::clone(&host_key)),
        host_key,
        facts,
        bus,
        services,
        admission,
        status,
        began,
    };
    let (tell, told) = oneshot::channel();
    let stop = stop.clone();
    lifecycle.spawn(async move {
        let failed = bring_up.run().await.err();
        if failed.is_some() {
            stop.cancel();
        }
        drop(tell.send(failed));
    });
    Ok(told)
}

/// Two processes on one data directory would each believe that they own its daemons.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("serve.lock");
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another postern serve uses host.data_dir {}; stop it, or choose another", data_dir.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

fn web_settings(config: &Config) -> web::Settings {
    let listener = |listen, from: &ListenerConfig| web::Listener {
        listen,
        url: from.url.clone(),
        tls: config.tls.as_ref().map(|tls| web::TlsFiles {
            certificate_file: tls.certificate_file.clone(),
            key_file: tls.key_file.clone(),
        }),
    };
    web::Settings {
        public: listener(config.public_listen(), &config.public),
        admin: listener(config.admin_listen(), &config.admin),
        ops: web::Listener { listen: config.ops_listen(), url: None, tls: None },
        trusted_proxies: config.proxy.trusted.clone(),
        roles: config.roles(),
    }
}
