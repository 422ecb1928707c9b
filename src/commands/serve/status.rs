//! The state of this process, for its health pages and its metrics.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::daemon::DaemonsHandle;
use crate::domain::drain::Drain;
use crate::domain::ids::HostId;
use crate::domain::problem::{Problem, ProblemCode};
use crate::domain::profile::ProfileState;
use crate::domain::server::DaemonState;
use crate::domain::task::TaskState;
use crate::metrics::Metrics;
use crate::metrics::catalogue::{
    BUILD_INFO, BUS_LAG, CERT_EXPIRY, HOST_PROBLEMS, HOST_STATE, MONGO_UP, PROFILES, SNAPSHOT_AGE, SNAPSHOT_REVISION,
};
use crate::services::Services;
use crate::services::access::admission::{Admission, STALE};
use crate::store::{Bus, Store};
use crate::telemetry::{COMMIT, VERSION};
use crate::web::{Check, CheckState, StatusSource};

/// The states of a process, as metrics name them.
const STATES: [&str; 4] = ["starting", "online", "draining", "stopping"];

/// What the parts of this process say of themselves.
pub(super) struct Status {
    store: Store,
    bus: Bus,
    services: Services,
    admission: Admission,
    stop: CancellationToken,
    ready: OnceLock<Instant>,
    host: OnceLock<HostId>,
    daemons: OnceLock<DaemonsHandle>,
}

impl Status {
    /// Of a process that ends when `stop` is cancelled.
    pub(super) fn new(
        store: Store,
        bus: Bus,
        services: Services,
        admission: Admission,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            bus,
            services,
            admission,
            stop,
            ready: OnceLock::new(),
            host: OnceLock::new(),
            daemons: OnceLock::new(),
        }
    }

    /// The process is of use from now on, as this host.
    pub(super) fn ready(&self, host: HostId) {
        let _ = self.host.set(host);
        let _ = self.ready.set(Instant::now());
    }

    /// What this machine lacks for daemons.
    pub(super) fn lacks(&self, missing: &[String]) {
        let detail = Some(missing.join("; ")).filter(|missing| !missing.is_empty());
        self.services.problems().set(ProblemCode::Vpn, None, detail, self.services.now());
    }

    /// How many sessions this host carries.
    pub(super) fn session_count(&self) -> usize {
        self.daemons.get().map_or(0, DaemonsHandle::session_count)
    }

    /// Whether no step of a session is being written down.
    pub(super) fn records_nothing(&self) -> bool {
        self.daemons.get().is_none_or(|daemons| !daemons.is_recording())
    }

    /// Whether the process runs daemons.
    pub(super) fn has_daemons(&self) -> bool {
        self.daemons.get().is_some()
    }

    /// The daemons of the process, if it runs any.
    pub(super) fn daemons(&self) -> Option<&DaemonsHandle> {
        self.daemons.get()
    }

    /// Whether the work of the process goes on.
    pub(super) fn is_turning(&self) -> bool {
        self.daemons.get().is_none_or(DaemonsHandle::is_turning)
    }

    /// The process runs daemons from now on.
    pub(super) fn carries(&self, daemons: DaemonsHandle) {
        drop(self.daemons.set(daemons));
    }

    /// The order to leave service, while it stands.
    fn drain(&self) -> Option<Drain> {
        self.admission.snapshot().drain_of(*self.host.get()?)
    }

    fn state(&self) -> &'static str {
        match () {
            () if self.stop.is_cancelled() => "stopping",
            () if !self.is_started() => "starting",
            () if self.drain().is_some() => "draining",
            () => "online",
        }
    }

    /// What is wrong with this host: what its parts found, and daemons that failed for whatever other reason.
    fn problems(&self) -> Vec<Problem> {
        let mut known = self.services.problems().list();
        let daemons = self.daemons.get().map(DaemonsHandle::statuses).unwrap_or_default();
        for daemon in daemons.into_iter().filter(|daemon| daemon.state == DaemonState::Failed) {
            let server_id = Some(daemon.key.server_id);
            if !known.iter().any(|problem| problem.code.is_about_a_daemon() && problem.server_id == server_id) {
                let detail = daemon.detail.unwrap_or_else(|| "the daemon does not run".to_owned());
                let since = self.services.now();
                known.push(Problem { code: ProblemCode::DaemonFailed, server_id, detail, since });
            }
        }
        known
    }

    /// Whether new traffic should go elsewhere.
    fn in_service(&self) -> Check {
        if self.stop.is_cancelled() {
            return Check::new("in_service", CheckState::Failed).because("this process is ending");
        }
        if self.services.hosts().is_displaced() {
            let why = "another machine with this host's key took its place: newcomers are sent to other hosts";
            return Check::new("in_service", CheckState::Failed).because(why);
        }
        let Some(drain) = self.drain() else { return Check::new("in_service", CheckState::Ok) };
        let since = self.services.now().duration_since(drain.started_at).unsigned_abs();
        let why = "this host was ordered out of service; it stays so until it is resumed";
        Check::new("in_service", CheckState::Failed).because(why).aged(since)
    }

    fn mongo(&self) -> Check {
        let mongo = match self.store.without_primary() {
            None => Check::new("mongo", CheckState::Ok),
            Some(away) => Check::new("mongo", CheckState::Degraded).because("no primary is known").aged(away),
        };
        Check { last_error: self.store.last_trouble(), ..mongo }
    }

    fn snapshot(&self) -> Check {
        match self.admission.age() {
            None => Check::new("snapshot", CheckState::Degraded).because("policy was never read"),
            Some(age) if age < STALE => Check::new("snapshot", CheckState::Ok).aged(age),
            Some(age) => {
                let why = "policy has not been confirmed for a while";
                Check::new("snapshot", CheckState::Degraded).because(why).aged(age)
            }
        }
    }
}

