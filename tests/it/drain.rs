//! Taking a host out of service, as the API shows it; the hosts are played.

use jiff::Timestamp;
use postern::{
    domain::{
        drain::DrainProgress,
        ids::{HostId, ServerId},
        server::DaemonState,
    },
    services::{AttachmentKey, DaemonStatus},
};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

/// A server on two hosts that are online and say that they run it.
struct World {
    rig: Rig,
    owner: Caller,
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
        let world = Self { leaves: rig.host().await, stays: rig.host().await, rig, owner, server };
        for host in [world.leaves, world.stays] {
            world.owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
            world.says(host, DaemonState::Running).await;
        }
        world
    }

    async fn says(&self, host: HostId, state: DaemonState) {
        let key = AttachmentKey { server_id: self.server, host_id: host };
        let status = DaemonStatus { key, state, detail: None, request: None };
        self.rig.services.report_daemon(&status).await.unwrap();
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
        assert!(self.rig.services.report_drain(self.leaves, progress).await.unwrap());
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
    assert_eq!(world.rig.services.takers(world.stays).await.unwrap()[&world.server], 1);
    // A host that is silent takes nobody over, whatever it said last.
    world.rig.services.beat_last(world.leaves).await.unwrap();
    assert_eq!(world.rig.services.takers(world.stays).await.unwrap()[&world.server], 0);
}
