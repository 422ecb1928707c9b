//! The recurring work of a process is seen: at its ops listener, in the API, in its numbers, by the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use postern::domain::job::Job;
use serde_json::Value;

use crate::api_rig::Caller;
use crate::commands::Installation;
use crate::metrics::scrape;

const PATIENCE: Duration = Duration::from_mins(1);

/// The tasks of a process with all roles, in the order in which they start: those before the jobs, and those after them.
/// (A service manager with a watchdog adds one.)
const FIRST: [&str; 5] = ["log-repeats", "bus-beat", "policy", "heartbeat", "pause-confirmation"];
const LAST: [&str; 14] = [
    "removed-hosts",
    "certificates",
    "daemons",
    "session-ends",
    "superseded-sessions",
    "host-names",
    "reachability",
    "usage-samples",
    "dialogue-watch",
    "drain-progress",
    "session-log",
    "traffic-counters",
    "daemon-reports",
    "snapshot-file",
];

fn all() -> Vec<&'static str> {
    FIRST.into_iter().chain(Job::ALL.iter().map(|job| job.as_str())).chain(LAST).collect()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_recurring_task_of_a_process_is_in_the_api_in_its_numbers_and_on_the_command_line() {
    let mut machine = Installation::private();
    machine.serve();
    let ops = Caller::new(([127, 0, 0, 1], machine.ops).into(), None);
    let deadline = Instant::now() + PATIENCE;
    // Each has run well once.
    let numbers = loop {
        let mut numbers = BTreeMap::<&'static str, BTreeSet<String>>::new();
        for one in scrape(&ops).into_iter().filter(|one| one.labels.get("result").is_none_or(|it| it == "done")) {
            if let Some(task) = one.labels.get("task") {
                numbers.entry(one.metric()).or_default().insert(task.clone());
            }
        }
        let known = |name| numbers.get(name).is_some_and(|tasks: &BTreeSet<String>| tasks.len() >= all().len());
        if known("postern_task_last_success_timestamp_seconds") {
            break numbers;
        }
        let missing = |tasks: &BTreeSet<String>| all().into_iter().filter(|task| !tasks.contains(*task)).collect();
        let missing: BTreeMap<_, Vec<&str>> = numbers.iter().map(|(name, tasks)| (name, missing(tasks))).collect();
        assert!(Instant::now() < deadline, "{missing:?} in {}", ops.send("GET", "/tasks", &[], None).body);
        std::thread::sleep(Duration::from_millis(50));
    };
    for name in
        ["postern_task_runs_total", "postern_task_duration_seconds", "postern_task_last_success_timestamp_seconds"]
    {
        let named: BTreeSet<&str> = numbers[name].iter().map(String::as_str).collect();
        assert_eq!(named, all().into_iter().collect(), "{name}");
    }

    let token = machine.must(&["token", "create", "--name", "test", "--role", "auditor"]);
    let api = Caller::new(([127, 0, 0, 1], machine.admin).into(), Some(token.trim()));
    let listed = api.get("/tasks")["items"].take();
    assert_eq!(names(&listed), all());
    for task in listed.as_array().unwrap() {
        assert_eq!((&task["last_run"]["result"], &task["host"]), (&"done".into(), &listed[0]["host"]), "{task:#}");
        let [last, next] = ["last_success_at", "next_run_at"].map(|field| task[field].as_str().unwrap());
        let [last, next]: [jiff::Timestamp; 2] = [last, next].map(|at| at.parse().unwrap());
        let period = jiff::SignedDuration::from_secs(task["period_seconds"].as_i64().unwrap());
        // It counts from a beginning, and shows what is a moment old.
        assert!(next <= last + period, "{task:#}");
    }
    assert_eq!(names(&ops.send("GET", "/tasks", &[], None).json()["items"]), names(&listed));

    let shown: Value = serde_json::from_str(&machine.must(&["jobs", "list", "--json"])).unwrap();
    assert_eq!(names(&shown["tasks"]), names(&listed));
    let lines = machine.must(&["jobs", "list"]);
    for name in all() {
        assert!(lines.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {lines}");
    }
    machine.stop();
}

#[test]
fn without_a_process_there_are_jobs_and_no_tasks() {
    let machine = Installation::private();
    machine.must(&["migrate", "apply"]);
    let shown: Value = serde_json::from_str(&machine.must(&["jobs", "list", "--json"])).unwrap();
    assert_eq!((names(&shown["items"]).len(), &shown["tasks"]), (Job::ALL.len(), &Value::Null));
    assert!(machine.must(&["jobs", "list"]).contains("No process on this machine tells of its tasks"));
}
