//! The numbers of a process: only what the catalogue has, few series, nobody's name among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern::domain::clock::{Clock as _, ManualClock, SystemClock};
use postern::domain::role::Role;
use postern::metrics::catalogue::{CATALOGUE, LABELS};
use postern::metrics::{Kind, Metrics};
use postern::web;
use postern::web::RouteInfo;

use crate::api_rig::{Caller, Rig, settings};
use crate::commands::Installation;
use crate::console_rig::{Console, SAME_ORIGIN};
use crate::self_service_rig::account;
use crate::support::mongod::shared;

/// More than this, and Prometheus suffers from each host.
const MOST_SERIES: usize = 2000;
const PATIENCE: Duration = Duration::from_mins(1);

/// One line of an exposition.
#[derive(Debug)]
pub(crate) struct Series {
    name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Series {
    /// The name of its metric in the catalogue.
    pub(crate) fn metric(&self) -> &'static str {
        let parts: &[&str] = &["", "_bucket", "_sum", "_count"];
        let found = CATALOGUE.iter().find(|about| {
            let parts = if about.kind == Kind::Histogram { &parts[1..] } else { &parts[..1] };
            parts.iter().any(|part| self.name.strip_suffix(part) == Some(about.name))
        });
        found.unwrap_or_else(|| panic!("{self:?} is not in the catalogue")).name
    }
}

/// What a process tells at `/metrics`, read strictly.
#[track_caller]
pub(crate) fn scrape(ops: &Caller) -> Vec<Series> {
    let answer = ops.send("GET", "/metrics", &[], None);
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.body.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {answer:?}"));
    let (notes, samples): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
    let types = notes.iter().filter_map(|note| note.strip_prefix("# TYPE ")).collect::<Vec<_>>();
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len(), "told twice: {types:?}");
    assert_eq!(samples.iter().collect::<BTreeSet<_>>().len(), samples.len());
    samples.into_iter().map(read).collect()
}

