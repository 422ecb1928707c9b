//! What is wrong with a host is told alike by API, console and the public status page; and of two machines with one host
//! key, one is the host.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Bson, DateTime, Document, doc};
use postern::domain::clock::{Clock, ManualClock, SystemClock};
use postern::domain::host::ProcessRole;
use postern::domain::ids::{HostId, Id, ServerId};
use postern::domain::probe::{ProbeResult, ProbeTarget};
use postern::domain::problem::{LONGEST_DETAIL, MOST_PROBLEMS, ProblemCode};
use postern::domain::role::Role;
use postern::domain::server::{DaemonState, Protocol};
use postern::keys::master::MasterKey;
use postern::services::hosts::registry::HostFacts;
use postern::services::{AttachmentKey, DaemonStatus, Refusal, ServiceError, Services};
use postern::store::Emitter;
use serde_json::{Value, json};

use crate::api_rig::{Answer, Caller, Rig, settings};
use crate::console_rig::{Console, Visitor};
use crate::support::mongod::shared;

#[track_caller]
fn shows(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(text), "{text:?} is missing: {}", answer.body);
}

#[track_caller]
fn hides(answer: &Answer, text: &str) {
    assert!(!answer.body.contains(text), "{text:?} is there: {}", answer.body);
}

fn codes(rig: &Rig, host: HostId) -> Vec<String> {
    let host = rig.owner().get(&format!("/hosts/{host}"));
    let problems = host["problems"].as_array().unwrap();
    problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

async fn status_of(rig: &Rig, host: HostId) -> (mongodb::Collection<Document>, Document) {
    (rig.database.open().await.collection("host_status"), doc! { "_id": host.to_string() })
}

/// A cluster with two hosts, a server that both run, and somebody at the console.
struct World {
    console: Console,
    owner: Visitor,
    server: ServerId,
    hosts: [HostId; 2],
}

impl World {
    async fn new() -> Self {
        let console = Console::new().await;
        let body = json!({
            "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
            "organization_ids": [console.organization],
        });
        let api = console.rig.owner();
        let server: ServerId = api.post("/servers", &body)["id"].as_str().unwrap().parse().unwrap();
        let hosts = [console.rig.host().await, console.rig.host().await];
        let owner = console.signed_in(Role::Owner);
        let world = Self { console, owner, server, hosts };
        for host in hosts {
            api.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
            world.says(host, DaemonState::Running, None).await;
        }
        world
    }

    async fn says(&self, host: HostId, state: DaemonState, detail: Option<&str>) {
        let key = AttachmentKey { server_id: self.server, host_id: host };
        let status = DaemonStatus { key, state, detail: detail.map(str::to_owned) };
        self.console.rig.services.network().report_daemon(&status).await.unwrap();
    }

    fn public_status(&self) -> Answer {
        Caller::new(self.console.rig.addresses.public.unwrap(), None).send("GET", "/status", &[], None)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_console_and_status_page_agree_about_a_host() {
    let mut world = World::new().await;
    let [host, other] = world.hosts;
    let services = world.console.rig.services.clone();
    let path = format!("/hosts/{host}");

    assert!(codes(&world.console.rig, host).is_empty());
    shows(&world.owner.get("/"), "All are well");
    shows(&world.owner.get("/hosts"), "2 hosts online");
    hides(&world.owner.get(&path), "Problems</h2>");
    shows(&world.public_status(), "2 of 2 ready");
    shows(&world.public_status(), "Everything works");

    // What a part of the host finds, the next heartbeat carries.
    let why = "table inet postern is missing: look for what flushes the firewall";
    services.problems().set(ProblemCode::Firewall, None, Some(why.to_owned()), services.now());
    services.hosts().beat(host, 0).await.unwrap();
    services.problems().set(ProblemCode::Firewall, None, None, services.now());
    assert_eq!(codes(&world.console.rig, host), ["firewall"]);
    let overview = world.owner.get("/");
    shows(&overview, "1 needs attention");
    shows(&overview, why);
    shows(&overview, &format!("<a href=\"{path}\">"));
    hides(&overview, "All are well");
    let page = world.owner.get(&path);
    shows(&page, "Problems</h2>");
    shows(&page, why);
    let list = world.owner.get("/hosts");
    shows(&list, "1 problem");
    shows(&list, "1 of 2 hosts ready");
    shows(&world.public_status(), "1 of 2 ready, 1 with a problem");
    hides(&world.public_status(), "Everything works");
    assert!(codes(&world.console.rig, other).is_empty());

    // A daemon that failed is told once, in the words of its host; of one that names no problems too.
    services.hosts().beat(host, 0).await.unwrap();
    world.says(host, DaemonState::Failed, Some("port 1194/udp is taken")).await;
    assert_eq!(codes(&world.console.rig, host), ["daemon_failed"]);
    let problem = world.console.rig.owner().get(&path)["problems"][0].clone();
    assert_eq!(problem["server_id"], world.server.to_string());
    assert_eq!(problem["detail"], "port 1194/udp is taken");
    shows(&world.owner.get("/"), "Server office: port 1194/udp is taken");
    shows(&world.public_status(), "1 of 2 ready, 1 with a problem");
    world.says(host, DaemonState::Running, None).await;
    assert!(codes(&world.console.rig, host).is_empty());

    // One that is on purpose out of service is no illness, and not all are in service.
    let drain = json!({ "budget_seconds": 30, "force": true });
    world.console.rig.owner().expect(202, "POST", &format!("/hosts/{host}/drain"), Some(&drain));
    assert!(codes(&world.console.rig, host).is_empty());
    let overview = world.owner.get("/");
    hides(&overview, "All are well");
    shows(&overview, "Out of service: <a href");
    shows(&overview, "1 <small>of 2</small>");
    shows(&world.owner.get("/hosts"), "1 of 2 hosts ready");
    shows(&world.public_status(), "1 of 2 ready, 1 out of service on purpose");
    world.console.rig.owner().expect(200, "POST", &format!("/hosts/{host}/resume"), None);

    // Of one that is silent, nothing else is known.
    services.problems().set(ProblemCode::Clock, None, Some("8 s ahead".to_owned()), services.now());
    services.hosts().beat(host, 0).await.unwrap();
    services.problems().set(ProblemCode::Clock, None, None, services.now());
    assert_eq!(codes(&world.console.rig, host), ["clock"]);
    services.hosts().beat_last(host).await.unwrap();
    assert_eq!(codes(&world.console.rig, host), ["offline"]);
    shows(&world.owner.get("/"), "was stopped");
    hides(&world.owner.get(&path), "8 s ahead");
    shows(&world.public_status(), "1 of 2 ready, 1 offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_comes_to_know_that_nobody_reaches_it() {
    let world = World::new().await;
    let [host, other] = world.hosts;
    let services = &world.console.rig.services;
    let target = ProbeTarget {
        server_id: world.server,
        host_id: host,
        address: "203.0.113.10".parse().unwrap(),
        port: 1194.try_into().unwrap(),
        protocol: Protocol::Udp,
    };
    let result =
        |ok: bool| ProbeResult { target: target.clone(), ok, detail: (!ok).then(|| "no answer within 3 s".to_owned()) };
    assert!(services.network().report_probes(other, &[result(false)], &[host].into()).await.unwrap());
    services.hosts().notice_unreached(host).await.unwrap();
    let known = services.problems().list();
    let named: Vec<_> = known.iter().map(|problem| (problem.code, problem.server_id)).collect();
    assert_eq!(named, [(ProblemCode::DaemonUnreached, Some(world.server))]);
    assert!(known[0].detail.contains("no answer within 3 s at 203.0.113.10, udp port 1194"), "{known:?}");
    // It does not report it: whoever reads finds it, and would find it twice.
    services.hosts().beat(host, 0).await.unwrap();
    assert_eq!(codes(&world.console.rig, host), ["daemon_unreached"]);

    assert!(services.network().report_probes(other, &[result(true)], &[host].into()).await.unwrap());
    services.hosts().notice_unreached(host).await.unwrap();
    assert!(services.problems().list().is_empty());
    assert!(codes(&world.console.rig, host).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_bounded_keeps_its_times_and_is_dated_by_the_database() {
    // A host whose clock is ten minutes ahead.
    let clock = ManualClock::new(SystemClock.now() + SignedDuration::from_mins(10));
    let rig = Rig::timed(shared().database(), settings(), Arc::new(clock)).await;
    let host = rig.host().await;
    let problems = rig.services.problems();
    let an_hour_ago = rig.services.now() - SignedDuration::from_hours(1);
    problems.set(ProblemCode::Forwarding, None, Some("$$ROOT off".repeat(1000)), an_hour_ago);
    for number in 0..100 {
        let server = ServerId::from_parts(Timestamp::UNIX_EPOCH, number);
        problems.set(ProblemCode::DaemonFailed, Some(server), Some("taken".to_owned()), rig.services.now());
    }
    let told = async || {
        rig.services.hosts().beat(host, 0).await.unwrap();
        rig.owner().get(&format!("/hosts/{host}"))["problems"].as_array().unwrap().clone()
    };
    let first = told().await;
    assert_eq!(first.len(), MOST_PROBLEMS);
    assert_eq!(first[0]["code"], "forwarding");
    assert!(first[0]["detail"].as_str().unwrap().starts_with("$$ROOT off"));
    assert_eq!(first[0]["detail"].as_str().unwrap().chars().count(), LONGEST_DETAIL + 1);
    let since: Timestamp = first[0]["since"].as_str().unwrap().parse().unwrap();
    let age = SystemClock.now().duration_since(since);
    assert!((SignedDuration::from_mins(59)..SignedDuration::from_mins(65)).contains(&age), "{age}");
    assert_eq!(told().await, first, "what lasts keeps its beginning, whatever the clocks do");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_of_one_host_hides_no_other() {
    let mut world = World::new().await;
    let [host, other] = world.hosts;
    let (status, mine) = status_of(&world.console.rig, host).await;
    let junk: [Document; 7] = [
        doc! { "problems": "all of them" },
        doc! { "problems": { "of": [{ "code": "of_a_later_release", "detail": "x", "since": DateTime::now() }] } },
        doc! { "problems": { "of": [{ "code": "clock", "detail": 7, "since": "yesterday" }, 5] } },
        doc! { "version": 12, "sessions": "many" },
        doc! { "drain": { "order": 1 }, "instance": 5, "knock": [] },
        doc! { "looks": { "at": DateTime::now(), "of": [{ "host_id": other.to_string() }, "x"] } },
        doc! { "stopped_at": "never", "last_seen_at": "now" },
    ];
    for junk in junk {
        let put = status.update_one(mine.clone(), doc! { "$set": junk.clone() });
        put.bypass_document_validation(true).await.unwrap();
        let hosts = world.console.rig.owner().get("/hosts");
        assert_eq!(hosts["items"].as_array().unwrap().len(), 2, "{junk}");
        assert!(codes(&world.console.rig, other).is_empty(), "{junk}");
        let mine = codes(&world.console.rig, host);
        let expected: &[&str] = match () {
            () if junk.contains_key("looks") => &[],
            () if junk.contains_key("last_seen_at") => &["offline"],
            () => &["report"],
        };
        assert_eq!(mine, expected, "{junk}");
        assert_eq!(world.owner.get("/").status, 200);
        assert_eq!(world.owner.get("/servers").status, 200);
        // Its next heartbeat mends what it writes.
        world.console.rig.services.hosts().beat(host, 0).await.unwrap();
        let unset = doc! { "$unset": { "drain": "", "looks": "", "stopped_at": "" } };
        status.update_one(doc! { "_id": host.to_string() }, unset).await.unwrap();
        assert!(codes(&world.console.rig, host).is_empty(), "{junk}");
    }
    // No time in the future makes a host that is alive.
    let later = DateTime::from_millis((SystemClock.now() + SignedDuration::from_hours(1)).as_millisecond());
    status.update_one(mine, doc! { "$set": { "last_seen_at": later } }).await.unwrap();
    assert_eq!(codes(&world.console.rig, host), ["offline"]);

    // A daemon's report that cannot be read is about that daemon.
    let daemons = world.console.rig.database.open().await.collection::<Document>("daemon_status");
    let key = AttachmentKey { server_id: world.server, host_id: other };
    daemons.update_one(doc! { "_id": key.to_string() }, doc! { "$set": { "state": "levitating" } }).await.unwrap();
    assert_eq!(codes(&world.console.rig, other), ["daemon_failed"]);
    assert_eq!(world.owner.get(&format!("/servers/{}", world.server)).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_the_previous_release_says_nothing_of_problems_and_names_no_machine() {
    let rig = Rig::new().await;
    let host = rig.host().await;
    let (status, mine) = status_of(&rig, host).await;
    let old = doc! { "$unset": { "problems": "", "instance": "" } };
    status.update_one(mine.clone(), old).await.unwrap();
    assert!(codes(&rig, host).is_empty());

    // Its last heartbeat holds nobody up who comes with an instance: that is what an upgrade looks like.
    let upgraded = machine(&rig, "upgraded");
    upgraded.hosts().beat(host, 0).await.unwrap();
    // It is downgraded, and upgraded on a machine that was started anew meanwhile.
    let beat = vec![doc! { "$set": { "last_seen_at": { "$add": ["$$NOW", 1] } } }];
    status.update_one(mine, beat).await.unwrap();
    machine(&rig, "upgraded again").hosts().beat(host, 0).await.unwrap();
}

/// A process of the rig's cluster on a machine of its own.
fn machine(rig: &Rig, instance: &str) -> Services {
    let emitter = Emitter::start(&rig.store, Duration::from_secs(8), &rig.tasks, &rig.stop);
    Services::builder(rig.store.clone(), emitter, Arc::new(SystemClock))
        .master_key(Some(MasterKey::from_bytes(&[7; 32])))
        .instance(instance.to_owned())
        .build()
}

fn facts(name: &str, address: &str) -> HostFacts {
    HostFacts {
        name: name.parse().unwrap(),
        public_addresses: vec![address.parse().unwrap()],
        roles: [ProcessRole::Vpn].into(),
        public_key: [3; 32],
    }
}

fn cloned(services: &Services) -> bool {
    services.problems().list().iter().any(|problem| problem.code == ProblemCode::ClonedHost)
}

fn is_clone(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Conflict(Refusal::HostCloned))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_with_one_key_the_later_one_waits_and_changes_nothing() {
    let rig = Rig::new().await;
    let (original, copy) = (machine(&rig, "original"), machine(&rig, "copy"));
    let here = facts("vpn-1", "203.0.113.10");
    let host = original.hosts().register_host(&here).await.unwrap();
    original.hosts().beat(host, 5).await.unwrap();

    let elsewhere = facts("vpn-1", "198.51.100.99");
    let before = rig.dump().await;
    let why = copy.hosts().register_host(&elsewhere).await.unwrap_err();
    assert!(is_clone(&why), "{why:?}");
    let why = why.to_string();
    assert!(why.contains("another machine with this host's key") && why.contains("join with a new token"), "{why}");
    assert!(cloned(&copy) && copy.hosts().is_displaced());
    let after = rig.dump().await;
    let changed: Vec<_> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert_eq!(changed, ["host_status"], "nothing but that it was tried");
    let shown = rig.owner().get(&format!("/hosts/{host}"));
    assert_eq!((&shown["public_address"], &shown["sessions"]), (&json!("203.0.113.10"), &json!(5)));

    // The original hears of it, and goes on.
    assert!(!cloned(&original));
    original.hosts().beat(host, 5).await.unwrap();
    assert!(cloned(&original) && !original.hosts().is_displaced());
    original.hosts().beat(host, 5).await.unwrap();
    assert_eq!(codes(&rig, host), ["cloned_host"]);

    // A restart on the same machine, however it ended, waits for nothing.
    machine(&rig, "original").hosts().register_host(&here).await.unwrap();
    assert!(is_clone(&copy.hosts().beat(host, 0).await.unwrap_err()));
    // Nor does what a copy says when it ends concern the host.
    copy.hosts().beat_last(host).await.unwrap();
    copy.hosts().release_host(host).await.unwrap();
    assert_eq!(rig.owner().get(&format!("/hosts/{host}"))["state"], "online");

    // A process that ends and leaves its daemons running lets the next start in, on whatever machine: one that was
    // started anew is another.
    original.hosts().release_host(host).await.unwrap();
    copy.hosts().register_host(&elsewhere).await.unwrap();
    assert!(!cloned(&copy) && !copy.hosts().is_displaced());
    assert_eq!(rig.owner().get(&format!("/hosts/{host}"))["public_address"], "198.51.100.99");
    // Now the original is the later one.
    assert!(is_clone(&original.hosts().register_host(&here).await.unwrap_err()));
    assert_eq!(rig.owner().get(&format!("/hosts/{host}"))["public_address"], "198.51.100.99");
    // Once the other is silent, its place is free, whether it said farewell or not.
    let (status, mine) = status_of(&rig, host).await;
    let silent = DateTime::from_millis((SystemClock.now() - SignedDuration::from_secs(31)).as_millisecond());
    status.update_one(mine, doc! { "$set": { "last_seen_at": silent, "instance.at": silent } }).await.unwrap();
    original.hosts().register_host(&here).await.unwrap();
    assert_eq!(rig.owner().get(&format!("/hosts/{host}"))["public_address"], "203.0.113.10");
    assert!(is_clone(&copy.hosts().beat(host, 0).await.unwrap_err()));
    assert!(copy.hosts().is_displaced());
    // What still runs on the machine that lost its place closes nobody's records.
    assert!(is_clone(&copy.access().close_other_sessions(host, &[]).await.unwrap_err()));
    original.access().close_other_sessions(host, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_that_come_at_once_one_is_the_host() {
    let rig = Rig::new().await;
    let host = machine(&rig, "first").hosts().register_host(&facts("vpn-1", "203.0.113.10")).await.unwrap();
    for round in 0..20 {
        let (status, mine) = status_of(&rig, host).await;
        status.update_one(mine, doc! { "$set": { "last_seen_at": DateTime::from_millis(0) } }).await.unwrap();
        let machines = [format!("a{round}"), format!("b{round}")].map(|name| machine(&rig, &name));
        let (a, b) = tokio::join!(machines[0].hosts().beat(host, 0), machines[1].hosts().beat(host, 0));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_another_name_is_no_second_host_with_the_same_key() {
    let rig = Rig::new().await;
    let (original, copy) = (machine(&rig, "original"), machine(&rig, "copy"));
    let host = original.hosts().register_host(&facts("vpn-1", "203.0.113.10")).await.unwrap();
    original.hosts().beat(host, 0).await.unwrap();
    let Err(ServiceError::Conflict(why)) = copy.hosts().register_host(&facts("vpn-2", "198.51.100.99")).await else {
        panic!("one key, one host")
    };
    let why = why.to_string();
    assert!(why.contains("is that of host vpn-1") && why.contains("delete host.key"), "{why}");
    assert_eq!(rig.owner().get("/hosts")["items"].as_array().unwrap().len(), 1);
    original.hosts().beat(host, 0).await.unwrap();
    assert!(cloned(&original));
    let (status, mine) = status_of(&rig, host).await;
    let stored = status.find_one(mine).await.unwrap().unwrap();
    assert_ne!(stored.get("last_seen_at"), Some(&Bson::Null), "{stored}");
    let problems: Value = rig.owner().get(&format!("/hosts/{host}"))["problems"].clone();
    assert!(problems.is_array());
}
