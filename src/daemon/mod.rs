//! This host's `openvpn` daemons: started, watched, answered and ended as the policy wants it.
//!
//! # Theory of operation
//! The wanted state stands in the access snapshot: a server that is enabled and attached to this host is to run here.
//! The `supervisor` starts one `keeper` for each, and keeps the firewall in step with them. A keeper makes true what is
//! wanted of its daemon, from the key and the certificate to the running process, and starts over whenever the process
//! ends or its command line must change. While the process runs, the keeper leads the `conversation` with it: one loop
//! that owns the `roster` of clients, asks the `gatekeeper` about each that connects, and ends sessions that the
//! `reaper` names. Nothing in that loop waits for the database, for a disk, or for the daemon: what the daemon says is
//! read whatever happens, since it takes no commands while it is not read. `turning` watches that the loops go on. When
//! this host is to leave service, each daemon sends its clients to other hosts at the pace of its own `moves`; `drain`
//! tells the cluster how far they have come.
//!
//! Where a server's routes cover its own hosts, clients get a route to each that stays outside of the tunnel; `names`
//! knows the addresses of those that go by a DNS name.
//!
//! The `probe` looks at the same servers on other hosts, from outside.
//!
//! What the cluster is to know leaves by queues: sessions through the `session_log`, states and counters through the
//! `reports`. They write when the database is there.
//!
//! Between the conversation and the daemon stands the daemon's relay (`openvpn/relay`), a process of its own that answers
//! clients while there is no Postern to do it. A daemon, or a relay, that is there and does not answer is ended.
//!
//! When Postern stops, its daemons go on (unless configured otherwise) and the next Postern adopts them with their
//! sessions: the configuration they run, the clients they carry and what was promised to each lie in
//! `DATA_DIR/daemons/SERVER/`. Should the files be lost, clients reconnect; nothing else is lost with them.

mod attempts;
mod conversation;
mod drain;
mod enforcement;
mod failure_reason;
mod gatekeeper;
mod keeper;
mod lateness;
mod measure;
mod meter;
mod moves;
mod names;
mod plan;
mod preflight;
mod probe;
mod reaper;
mod registry;
mod reports;
mod roster;
mod roster_file;
#[cfg(test)]
mod samples;
mod session_log;
mod supervisor;
mod turning;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use enforcement::server_rules;
use names::Names;
pub use plan::device;
pub use preflight::preflight;
use registry::Registry;
use session_log::SessionLog;

use domain::ids::HostId;
use runtime::reconcile::Reconciler;
use services::access::admission::Admission;
use services::{Bus, DaemonStatus, HostKey, ServiceError, Services};

/// Between two looks at what waits to be written.
const GLANCE: Duration = Duration::from_millis(50);

/// How daemons are run on this machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `openvpn` program, an absolute path.
    pub openvpn: PathBuf,
    /// The program of which `relay DIRECTORY` is the relay of a daemon: this one.
    pub relay: PathBuf,
    /// Where the files of this host are.
    pub data_dir: PathBuf,
    /// Whether daemons end when Postern does.
    pub stop_with_postern: bool,
}

/// Who this host is.
#[derive(Debug)]
pub struct HostIdentity {
    /// Its id in the cluster.
    pub id: HostId,
    /// Its key: opens what is sealed to it.
    pub key: Arc<HostKey>,
}

/// What all tasks of this folder share.
struct Here {
    settings: Settings,
    host: HostId,
    key: Arc<HostKey>,
    services: Services,
    admission: Admission,
    registry: Registry,
    session_log: SessionLog,
    names: Names,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// A look at the running daemons; cheap to clone.
#[derive(Clone)]
pub struct DaemonsHandle(Arc<Here>);

impl DaemonsHandle {
    /// How many sessions are alive on this host.
    pub fn session_count(&self) -> usize {
        self.0.registry.session_count()
    }

    /// How each daemon is.
    pub fn statuses(&self) -> Vec<DaemonStatus> {
        self.0.registry.statuses()
    }

    /// How many steps of sessions wait to be written to the database.
    pub fn unwritten(&self) -> usize {
        self.0.session_log.waiting()
    }

    /// Whether a step of a session is being written to the database at this moment.
    pub fn is_recording(&self) -> bool {
        self.0.session_log.is_writing()
    }

    /// Whether every dialogue with a daemon goes on.
    pub fn is_turning(&self) -> bool {
        self.0.registry.all_turn()
    }

    /// Waits until no daemon runs any more, the firewall's rules are gone, and what happened is written down.
    pub async fn until_bare(&self) {
        self.0.registry.until_bare().await;
        while self.unwritten() > 0 {
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// How many steps of sessions were lost for good, because too many waited or the database refused them.
    pub fn lost(&self) -> u64 {
        self.0.session_log.dropped()
    }
}

/// Starts all tasks among `tasks`. After their stop they end by themselves, within a few seconds.
pub fn start(
    settings: Settings,
    host: HostIdentity,
    services: Services,
    admission: Admission,
    bus: &Bus,
    tasks: &Reconciler,
) -> DaemonsHandle {
    let here = Arc::new(Here {
        settings,
        host: host.id,
        key: host.key,
        services,
        admission,
        registry: Registry::default(),
        session_log: SessionLog::default(),
        names: Names::default(),
        tracker: tasks.tracker().clone(),
        stop: tasks.stop().clone(),
    });
    // What writes down goes on until nothing is left that reports.
    let silent = CancellationToken::new();
    let last = tasks.until(silent.clone());
    supervisor::start(&here, tasks, silent);
    reaper::start(&here, bus.subscribe(), tasks);
    names::start(&here, tasks);
    probe::start(&here, bus.subscribe(), tasks);
    meter::start(&here, tasks);
    turning::start(&here, tasks);
    drain::start(&here, tasks);
    session_log::start(&here, &last);
    reports::start(&here, &last);
    DaemonsHandle(here)
}

/// Why a call to a service brought nothing.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// No answer in time; it may still take effect.
    #[error("no answer in time")]
    Late,
    /// The service refused.
    #[error(transparent)]
    Refused(#[from] ServiceError),
}

/// A call with a limit: the database driver has none of its own.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, ServiceError>>) -> Result<T, Unanswered> {
    Ok(tokio::time::timeout(limit, call).await.map_err(|_elapsed| Unanswered::Late)??)
}
