//! Taking a host out of service, as the API shows it; the hosts are played.

use jiff::Timestamp;
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::drain::DrainProgress;
use postern::domain::ids::{HostId, Id, ServerId, SessionId};
use postern::domain::server::DaemonState;
use postern::domain::session::{EndReason, Session};
use postern::runtime::random;
use postern::services::access::sessions::SessionRecord;
use postern::services::{AttachmentKey, DaemonStatus};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

/// A server on two hosts that are online and say that they run it.
struct World {
    rig: Rig,
    owner: Caller,
    organization: Value,
    server: ServerId,
    leaves: HostId,
    stays: HostId,
}

impl World {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let owner = rig.owner();
        let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
        let server = owner.post(
            "/servers",
            &json!({
                "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
                "organization_ids": [organization],
            }),
        );
        let server = server["id"].as_str().unwrap().parse().unwrap();
        let (leaves, stays) = (rig.host_at("203.0.113.1").await, rig.host_at("203.0.113.2").await);
        let world = Self { rig, owner, organization, server, leaves, stays };
        for host in [world.leaves, world.stays] {
            world.attach(host).await;
        }
        world
    }

    async fn attach(&self, host: HostId) {
        self.owner.expect(204, "PUT", &format!("/servers/{}/hosts/{host}", self.server), None);
        self.says(host, DaemonState::Running).await;
    }

    fn detach(&self, host: HostId) {
        self.owner.expect(204, "DELETE", &format!("/servers/{}/hosts/{host}", self.server), None);
    }

    /// A new user with a profile, which is returned.
    fn profile(&self, name: &str) -> Value {
        let user = self.owner.post("/users", &json!({ "organization_id": self.organization, "name": name }));
        let path = format!("/users/{}/profiles", user["id"].as_str().unwrap());
        self.owner.post(&path, &json!({ "server_id": self.server, "name": "laptop" }))["profile"].take()
    }

    /// A session of a profile begins on a host.
    async fn connects(&self, profile: &Value, host: HostId) -> Session {
        let id = |field: &str| profile[field].as_str().unwrap();
        let session = Session {
            id: SessionId::from_parts(SystemClock.now(), random::u128()),
            user_id: id("user_id").parse().unwrap(),
            profile_id: id("id").parse().unwrap(),
            server_id: self.server,
            host_id: host,
            address: id("address").parse().unwrap(),
            remote_address: "198.51.100.7:50123".parse().unwrap(),
            connected_at: SystemClock.now(),
            bytes_received: 0,
            bytes_sent: 0,
            client_version: None,
            client_protocol: None,
        };
        self.rig.services.access().record_session(&SessionRecord::began(session.clone(), None)).await.unwrap();
        session
    }

    async fn ends(&self, session: &Session, reason: EndReason) {
        let ended = SessionRecord::Ended { session: session.clone(), at: SystemClock.now(), reason, moment: None };
        self.rig.services.access().record_session(&ended).await.unwrap();
    }

    async fn says(&self, host: HostId, state: DaemonState) {
        let key = AttachmentKey { server_id: self.server, host_id: host };
        let status = DaemonStatus { key, state, detail: None };
        self.rig.services.network().report_daemon(&status).await.unwrap();
    }

    #[track_caller]
    fn drain(&self, status: u16, host: HostId, body: &Value) -> Value {
        self.owner.expect(status, "POST", &format!("/hosts/{host}/drain"), Some(body))
    }

    #[track_caller]
    fn resume(&self, host: HostId) -> Value {
        self.owner.expect(200, "POST", &format!("/hosts/{host}/resume"), None)
    }

    fn show(&self, host: HostId) -> Value {
        self.owner.get(&format!("/hosts/{host}"))
    }

    fn time(value: &Value) -> Timestamp {
        value.as_str().unwrap().parse().unwrap()
    }

    async fn tells(&self, progress: &DrainProgress) {
        assert!(self.rig.services.hosts().report_drain(self.leaves, progress).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_ordered_watched_and_taken_back() {
    let world = World::new().await;
    assert_eq!(world.show(world.leaves)["drain"], Value::Null);
    let ordered = world.drain(202, world.leaves, &json!({ "budget_seconds": 60 }));
    assert_eq!((&ordered["state"], &ordered["drain"]["state"]), (&json!("draining"), &json!("waiting")));
    let order = World::time(&ordered["drain"]["started_at"]);
    assert_eq!(World::time(&ordered["drain"]["ends_at"]).duration_since(order).as_secs(), 60);

    let progress = DrainProgress { order, taken_up_at: order, remaining: 3, refused: 2, held: false, drained_at: None };
    world.tells(&progress).await;
    let moving = world.show(world.leaves);
    assert_eq!((&moving["drain"]["state"], &moving["drain"]["remaining"]), (&json!("moving"), &json!(3)));
    assert_eq!((&moving["drain"]["refused"], &moving["sessions"]), (&json!(2), &json!(3)));
    world.tells(&DrainProgress { held: true, ..progress }).await;
    assert_eq!(world.show(world.leaves)["drain"]["state"], "held");

    // A second order changes the budget and nothing else.
    let again = world.drain(202, world.leaves, &json!({ "budget_seconds": 600 }));
    assert_eq!(again["drain"]["started_at"], ordered["drain"]["started_at"]);
    assert!(World::time(&again["drain"]["ends_at"]) > World::time(&ordered["drain"]["ends_at"]));

    world.tells(&DrainProgress { remaining: 0, drained_at: Some(order), ..progress }).await;
    let over = world.owner.get("/hosts");
    let over = over["items"].as_array().unwrap().iter().find(|host| host["id"] == world.leaves.to_string()).unwrap();
    assert_eq!((&over["state"], &over["drain"]["state"]), (&json!("draining"), &json!("drained")));

    for _ in 0..2 {
        let back = world.resume(world.leaves);
        assert_eq!((&back["state"], &back["drain"]), (&json!("online"), &Value::Null));
    }
    // What was told about an order that is over says nothing about the next.
    let next = world.drain(202, world.leaves, &json!({ "budget_seconds": 0 }));
    assert_eq!((&next["drain"]["state"], &next["drain"]["refused"]), (&json!("waiting"), &json!(0)));

    let trail = world.owner.get(&format!("/audit?object={}", world.leaves));
    let acts: Vec<_> = trail["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(acts.iter().filter(|act| **act == "host.drain").count(), 3, "{acts:?}");
    assert_eq!(acts.iter().filter(|act| **act == "host.resume").count(), 1, "{acts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_host_of_a_server_is_drained_by_force_only() {
    let world = World::new().await;
    let body = json!({ "budget_seconds": 60 });
    world.says(world.stays, DaemonState::Failed).await;
    let refused = world.drain(409, world.leaves, &body);
    assert!(refused["detail"].as_str().unwrap().contains("server office"), "{refused}");
    assert_eq!(world.show(world.leaves)["drain"], Value::Null);

    world.says(world.stays, DaemonState::Running).await;
    world.drain(202, world.leaves, &body);
    // The other one is now the last.
    world.drain(409, world.stays, &body);
    world.drain(202, world.stays, &json!({ "budget_seconds": 60, "force": true }));
    world.resume(world.leaves);
    assert_eq!(world.rig.services.hosts().takers(world.stays).await.unwrap()[&world.server], [world.leaves].into());
    // A host that is silent takes nobody over, whatever it said last.
    world.rig.services.hosts().beat_last(world.leaves).await.unwrap();
    assert_eq!(world.rig.services.hosts().takers(world.stays).await.unwrap()[&world.server], [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_profile_without_the_other_host_is_named_before_the_act_and_counted_after_it() {
    let world = World::new().await;
    world.detach(world.stays);
    let old = world.profile("Ana");
    world.attach(world.stays).await;
    let fresh = world.profile("Bo");

    // What a profile names, and since when and why it is outdated.
    let shown = |profile: &Value| world.owner.get(&format!("/profiles/{}", profile["id"].as_str().unwrap()));
    assert_eq!(
        (&shown(&old)["hosts"], &shown(&old)["outdated"]["reasons"]),
        (&json!([world.leaves]), &json!(["host_added"]))
    );
    assert!(World::time(&shown(&old)["outdated"]["since"]) >= World::time(&old["issued_at"]));
    assert_eq!(shown(&fresh)["outdated"], Value::Null);
    assert_eq!(shown(&fresh)["hosts"].as_array().unwrap().len(), 2);
    let listed = world.owner.get("/profiles");
    assert_eq!(listed["items"][0]["outdated"], shown(&old)["outdated"]);

    let session = [world.connects(&old, world.leaves).await, world.connects(&fresh, world.leaves).await];
    let drain = format!("/hosts/{}/drain?dry_run=true", world.leaves);
    let detach = format!("/servers/{}/hosts/{}?dry_run=true", world.server, world.leaves);
    let remove = format!("/hosts/{}?dry_run=true&force=true", world.leaves);
    let body = json!({ "budget_seconds": 60 });
    for (method, path, body) in [("POST", &drain, Some(&body)), ("DELETE", &detach, None), ("DELETE", &remove, None)] {
        let effect = world.owner.expect(200, method, path, body);
        let numbers = [&effect["sessions_cut_off"], &effect["sessions_moving"], &effect["profiles_cut_off"]];
        assert_eq!(numbers, [&json!(1); 3], "{method} {path}: {effect}");
        let named = json!([{ "user_id": old["user_id"], "user": "Ana", "profile_id": old["id"], "profile": "laptop" }]);
        assert_eq!(effect["cut_off"], named, "{method} {path}");
    }
    assert_eq!(world.show(world.leaves)["drain"], Value::Null, "a preview does nothing");
    let removal = world.owner.get(&format!("/hosts/{}/removal", world.leaves));
    assert_eq!((&removal["profiles_cut_off"], &removal["sessions_cut_off"]), (&json!(1), &json!(1)), "{removal}");
    assert_eq!(removal["cut_off"][0]["user"], "Ana");

    let ordered = world.drain(202, world.leaves, &body);
    let order = World::time(&ordered["drain"]["started_at"]);
    let progress = DrainProgress { order, taken_up_at: order, remaining: 2, refused: 0, held: false, drained_at: None };
    world.tells(&progress).await;
    let counts = || {
        let drain = world.show(world.leaves)["drain"].take();
        ["moved", "waiting", "cut_off"].map(|field| drain[field].as_u64().unwrap())
    };
    assert_eq!(counts(), [0, 2, 0]);
    // Told to go is not moved; seen on another host is.
    world.ends(&session[1], EndReason::Moved).await;
    world.tells(&DrainProgress { remaining: 1, ..progress }).await;
    assert_eq!(counts(), [0, 1, 1]);
    let elsewhere = world.connects(&fresh, world.stays).await;
    assert_eq!(counts(), [1, 1, 0]);
    world.ends(&elsewhere, EndReason::Disconnected).await;
    world.ends(&session[0], EndReason::Moved).await;
    // Somebody who went by herself is neither.
    let third = world.profile("Cy");
    let left = world.connects(&third, world.leaves).await;
    world.ends(&left, EndReason::Disconnected).await;
    world.tells(&DrainProgress { remaining: 0, drained_at: Some(order), ..progress }).await;
    assert_eq!(counts(), [1, 0, 1]);
    assert_eq!(world.show(world.leaves)["drain"]["state"], "drained");

    world.resume(world.leaves);
    let trail = world.owner.get(&format!("/audit?object={}", world.leaves));
    let changes = |action: &str| {
        trail["items"].as_array().unwrap().iter().find(|entry| entry["action"] == action).unwrap()["changes"].clone()
    };
    assert_eq!((&changes("host.resume")["moved"][1], &changes("host.resume")["cut_off"][1]), (&json!(1), &json!(1)));
    assert_eq!(changes("host.drain")["without_other_host"][1], 1);
}
