//! Every metric there is. What is not here cannot be recorded, and dashboards and alerts may name nothing else.
//!
//! Names have base units (`_seconds`, `_bytes`), counters end in `_total`. Labels are of [`LABELS`], and their values
//! come from closed sets: words of this program, templates of routes, names of servers. Never a user, a profile, an
//! address or the id of a request: a label's values are kept for months, and each makes a series.

use std::marker::PhantomData;

use super::{About, Counter, Gauge, Histogram, Kind, Metric};

/// The labels that metrics may have.
pub const LABELS: &[&str] = &[
    "action_class",
    "code",
    "commit",
    "direction",
    "gui_major",
    "job",
    "kind",
    "method",
    "op",
    "platform",
    "proto",
    "reason",
    "result",
    "route",
    "server",
    "state",
    "status",
    "surface",
    "target",
    "task",
    "version",
];

/// Of requests, in seconds; 50 ms is what lists and searches promise.
const REQUEST: &[f64] = &[0.01, 0.05, 0.25, 1.0, 5.0];
/// Of calls to the database, in seconds.
const CALL: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0];
/// Of runs of jobs, in seconds.
const RUN: &[f64] = &[0.1, 1.0, 10.0, 60.0];
/// Of runs of tasks, in seconds.
const TASK: &[f64] = &[0.01, 0.1, 1.0, 10.0];
/// Of connecting clients, in seconds.
const CONNECT: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Of probes between hosts, in seconds; after three a probe is over.
const PROBE: &[f64] = &[0.01, 0.05, 0.2, 1.0, 3.0];

macro_rules! catalogue {
    ($($constant:ident: $kind:ident $(($buckets:ident))? = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric<$kind, { <[&str]>::len(&[$($label),*]) }> = Metric {
                about: About {
                    name: $name,
                    kind: Kind::$kind,
                    help: $help,
                    labels: &[$($label),*],
                    buckets: catalogue!(@buckets $($buckets)?),
                },
                kind: PhantomData,
            };
        )*

        /// All of them.
        pub const CATALOGUE: &[About] = &[$($constant.about),*];
    };
    (@buckets $buckets:ident) => { $buckets };
    (@buckets) => { &[] };
}