fn read(line: &str) -> Series {
    let (what, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = what.split_once('{').unwrap_or((what, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    });
    Series { name: name.to_owned(), labels: pairs.collect(), value: value.parse().unwrap() }
}

/// Only metrics and labels of the catalogue, few of them, and nothing in them that points at a person.
#[track_caller]
fn assert_modest(series: &[Series]) {
    assert!(series.len() < MOST_SERIES, "{} series", series.len());
    for one in series {
        let about = CATALOGUE.iter().find(|about| about.name == one.metric()).unwrap();
        let labels: BTreeSet<&str> = one.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        assert_eq!(labels, about.labels.iter().copied().collect(), "{one:?}");
        assert!(labels.iter().all(|label| LABELS.contains(label)), "{one:?}");
        for value in one.labels.values() {
            let ids = ["usr_", "prf_", "ses_", "req_", "lgn_", "tok_", "hst_", "org_"];
            assert!(ids.iter().all(|id| !value.contains(id)), "an id in {one:?}");
            assert!(!value.contains('@') && value.parse::<std::net::IpAddr>().is_err(), "{one:?}");
            assert!(value.len() < 64, "{one:?}");
        }
    }
}

fn path_of(route: &RouteInfo, round: usize) -> String {
    let filled = route
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { format!("usr_{round:026}") } else { part.to_owned() });
    filled.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stay_few_and_name_nobody_whatever_is_asked() {
    let console = Console::new().await;
    let rig = &console.rig;
    let tables = web::routes();
    let mut browser = console.signed_in(Role::Owner);
    let mut refused = console.stranger();
    refused.sign_in(&console.issuer, &account("nobody-knows"));
    let listeners = [
        (rig.addresses.public.unwrap(), tables.public),
        (rig.addresses.admin.unwrap(), tables.admin),
        (rig.addresses.ops, tables.ops),
    ];
    for round in 0..3 {
        for (address, table) in &listeners {
            let owner = Caller::new(*address, Some(&rig.tokens["owner"]));
            let nobody = Caller::new(*address, None);
            for route in table {
                let path = path_of(route, round);
                // One that never ends would hold the walk up.
                if path.ends_with("/events") || path.ends_with("/live") {
                    continue;
                }
                for method in ["GET", "OPTIONS", route.method.as_str(), "TRACE"] {
                    owner.send(method, &path, &[("content-type", "application/json")], None);
                }
                nobody.send(route.method.as_str(), &format!("{path}?q=ana@example.com&x={round}"), &[], None);
            }
            for invented in ["/x", "/x/ana@example.com", "/a/../b", "//", "/api/v1/none", "/%00"] {
                nobody.send("GET", &format!("{invented}{round}"), &[], None);
            }
        }
        for route in listeners[1].1.iter().filter(|route| !route.path.starts_with("/api/")) {
            let path = path_of(route, round);
            if route.method == "GET" && !path.ends_with("/events") && !path.ends_with("/live") {
                browser.send("GET", &path, &[SAME_ORIGIN], None);
            }
        }
    }
    let series = scrape(&Caller::new(rig.addresses.ops, None));
    assert_modest(&series);
    let count = |name: &str, label: &str, value: &str| -> f64 {
        series
            .iter()
            .filter(|s| s.metric() == name && s.labels.get(label).is_some_and(|v| v == value))
            .map(|s| s.value)
            .sum()
    };
    assert!(count("postern_http_requests_total", "route", "none") > 0.0);
    assert!(count("postern_http_requests_total", "method", "other") > 0.0);
    assert!(count("postern_http_requests_total", "route", "/api/v1/users/{id}") > 0.0);
    assert!(count("postern_oidc_logins_total", "result", "success") > 0.0);
    assert!(count("postern_oidc_logins_total", "reason", "not_invited") > 0.0);
    assert!(count("postern_mongo_op_duration_seconds", "op", "read") > 0.0);
    assert!(count("postern_mongo_op_duration_seconds", "op", "transaction") > 0.0);
}

#[test]
fn a_process_tells_all_that_a_host_without_clients_has() {
    let mut machine = Installation::private();
    machine.serve();
    let ops = Caller::new(([127, 0, 0, 1], machine.ops).into(), None);
    let expected = [
        "postern_audit_events_total",
        "postern_build_info",
        "postern_bus_resyncs_total",
        "postern_cert_expiry_timestamp_seconds",
        "postern_host_clock_offset_seconds",
        "postern_host_state",
        "postern_http_requests_total",
        "postern_job_duration_seconds",
        "postern_job_last_success_timestamp_seconds",
        "postern_job_leader",
        "postern_mongo_op_duration_seconds",
        "postern_mongo_up",
        "postern_profiles",
        "postern_snapshot_age_seconds",
        "postern_snapshot_revision",
        "postern_spool_events",
    ];
    let deadline = Instant::now() + PATIENCE;
    // Some come with the first beat or the first look.
    let series = loop {
        let series = scrape(&ops);
        let told: BTreeSet<&str> = series.iter().map(Series::metric).collect();
        if expected.iter().all(|name| told.contains(name)) {
            break series;
        }
        assert!(Instant::now() < deadline, "only {told:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_modest(&series);
    let now = |name: &str, value: &str| {
        let found = series.iter().find(|one| one.metric() == name && one.labels.values().all(|label| label == value));
        found.unwrap_or_else(|| panic!("no {name} of {value:?}")).value
    };
    assert_eq!((now("postern_host_state", "online"), now("postern_host_state", "draining")), (1.0, 0.0));
    assert_eq!((now("postern_mongo_up", ""), now("postern_profiles", "active")), (1.0, 0.0));
    assert!(now("postern_cert_expiry_timestamp_seconds", "authority") > 1.7e9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_measured_by_the_databases() {
    let ahead = ManualClock::new(SystemClock.now() + jiff::SignedDuration::from_mins(2));
    let rig = Rig::timed(shared().database(), settings(), Arc::new(ahead)).await;
    rig.host().await;
    let text = rig.services.metrics().exposition(&Metrics::default());
    let told = text.lines().find_map(|line| line.strip_prefix("postern_host_clock_offset_seconds "));
    let offset: f64 = told.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    // It stands still, while the database's goes on.
    assert!((60.0..=120.0).contains(&offset), "{offset}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frame_around_a_rig_counts_by_surface() {
    let rig = Rig::new().await;
    rig.owner().get("/users");
    Caller::new(rig.addresses.public.unwrap(), None).send("GET", "/help", &[], None);
    let series = scrape(&Caller::new(rig.addresses.ops, None));
    for (surface, route) in [("console", "/api/v1/users"), ("portal", "/help")] {
        let one = series.iter().find(|one| {
            let is = |label: &str, value: &str| one.labels.get(label).is_some_and(|found| found == value);
            one.metric() == "postern_http_requests_total" && is("surface", surface) && is("route", route)
        });
        let one = one.unwrap_or_else(|| panic!("{surface} {route}: {series:?}"));
        assert_eq!((one.value, &*one.labels["status"], &*one.labels["method"]), (1.0, "2xx", "GET"));
    }
}
