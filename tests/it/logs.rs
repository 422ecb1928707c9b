//! What a running process logs, and how it is made to log more.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::api_rig::Caller;
use crate::commands::Installation;
use crate::support::mongod::shared;

/// The lines of the log, once `enough` of them are there.
#[track_caller]
fn lines(machine: &Installation, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        // The last one may still be being written.
        let lines: Vec<Value> = machine.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if enough(&lines) {
            return lines;
        }
        assert!(Instant::now() < deadline, "{}", machine.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn told(lines: &[Value], event: &str) -> usize {
    lines.iter().filter(|line| line["event"] == event).count()
}

#[test]
fn a_running_process_says_more_for_a_while() {
    let database = shared().database();
    let mut machine = Installation::shared(&database);
    machine.must(&["migrate", "apply"]);
    machine.serve();
    let is_detail = |line: &&Value| line["level"] == "debug";
    machine.signal(Signal::USR1);
    let lines_with_detail = lines(&machine, |lines| lines.iter().any(|line| is_detail(&line)));
    let switched = lines_with_detail.iter().position(|line| line["event"] == "log.detail").unwrap();
    assert_eq!(lines_with_detail[switched]["more"], true);
    assert!(lines_with_detail.iter().position(|line| is_detail(&line)).unwrap() > switched, "{lines_with_detail:?}");
    machine.signal(Signal::USR1);
    let over = lines(&machine, |lines| told(lines, "log.detail") == 2);
    assert_eq!(over.iter().rfind(|line| line["event"] == "log.detail").unwrap()["more"], false);
}

#[test]
fn a_request_is_logged_with_the_trace_that_it_belongs_to() {
    let database = shared().database();
    let mut machine = Installation::shared(&database);
    machine.must(&["migrate", "apply"]);
    machine.serve();
    let caller = Caller::new(([127, 0, 0, 1], machine.admin).into(), None);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for value in [format!("00-{trace}-00f067aa0ba902b7-01"), "00-what-ever-01".to_owned()] {
        assert_eq!(caller.send("GET", "/api/v1/users", &[("traceparent", &value)], None).status, 401);
    }
    let lines = lines(&machine, |lines| told(lines, "http.request") >= 2);
    let traces: Vec<Option<&str>> = lines
        .iter()
        .filter(|line| line["event"] == "http.request" && line["route"] == "/api/v1/users")
        .map(|line| line["trace_id"].as_str())
        .collect();
    assert_eq!(traces, [Some(trace), None]);
}