catalogue! {
    BUILD_INFO: Gauge = "postern_build_info" ["version", "commit"]
        "The release of Postern and the commit that it was built from, always 1";

    HTTP_REQUESTS: Counter = "postern_http_requests_total" ["surface", "route", "method", "status"]
        "Requests that were answered, by route and class of status";
    HTTP_SECONDS: Histogram(REQUEST) = "postern_http_request_duration_seconds" ["surface", "route"]
        "How long answers took";
    OIDC_LOGINS: Counter = "postern_oidc_logins_total" ["surface", "result", "reason"]
        "Sign-ins at the identity provider that came to an end";

    VPN_SESSIONS: Gauge = "postern_vpn_sessions" ["server"] "Live VPN sessions of this host";
    VPN_CONNECTS: Counter = "postern_vpn_connects_total" ["server", "result", "reason"]
        "Answers to clients that connected";
    VPN_CONNECT_SECONDS: Histogram(CONNECT) = "postern_vpn_connect_duration_seconds" []
        "From a client's question to its session";
    VPN_CLIENTS: Gauge = "postern_vpn_clients" ["platform", "gui_major"]
        "Live VPN sessions of this host, by the client's operating system and program";
    VPN_BYTES: Counter = "postern_vpn_bytes_total" ["server", "direction"]
        "Traffic of clients since this process started, as the host sees it";
    OPENVPN_UP: Gauge = "postern_openvpn_up" ["server"] "Whether the daemon of a server that is to run here serves clients";
    OPENVPN_RESTARTS: Counter = "postern_openvpn_restarts_total" ["reason"]
        "Daemons that ended by themselves, hung, could not be started, or were started anew (settings, unreadable clients)";
    FIREWALL_REPAIRS: Counter = "postern_firewall_repairs_total" ["reason"]
        "Times that the firewall's table was missing or changed, or forwarding was off, and was put right";
    PROBE_SUCCESS: Gauge = "postern_probe_success" ["target", "proto"]
        "Whether this host's last probe of another host's daemons, at its public address, was answered";
    PROBE_SECONDS: Histogram(PROBE) = "postern_probe_duration_seconds" [] "Time to answer a probe, in seconds";
    CANARY_SUCCESS: Gauge = "postern_canary_success" ["target", "proto"]
        "The success of probes under its former name, until the next release";
    CANARY_SECONDS: Histogram(PROBE) = "postern_canary_duration_seconds" []
        "The times of probes under their former name, until the next release";

    DRAIN_SESSIONS: Gauge = "postern_drain_sessions" ["state"]
        "What became of the sessions of this host since it was last told to leave service: moved, waiting or cut off";

    HOST_STATE: Gauge = "postern_host_state" ["state"] "The state of this host's process; 1 for the present one";
    HOST_PROBLEMS: Gauge = "postern_host_problems" ["code"]
        "How many things of this kind are wrong with this host, as /readyz and the API name them; 0 is well";
    HOST_CLOCK_OFFSET: Gauge = "postern_host_clock_offset_seconds" []
        "How far this host's clock was ahead of the database's at the last heartbeat";
    BUS_EVENTS: Counter = "postern_bus_events_total" ["kind"] "Nudges that were heard";
    BUS_LAG: Gauge = "postern_bus_lag_seconds" []
        "How long this process's last beat took to come back to it; absent while another process beats";
    BUS_RESYNCS: Counter = "postern_bus_resyncs_total" ["reason"]
        "Times that nudges may have been missed, so that all was compared";
    MONGO_UP: Gauge = "postern_mongo_up" [] "Whether a primary of the database is known";
    MONGO_OP_SECONDS: Histogram(CALL) = "postern_mongo_op_duration_seconds" ["op"] "How long calls to the database took";
    MONGO_ERRORS: Counter = "postern_mongo_errors_total" ["reason"] "Calls to the database that failed";
    SPOOL_EVENTS: Gauge = "postern_spool_events" [] "Steps of sessions that wait to be written to the database";
    SPOOL_OLDEST: Gauge = "postern_spool_oldest_seconds" [] "How long the oldest of them has waited";
    SPOOL_DROPPED: Counter = "postern_spool_dropped_total" [] "Steps of sessions that were lost for good";
    SNAPSHOT_AGE: Gauge = "postern_snapshot_age_seconds" []
        "Since when the policy in memory is not known to be the newest";
    SNAPSHOT_REVISION: Gauge = "postern_snapshot_revision" [] "The revision of the policy in memory";
    PROFILES: Gauge = "postern_profiles" ["state"] "Profiles in the cluster, as the policy in memory has them";
    JOB_LAST_SUCCESS: Gauge = "postern_job_last_success_timestamp_seconds" ["job"]
        "When a run of this job last ended well, on whatever host";
    JOB_SECONDS: Histogram(RUN) = "postern_job_duration_seconds" ["job"] "How long the runs on this host took";
    JOB_LEADER: Gauge = "postern_job_leader" ["job"] "Whether this process made the last run of this job";
    TASK_RUNS: Counter = "postern_task_runs_total" ["task", "result"]
        "Runs of this process's recurring tasks, by how they ended";
    TASK_LAST_SUCCESS: Gauge = "postern_task_last_success_timestamp_seconds" ["task"]
        "When a run of this task last ended as it should, in this process";
    TASK_SECONDS: Histogram(TASK) = "postern_task_duration_seconds" ["task"] "How long the runs took";
    AUDIT_EVENTS: Counter = "postern_audit_events_total" ["action_class"]
        "Entries of the audit log that this process wrote";
    AUDIT_VERIFIED: Gauge = "postern_audit_verified_timestamp_seconds" []
        "When the whole audit log was last looked through";
    AUDIT_BROKEN: Gauge = "postern_audit_chain_broken" []
        "Whether that look found another trail than what was recorded";
    CERT_EXPIRY: Gauge = "postern_cert_expiry_timestamp_seconds" ["kind"]
        "When the certificate of this kind that ends first will end";
}
