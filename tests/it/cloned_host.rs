//! Two machines with one host key: a disk was copied, and both run.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api_rig::Caller;
use crate::commands::Installation;
use crate::support::mongod::{TestDatabase, shared};

const PATIENCE: Duration = Duration::from_mins(3);

/// A machine whose disk is a copy, at another address.
fn copy_of(machine: &Installation, database: &TestDatabase) -> Installation {
    let copy = Installation::shared(database);
    for what in ["data", "master.key"] {
        let target = copy.folder().join(what);
        let status =
            Command::new("cp").arg("--archive").arg(machine.folder().join(what)).arg(&target).status().unwrap();
        assert!(status.success(), "{}", target.display());
    }
    let text = fs::read_to_string(copy.config()).unwrap();
    fs::write(copy.config(), text.replace("203.0.113.10", "198.51.100.99")).unwrap();
    copy
}

fn ops(machine: &Installation, path: &str) -> (u16, Value) {
    let answer = Caller::new(([127, 0, 0, 1], machine.ops).into(), None).send("GET", path, &[], None);
    (answer.status, answer.json())
}

/// How a check of `/readyz` is.
fn check(machine: &Installation, name: &str) -> String {
    let (_, health) = ops(machine, "/readyz?verbose");
    let checks = health["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {health}"));
    check["state"].as_str().unwrap().to_owned()
}

#[track_caller]
fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn answers(machine: &Installation) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", machine.ops)).is_ok()
}

#[test]
fn a_copy_is_refused_in_words_and_takes_over_by_itself_once_the_original_is_gone() {
    let database = shared().database();
    let mut original = Installation::shared(&database);
    original.must(&["migrate", "apply"]);
    let token = original.must(&["token", "create", "--name", "test", "--role", "owner"]).trim().to_owned();
    original.serve();
    let owner = Caller::new(([127, 0, 0, 1], original.admin).into(), Some(&token));
    let host = || owner.get("/hosts")["items"][0].clone();
    let before = host();

    let mut copy = copy_of(&original, &database);
    copy.start();
    until("the copy to be refused", || answers(&copy) && check(&copy, "cloned_host") == "degraded");
    assert!(copy.log().contains("another machine with this host's key is alive"), "{}", copy.log());
    let (status, health) = ops(&copy, "/readyz");
    assert_eq!((status, &health["failed"][0]), (503, &Value::from("started")), "{health}");
    assert_eq!(ops(&copy, "/healthz").0, 200);

    // The original is told, and stays what it is.
    until("the original to be told", || check(&original, "cloned_host") == "degraded");
    assert_eq!(ops(&original, "/readyz").0, 200, "a copy takes no host out of service");
    until("everybody to be told", || host()["problems"][0]["code"] == "cloned_host");
    assert_eq!(host()["public_address"], before["public_address"]);
    assert_eq!(owner.get("/hosts")["items"].as_array().unwrap().len(), 1);

    // A crash of the original, and its next start: the same machine.
    original.kill();
    original.serve();
    assert_eq!(check(&original, "started"), "ok");
    assert_eq!(check(&copy, "started"), "failed");
    let doctor = copy.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&doctor.out).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|check| check["code"] == "cloned_host");
    assert_eq!(found.unwrap_or_else(|| panic!("{report}"))["result"], "fail");

    original.stop();
    until("the copy to take over", || check(&copy, "started") == "ok");
    assert_eq!(check(&copy, "cloned_host"), "ok");
    let owner = Caller::new(([127, 0, 0, 1], copy.admin).into(), Some(&token));
    assert_eq!(owner.get("/hosts")["items"][0]["public_address"], "198.51.100.99");

    // Now the original is the later one.
    original.start();
    until("the original to be refused", || answers(&original) && check(&original, "cloned_host") == "degraded");
    assert_eq!(check(&original, "started"), "failed");
    assert_eq!(check(&copy, "started"), "ok");
    assert_eq!(owner.get("/hosts")["items"][0]["public_address"], "198.51.100.99");
}
