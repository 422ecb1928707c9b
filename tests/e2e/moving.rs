//! The move of the database, as `docs/move-the-database.md` tells it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, LISTED, user_body};
use crate::host::Host;
use crate::wait::wait_until;

const DOCUMENT: &str = include_str!("../../docs/move-the-database.md");
/// A gap that nobody notices. Fetches are 100 ms apart, and a busy machine delays some.
const ORDINARY: Duration = Duration::from_millis(1500);

/// Runs a command that stands in the document, word by word; but the file goes into the laboratory.
fn run(cluster: &Cluster, host: &Host, command: &str) {
    assert!(DOCUMENT.contains(&format!("   {command}\n")), "the document does not say: {command}");
    let file = cluster.lab.folder().join("move.backup");
    let words: Vec<String> = command
        .split(' ')
        .skip(1)
        .map(|word| if word == "/root/move.backup" { file.display().to_string() } else { word.to_owned() })
        .collect();
    host.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_move_of_the_database_goes_unnoticed_and_loses_nothing() {
    let mut cluster = Cluster::of_two_hosts();
    let anna = cluster.user_with_profile("anna");
    let bert = cluster.user_with_profile("bert");
    let (client, probe, host) = cluster.connect(&anna);
    let session = cluster.wait_session_on(&anna, &cluster.hosts[host])["id"].clone();
    let moment = Instant::now();

    run(&cluster, &cluster.hosts[0], "postern pause");
    let body = user_body(&cluster.organization, "carl");
    let refused = cluster.api(1).send("POST", "/users", Some(&body), "application/json").unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("PST-SYS-006")), "{refused:?}");
    run(&cluster, &cluster.hosts[0], "postern backup create /root/move.backup");
    run(&cluster, &cluster.hosts[0], "postern backup verify /root/move.backup");
    // Somebody connects when the copy has been made. That is to be known afterwards.
    let newcomer = Client::connect(&cluster.lab, 1, &bert.text);

    let old = cluster.lab.start_another_database(3);
    for host in &cluster.hosts {
        host.point_at(cluster.lab.mongod().uri());
    }
    run(&cluster, &cluster.hosts[0], "postern backup restore /root/move.backup");
    for host in &mut cluster.hosts {
        host.terminate();
        host.start();
        host.wait_ready();
    }
    drop(old);
    run(&cluster, &cluster.hosts[0], "postern resume");

    let after = cluster.wait_session_on(&anna, &cluster.hosts[host]);
    assert_eq!(after["id"], session, "the same session");
    let other = cluster.number_of(newcomer.remote());
    cluster.wait_session_on(&bert, &cluster.hosts[other]);
    let gap = probe.longest_gap(moment);
    eprintln!("move of the database: longest gap of the page {gap:?}");
    assert!(gap < ORDINARY, "people noticed: {gap:?}");
    assert_eq!((client.connects(), newcomer.connects()), (1, 1), "nobody connected again");

    // The new database is the cluster's: what is changed there is obeyed, and old profiles are good.
    cluster.api(1).post("/users", &body);
    let disabled = Instant::now();
    cluster.api(0).patch(&format!("/users/{}", anna.user), &json!({ "disabled": true }));
    probe.wait_gone(disabled, LISTED);
    drop(newcomer);
    wait_until("the end of the newcomer's session", Duration::from_mins(1), || cluster.sessions(&bert).is_empty());
    let again = Client::connect(&cluster.lab, 1, &bert.text);
    assert_eq!(again.tunnel().1, bert.address, "the same profile, the same address");
}
