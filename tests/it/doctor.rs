//! `postern doctor`, as an operator runs it.

use std::fs;
use std::net::TcpListener;

use serde_json::Value;

use crate::commands::{Installation, Ran};
use crate::support::mongod;
use crate::support::mongod::{Mongod, Options};

fn findings(ran: &Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    report["checks"].as_array().unwrap().clone()
}

#[track_caller]
fn finding(ran: &Ran, check: &str) -> Value {
    let found = findings(ran).into_iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no check {check}: {ran:?}"))
}

/// A check that failed or warned, with words of its cause and of what to do.
#[track_caller]
fn assert_trouble(ran: &Ran, check: &str, result: &str, cause: &str, fix: &str) {
    let found = finding(ran, check);
    assert_eq!(found["result"], result, "{found}");
    assert!(found["cause"].as_str().unwrap().contains(cause), "{found}");
    assert!(found["fix"].as_str().unwrap().contains(fix), "{found}");
}

#[test]
fn a_fresh_machine_is_in_order_and_stays_untouched() {
    let machine = Installation::private();
    let ran = machine.run(&["doctor"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.err, "", "what was found is on standard output");
    assert!(ran.out.contains("OpenVPN 2.") && ran.out.ends_with("checks are ok\n"), "{ran:?}");
    assert!(!machine.folder().join("data").exists(), "looking makes nothing");
}

#[test]
fn beside_a_running_serve_what_it_holds_is_told_as_its_own() {
    let mut machine = Installation::private();
    machine.serve();
    let ran = machine.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for listener in ["listen_public", "listen_admin", "listen_ops"] {
        let found = finding(&ran, listener);
        assert!(found["detail"].as_str().unwrap().contains("held by postern itself"), "{found}");
    }
    for check in ["capped_tailable", "transactions", "replica_set", "clock", "migrations", "cluster_key", "host"] {
        assert_eq!(finding(&ran, check)["result"], "ok");
    }
    assert!(finding(&ran, "host")["detail"].as_str().unwrap().contains("hst_"));
    machine.stop();
    // Nobody runs now: the doctor brings the database up for itself, and lets it go.
    assert_eq!(machine.run(&["doctor"]).code, Some(0));
}

#[test]
fn each_trouble_is_named_with_its_way_out() {
    let database = mongod::shared().database();
    let machine = Installation::shared(&database);
    let config = fs::read_to_string(machine.config()).unwrap();

    let ran = machine.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_trouble(&ran, "migrations", "fail", "0001-first", "postern migrate apply");

    machine.must(&["migrate", "apply"]);
    let ran = machine.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(8), "warnings alone: {ran:?}");
    assert_trouble(&ran, "replica_set", "warn", "one member", "rs.add");
    assert!(finding(&ran, "cluster_key")["detail"].as_str().unwrap().contains("no secrets yet"));

    let taken = TcpListener::bind(("127.0.0.1", machine.public)).unwrap();
    let ran = machine.run(&["doctor", "--json"]);
    assert_trouble(&ran, "listen_public", "fail", &std::process::id().to_string(), "public.listen");
    drop(taken);

    for (from, to, check, cause, fix) in [
        (
            "[database]",
            "[vpn]\nopenvpn = \"/bin/true\"\n[database]",
            "openvpn",
            "does not say",
            "apt-get install openvpn",
        ),
        ("203.0.113.10", "127.0.0.1", "public_address", "leads every client to itself", "host.public_address"),
        ("203.0.113.10", "vpn.invalid", "public_address", "does not resolve", "DNS record"),
    ] {
        fs::write(machine.config(), config.replace(from, to)).unwrap();
        let ran = machine.run(&["doctor", "--json"]);
        let found = finding(&ran, check);
        assert_trouble(&ran, check, found["result"].as_str().filter(|result| *result != "ok").unwrap(), cause, fix);
    }

    fs::write(machine.config(), format!("{config}\n[nonsense]\n")).unwrap();
    let ran = machine.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_trouble(&ran, "configuration", "fail", "nonsense", "correct");
}

#[test]
fn another_clusters_key_is_told_from_ours() {
    let database = mongod::shared().database();
    let mut first = Installation::shared(&database);
    first.must(&["migrate", "apply"]);
    first.serve();
    let other = Installation::shared(&database);
    let ran = other.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_trouble(&ran, "cluster_key", "fail", "sealed under key", "copy the key file");
    assert_trouble(&ran, "host", "fail", "another machine runs as host vpn-1", "host.name");
}

#[test]
fn a_server_without_a_set_is_told_to_become_one() {
    let alone = Mongod::start(Options { members: 0, ..Options::default() });
    let machine = Installation::shared(&alone.database());
    let ran = machine.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_trouble(&ran, "database", "fail", "no transactions", "--replSet");
}
