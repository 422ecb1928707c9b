//! Hosts are removed from the cluster while people are connected through them.

use std::time::{Duration, Instant};

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};

use crate::client::{Client, only};
use crate::cluster::{Cluster, LISTED};
use crate::host::Host;
use crate::joining::{Joining, invite};
use crate::lab::Lab;
use crate::wait::wait_until;

/// What `serve` ends with on a machine that was removed.
const REMOVED: i32 = 9;
/// How long the pause may be that a client sees whose host is removed, on a busy machine.
const MOVED: Duration = Duration::from_secs(40);

/// A gap that nobody notices. Fetches are 100 ms apart, and a busy machine delays some.
const ORDINARY: Duration = Duration::from_millis(1500);

/// Waits until a removed host has ended by itself, and looks that nothing of it goes on.
#[track_caller]
fn assert_gone(host: &mut Host) {
    assert_eq!(host.wait_end(), Some(REMOVED), "{}", host.name());
    assert!(host.daemons().is_empty(), "no daemon goes on");
    assert!(!host.firewall().contains("postern"), "no rule stays: {}", host.firewall());
    let log = host.read_log();
    assert!(log.contains("has been removed from the cluster"), "the log says why: {log}");
    assert!(!host.config().with_file_name("data").join("snapshot.sealed").exists(), "it remembers no policy");
}

#[test]
fn whoever_is_connected_goes_on_by_another_host_and_the_removed_one_ends_itself() {
    let mut cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, at) = cluster.connect(&profile);
    let (other, before) = (1 - at, client.tunnel());
    let path = format!("/hosts/{}", cluster.host_id(&cluster.hosts[at]));
    wait_until("the host to tell of its session", LISTED, || cluster.api(other).get(&path)["sessions"] == 1);
    let refused = cluster.api(other).send("DELETE", &path, None, "application/json").unwrap();
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("1 live session, and 1 active profile lists it"), "{refused:?}");

    let moment = Instant::now();
    cluster.api(other).delete(&format!("{path}?force=true"));
    probe.wait_via(cluster.hosts[other].lan(), moment, MOVED);
    eprintln!("removal: the page was away for {:?}", probe.longest_gap(moment));
    assert!(client.runs(), "the same client process");
    assert_eq!(client.tunnel(), before, "the same device and address");
    assert_gone(&mut cluster.hosts[at]);
    eprintln!("removal: the host had ended after {:?}", moment.elapsed());
    cluster.wait_session_on(&profile, &cluster.hosts[other]);

    // The machine does not come back by itself, though it has the database and the master key.
    cluster.hosts[at].start();
    assert_gone(&mut cluster.hosts[at]);
    assert_eq!(cluster.api(other).list("/hosts").len(), 1);
}

#[test]
fn a_host_that_was_down_when_it_was_removed_ends_its_daemons_at_its_next_start() {
    let mut cluster = Cluster::of_two_hosts();
    let id = cluster.host_id(&cluster.hosts[0]);
    cluster.hosts[0].kill();
    assert_eq!(cluster.hosts[0].daemons().len(), 1, "its daemon goes on without it");
    cluster.api(1).delete(&format!("/hosts/{id}?force=true"));
    cluster.hosts[0].start();
    assert_gone(&mut cluster.hosts[0]);
}

#[test]
fn a_joined_host_hears_of_its_removal_before_the_database_is_taken_from_it() {
    let cluster = Cluster::start_in(Lab::new(None).asking(), 1, 1);
    let shipped = cluster.lab.users();
    let issued = invite(&cluster);
    let joining = Joining::new(&cluster, &issued);
    let joined = joining.finish();
    assert_eq!(cluster.lab.users().len(), shipped.len() + 1, "the host has a database user of its own");
    let mut third = Host::joined(&cluster.lab, &cluster.lab.machines()[2], joining.config());
    third.confine(&cluster.lab);
    third.start();
    third.wait_ready();
    cluster.wait_running(&third);
    let id = joined["host_id"].as_str().unwrap();

    cluster.api(0).delete(&format!("/hosts/{id}?force=true"));
    assert_gone(&mut third);
    wait_until("its database user to be gone", Duration::from_mins(1), || cluster.lab.users() == shipped);
    // Neither the token that it came by nor a new one makes the same machine a host again.
    let said = joining.run(&[]);
    assert_eq!(said.status.code(), Some(4), "{said:?}");
    let next = cluster.api(0).post("/join-tokens", &json!({ "host_name": "h3", "server_ids": [cluster.server] }));
    let again = Joining::new(&cluster, &next);
    let said = again.run(&[]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(4), "{words}");
    assert!(words.contains("has been removed from the cluster") && words.contains("delete host.key"), "{words}");
    // With a key of its own it is a machine like any other.
    std::fs::remove_file(again.folder().join("data/host.key")).unwrap();
    assert_ne!(again.finish()["host_id"], joined["host_id"]);
}

#[test]
fn nudges_that_somebody_forged_or_replays_do_nothing() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (client, probe, at) = cluster.connect(&profile);
    let session = cluster.sessions(&profile)[0]["id"].as_str().unwrap().to_owned();
    let (host, daemons) = (cluster.host_id(&cluster.hosts[at]), cluster.hosts[at].daemons());
    let heard = cluster.lab.command("postern", doc! { "find": "events", "batchSize": 10_000 });
    let heard = heard.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
    let moment = Instant::now();

    let attachment = format!("{}:{host}", cluster.server);
    let mut forged: Vec<Document> = [
        ("session.end", session.as_str()),
        ("session.change", &session),
        ("host.change", &host),
        ("daemon.change", &attachment),
        ("certificate.request", &attachment),
    ]
    .into_iter()
    .map(|(kind, key)| doc! { "_id": ObjectId::new(), "ts": DateTime::now(), "o": "somebody", "t": kind, "k": key })
    .collect();
    // A revision that nobody has reached, and nonsense.
    forged
        .push(doc! { "_id": ObjectId::new(), "ts": DateTime::now(), "o": "somebody", "t": "policy", "rev": i64::MAX });
    forged.push(doc! { "_id": ObjectId::new(), "t": "host.remove", "k": &host });
    let replayed = heard.iter().filter_map(|event| event.as_document()).map(|event| {
        let mut event = event.clone();
        event.insert("_id", ObjectId::new());
        event
    });
    forged.extend(replayed);
    cluster.lab.command("postern", doc! { "insert": "events", "documents": forged });

    // What is written after them is heard after them: the hosts have passed them by when this takes effect.
    let other = cluster.user_with_profile("bert");
    Client::connect_soon(&cluster.lab, 1, &only(&other.text, cluster.hosts[at].inet())).stop();
    assert_eq!(cluster.wait_session_on(&profile, &cluster.hosts[at])["id"], session.as_str(), "the same session");
    assert_eq!(client.connects(), 1);
    assert_eq!(cluster.hosts[at].daemons(), daemons);
    let shown = cluster.any_api().get(&format!("/hosts/{host}"));
    assert_eq!((&shown["state"], &shown["drain"]), (&json!("online"), &Value::Null));
    let gap = probe.longest_gap(moment);
    assert!(gap < ORDINARY, "people noticed: {gap:?}");
    // And a revision from the future stops nobody from hearing of the present.
    let disabled = Instant::now();
    cluster.any_api().patch(&format!("/users/{}", profile.user), &json!({ "disabled": true }));
    probe.wait_gone(disabled, LISTED);
}