/// Whether a check of the health pages is what this process's parts found: the database and the snapshot are looked at
/// when somebody asks, and a host that answers can be heard of.
fn is_told_by_problems(code: ProblemCode) -> bool {
    !matches!(code, ProblemCode::Mongo | ProblemCode::Snapshot | ProblemCode::Report | ProblemCode::Offline)
}

impl StatusSource for Status {
    fn is_started(&self) -> bool {
        self.ready.get().is_some()
    }

    fn checks(&self) -> Vec<Check> {
        let started = match self.ready.get() {
            Some(since) => Check::new("started", CheckState::Ok).aged(since.elapsed()),
            None => Check::new("started", CheckState::Failed).because("still starting"),
        };
        let writable = match self.admission.paused() {
            Some(_) => {
                let why = "paused for a move of the database: `postern resume`";
                Check::new("writable", CheckState::Degraded).because(why)
            }
            None => Check::new("writable", CheckState::Ok),
        };
        let mut checks = vec![started, self.in_service(), self.mongo(), writable, self.snapshot()];
        let (known, now) = (self.problems(), self.services.now());
        checks.extend(ProblemCode::ALL.iter().filter(|code| is_told_by_problems(**code)).map(|code| {
            let mine = known.iter().filter(|problem| problem.code == *code);
            Check::of(*code, mine.cloned().collect(), now)
        }));
        checks
    }

    fn tasks(&self) -> Vec<TaskState> {
        self.services.task_states()
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point; these stay far below 2^52")]
    fn measure(&self, now: &Metrics) {
        now.set(&BUILD_INFO, [VERSION, COMMIT], 1.0);
        for state in STATES {
            now.set(&HOST_STATE, [state], f64::from(u8::from(state == self.state())));
        }
        for check in self.checks() {
            if let Some(code) = ProblemCode::ALL.iter().find(|code| code.as_str() == check.name) {
                let count = check.problems.len().max(usize::from(check.state != CheckState::Ok));
                now.set(&HOST_PROBLEMS, [code.as_str()], count as f64);
            }
        }
        now.set(&MONGO_UP, [], f64::from(u8::from(self.store.without_primary().is_none())));
        if let Some(lag) = self.bus.counters().lag() {
            now.set(&BUS_LAG, [], lag.as_secs_f64());
        }
        if let Some(age) = self.admission.age() {
            now.set(&SNAPSHOT_AGE, [], age.as_secs_f64());
        }
        let snapshot = self.admission.snapshot();
        now.set(&SNAPSHOT_REVISION, [], snapshot.revision.0 as f64);
        let mut profiles = BTreeMap::from([("active", 0), ("expired", 0), ("revoked", 0)]);
        let present = self.services.now();
        for profile in snapshot.profiles() {
            let state = match profile.state {
                ProfileState::Revoked => "revoked",
                ProfileState::Active if profile.expires_at <= present => "expired",
                ProfileState::Active => "active",
            };
            *profiles.entry(state).or_default() += 1;
        }
        for (state, count) in profiles {
            now.set(&PROFILES, [state], f64::from(count));
        }
        if let Some(end) = self.services.network().authorities_end() {
            now.set(&CERT_EXPIRY, ["authority"], end.as_second() as f64);
        }
        if let Some(daemons) = self.daemons.get() {
            daemons.measure(now);
        }
    }
}
