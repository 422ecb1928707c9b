//! The state of this process, for its health page and its metrics.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    daemon::DaemonsHandle,
    services::admission::Admission,
    store::{Bus, Store},
    telemetry::VERSION,
    web::{Check, CheckState, Sample, SampleKind, StatusSource},
};

/// A snapshot that has not been confirmed for this long is told of.
const STALE: Duration = Duration::from_secs(15);

/// What the parts of this process say of themselves.
pub(super) struct Status {
    store: Store,
    bus: Bus,
    admission: Admission,
    ready: AtomicBool,
    daemons: OnceLock<DaemonsHandle>,
    missing: OnceLock<Vec<String>>,
}

impl Status {
    pub(super) fn new(store: Store, bus: Bus, admission: Admission) -> Self {
        Self {
            store,
            bus,
            admission,
            ready: AtomicBool::new(false),
            daemons: OnceLock::new(),
            missing: OnceLock::new(),
        }
    }

    /// The process is of use from now on.
    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// What this machine lacks for daemons.
    pub(super) fn lacks(&self, missing: Vec<String>) {
        drop(self.missing.set(missing));
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

    /// The process runs daemons from now on.
    pub(super) fn carries(&self, daemons: DaemonsHandle) {
        drop(self.daemons.set(daemons));
    }
}

impl StatusSource for Status {
    fn checks(&self) -> Vec<Check> {
        let started = self.ready.load(Ordering::Acquire);
        let age = self.admission.age();
        let fresh = age.is_some_and(|age| age < STALE);
        let database = self.store.without_primary().is_none();
        let check = |name, good, state, detail: &str| Check {
            name,
            state: if good { CheckState::Ok } else { state },
            detail: (!good).then(|| detail.to_owned()),
        };
        let missing = self.missing.get().map(|missing| missing.join("; ")).unwrap_or_default();
        let writable = self.admission.paused().is_none();
        vec![
            check("vpn", missing.is_empty(), CheckState::Degraded, &missing),
            check("started", started, CheckState::Failed, "still starting"),
            check("database", database, CheckState::Degraded, "no primary is known"),
            check("writable", writable, CheckState::Degraded, "paused for a move of the database: `postern resume`"),
            check("snapshot", fresh, CheckState::Degraded, "policy has not been confirmed for a while"),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point; these stay far below 2^52")]
    fn samples(&self) -> Vec<Sample> {
        let counters = self.bus.counters();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let plain = |name, help, kind, value| Sample { name, help, kind, labels: Vec::new(), value };
        let snapshot = self.admission.snapshot();
        let mut samples = vec![
            Sample {
                name: "postern_build_info",
                help: "The release of Postern.",
                kind: SampleKind::Gauge,
                labels: vec![("version", VERSION.to_owned())],
                value: 1.0,
            },
            plain("postern_bus_events_total", "Nudges heard.", SampleKind::Counter, count(&counters.heard)),
            plain(
                "postern_bus_resyncs_total",
                "Gaps in what was heard.",
                SampleKind::Counter,
                count(&counters.resyncs),
            ),
            plain("postern_bus_deaf_total", "Times that no beat came.", SampleKind::Counter, count(&counters.deaf)),
            plain(
                "postern_snapshot_revision",
                "The revision of the policy in memory.",
                SampleKind::Gauge,
                snapshot.revision.0 as f64,
            ),
            plain(
                "postern_snapshot_profiles",
                "Profiles in memory.",
                SampleKind::Gauge,
                snapshot.profile_count() as f64,
            ),
            plain(
                "postern_mongo_up",
                "Whether a primary is known.",
                SampleKind::Gauge,
                f64::from(u8::from(self.store.without_primary().is_none())),
            ),
        ];
        if let Some(age) = self.admission.age() {
            let help = "Seconds since the policy in memory was last known to be the newest.";
            samples.push(plain("postern_snapshot_age_seconds", help, SampleKind::Gauge, age.as_secs_f64()));
        }
        if let Some(lag) = counters.lag() {
            let help = "Seconds that this process's last beat took to come back to it.";
            samples.push(plain("postern_bus_lag_seconds", help, SampleKind::Gauge, lag.as_secs_f64()));
        }
        if let Some(daemons) = self.daemons.get() {
            let sessions = daemons.session_count() as f64;
            samples.push(plain("postern_vpn_sessions", "Live sessions of this host.", SampleKind::Gauge, sessions));
        }
        samples
    }
}
