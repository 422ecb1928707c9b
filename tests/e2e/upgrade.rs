//! A rolling upgrade: the program is replaced host by host, with a migration of the database in between.
//!
//! There is one release here, so each side of an upgrade is played by what the two have in common. Hosts that run while
//! the database is brought forward are the previous release: they do not know what is new in it, neither a migration that
//! they have not looked at since they started nor one that no program of this release knows. A host that is started on a
//! database that lacks a migration is the release after.

use std::time::{Duration, Instant};

use mongodb::bson::doc;

use crate::client::{Client, only};
use crate::cluster::{Cluster, LISTED, user_body};
use crate::host::Host;
use crate::wait::wait_until;

/// A gap that nobody notices. Fetches are 100 ms apart, and a busy machine delays some.
const ORDINARY: Duration = Duration::from_millis(1500);
/// What `migrate plan` ends with when there is something to apply.
const DIFFERENCES: i32 = 8;

#[test]
fn a_rolling_upgrade_with_a_migration_goes_unnoticed() {
    let mut cluster = Cluster::start(3, 1);
    for host in &mut cluster.hosts {
        host.install();
        host.terminate();
        host.start();
        host.wait_ready();
    }
    let anna = cluster.user_with_profile("anna");
    let (client, probe, at) = cluster.connect(&anna);
    let session = cluster.wait_session_on(&anna, &cluster.hosts[at])["id"].clone();
    let daemons: Vec<_> = cluster.hosts.iter().map(Host::daemons).collect();
    let moment = Instant::now();

    // The release after knows a migration that this database lacks.
    let applied = cluster.lab.command("postern", doc! { "find": "migrations", "sort": { "_id": -1 }, "limit": 1 });
    let last =
        applied.get_document("cursor").unwrap().get_array("firstBatch").unwrap()[0].as_document().unwrap().clone();
    let name = last.get_str("name").unwrap();
    let number = last.get("_id").unwrap().clone();
    cluster
        .lab
        .command("postern", doc! { "delete": "migrations", "deletes": [{ "q": { "_id": number }, "limit": 1 }] });
    let (code, planned) = cluster.hosts[0].try_run(&["migrate", "plan"]);
    assert_eq!(code, Some(DIFFERENCES), "{planned}");
    assert!(planned.contains(name), "{planned}");

    // Whoever is too early is told what to do, and its daemon goes on meanwhile.
    let early = (at + 1) % 3;
    cluster.hosts[early].upgrade();
    cluster.hosts[early].terminate();
    cluster.hosts[early].start();
    assert_ne!(cluster.hosts[early].wait_end(), Some(0));
    let said = cluster.hosts[early].read_log();
    assert!(said.contains(&format!("the database lacks {name}; run `postern migrate apply`")), "{said}");
    assert_eq!(cluster.hosts[early].daemons(), daemons[early], "its daemon goes on");

    assert!(cluster.hosts[early].run(&["migrate", "apply"]).contains(name));
    assert_eq!(cluster.hosts[early].try_run(&["migrate", "plan"]).0, Some(0));
    // And one that none of the programs here knows, made as migrations are: it adds, and takes nothing away.
    cluster.lab.command("postern", doc! { "create": "of_the_next_release" });
    let index = doc! { "name": "next", "key": { "next": 1 }, "sparse": true };
    cluster.lab.command("postern", doc! { "createIndexes": "users", "indexes": [index] });
    let known = doc! { "_id": 9999, "name": "9999-next", "sha256": "of the next release", "at": mongodb::bson::DateTime::now() };
    cluster.lab.command("postern", doc! { "insert": "migrations", "documents": [known] });

    // The one that Anna goes by comes last, so that it runs beside the new ones for longest.
    for (turn, host) in [early, (at + 2) % 3, at].into_iter().enumerate() {
        if cluster.hosts[host].runs() {
            cluster.hosts[host].upgrade();
            cluster.hosts[host].terminate();
        }
        // What changes meanwhile, by a host of either kind, is for all of them.
        let other = (0..3).find(|other| *other != host && cluster.hosts[*other].runs()).unwrap();
        let user = cluster.user(&format!("user{turn}"));
        cluster.hosts[host].start();
        cluster.hosts[host].wait_ready();
        cluster.wait_running(&cluster.hosts[host]);
        assert_eq!(cluster.hosts[host].daemons(), daemons[host], "the same daemon, adopted");
        let profile = cluster.profile(&user, "laptop");
        for inet in [cluster.hosts[host].inet(), cluster.hosts[other].inet()] {
            let newcomer = Client::connect_soon(&cluster.lab, 1, &only(&profile.text, inet));
            newcomer.stop();
            wait_until("the newcomer's session to be over", LISTED, || cluster.sessions(&profile).is_empty());
        }
    }

    let gap = probe.longest_gap(moment);
    eprintln!(
        "rolling upgrade of three hosts: longest gap of the page {gap:?}, failed fetches {}",
        probe.failures(moment)
    );
    assert!(gap < ORDINARY, "people noticed: {gap:?}");
    assert_eq!(client.connects(), 1, "nobody connected again");
    assert_eq!(cluster.wait_session_on(&anna, &cluster.hosts[at])["id"], session, "the same session");
    // The upgraded hosts obey as before.
    cluster.api((at + 1) % 3).post("/users", &user_body(&cluster.organization, "bert"));
    let disabled = Instant::now();
    cluster.api((at + 1) % 3).patch(&format!("/users/{}", anna.user), &serde_json::json!({ "disabled": true }));
    probe.wait_gone(disabled, LISTED);
}
