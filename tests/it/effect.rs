//! What a change would do, asked before it is done.

use postern::domain::clock::{Clock, SystemClock};
use postern::domain::host_network::{HostNetwork, HostNetworkKind};
use postern::domain::ids::{HostId, Id, ServerId, SessionId};
use postern::domain::role::Role;
use postern::domain::session::Session;
use postern::runtime::random;
use postern::services::access::sessions::SessionRecord;
use postern::web;
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

/// Ana and Bo, each with a profile of a server on two hosts, and connected through the first.
struct World {
    rig: Rig,
    owner: Caller,
    organization: Value,
    server: String,
    ana: String,
    /// Both, as a preview names them.
    people: Value,
    hosts: [HostId; 2],
}

impl World {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let owner = rig.owner();
        let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
        let server = json!({
            "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
            "organization_ids": [organization],
        });
        let server = owner.post("/servers", &server)["id"].as_str().unwrap().to_owned();
        let hosts = [rig.host().await, rig.host().await];
        for host in hosts {
            owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
        }
        let (mut people, mut named) = (Vec::new(), Vec::new());
        for name in ["Ana", "Bo"] {
            let user = owner.post("/users", &json!({ "organization_id": organization, "name": name }));
            let path = format!("/users/{}/profiles", user["id"].as_str().unwrap());
            let issued = owner.post(&path, &json!({ "server_id": server, "name": "laptop" }));
            rig.services
                .access()
                .record_session(&SessionRecord::began(session(&issued["profile"], hosts[0]), None))
                .await
                .unwrap();
            people.push(user["id"].as_str().unwrap().to_owned());
            let profile = &issued["profile"];
            named.push(json!({
                "user_id": user["id"], "user": name, "profile_id": profile["id"], "profile": profile["name"],
            }));
        }
        Self { rig, owner, organization, server, ana: people.remove(0), people: named.into(), hosts }
    }

    /// An effect that cuts both off.
    fn all_cut_off(&self, mut effect: Value) -> Value {
        effect["cut_off"] = self.people.clone();
        effect
    }

    /// What a request would do, which nobody finds in the database afterwards.
    #[track_caller]
    fn tries(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.owner.expect(200, method, &format!("{path}?dry_run=true"), body)
    }

    fn place(&self) -> String {
        format!("/servers/{}", self.server)
    }
}

fn session(profile: &Value, host_id: HostId) -> Session {
    let id = |field: &str| profile[field].as_str().unwrap();
    Session {
        id: SessionId::from_parts(SystemClock.now(), random::u128()),
        user_id: id("user_id").parse().unwrap(),
        profile_id: id("id").parse().unwrap(),
        server_id: id("server_id").parse::<ServerId>().unwrap(),
        host_id,
        address: id("address").parse().unwrap(),
        remote_address: "198.51.100.7:50123".parse().unwrap(),
        connected_at: SystemClock.now(),
        bytes_received: 0,
        bytes_sent: 0,
        client_version: None,
        client_protocol: None,
    }
}

/// The effect with these numbers, and nothing else.
fn only(numbers: &[(&str, u64)]) -> Value {
    let mut effect = json!({
        "users_gaining_access": 0, "users_losing_access": 0, "sessions_ending": 0, "sessions_cut_off": 0,
        "sessions_moving": 0, "profiles_outdated": 0, "profiles_cut_off": 0, "profiles_ending": 0,
        "daemons_starting": 0, "daemons_restarting": 0, "daemons_stopping": 0,
        "cut_off": [], "warnings": [],
    });
    for (name, number) in numbers {
        effect[*name] = json!(number);
    }
    effect
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_tried_tells_what_it_would_do_and_does_nothing() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    let (place, ana) = (world.place(), format!("/users/{}", world.ana));
    let detach = format!("{place}/hosts/{}", world.hosts[0]);
    let cases = [
        ("PATCH", &place, Some(json!({ "name": "other" })), only(&[])),
        ("PATCH", &place, Some(json!({})), only(&[])),
        (
            "PATCH",
            &place,
            Some(json!({ "port": 1195 })),
            world.all_cut_off(only(&[
                ("sessions_ending", 2),
                ("sessions_cut_off", 2),
                ("profiles_outdated", 2),
                ("profiles_cut_off", 2),
                ("daemons_restarting", 2),
            ])),
        ),
        ("PATCH", &place, Some(json!({ "dns_servers": ["10.9.0.53"] })), only(&[("sessions_moving", 2)])),
        (
            "PATCH",
            &place,
            Some(json!({ "organization_ids": [] })),
            only(&[("users_losing_access", 2), ("sessions_ending", 2)]),
        ),
        ("DELETE", &detach, None, only(&[("sessions_moving", 2), ("profiles_outdated", 2), ("daemons_stopping", 1)])),
        ("PATCH", &ana, Some(json!({ "disabled": true })), only(&[("users_losing_access", 1), ("sessions_ending", 1)])),
        ("DELETE", &ana, None, only(&[("users_losing_access", 1), ("sessions_ending", 1), ("profiles_ending", 1)])),
        (
            "POST",
            &"/users".to_owned(),
            Some(json!({ "organization_id": world.organization, "name": "Cy" })),
            only(&[("users_gaining_access", 1)]),
        ),
    ];
    for (method, path, body, expected) in &cases {
        let mut found = world.tries(method, path, body.as_ref());
        found["cut_off"].as_array_mut().unwrap().sort_by_key(|one| one["profile_id"].to_string());
        assert_eq!(found, *expected, "{method} {path} {body:?}");
    }
    let blind = world.tries("PATCH", &place, Some(&json!({ "routes": [{ "network": "0.0.0.0/0" }] })));
    assert_eq!(blind["sessions_moving"], 2);
    let warned = blind["warnings"].as_array().unwrap();
    assert!(warned.len() == 1 && warned[0].as_str().unwrap().contains("no DNS servers"), "{blind}");
    assert_eq!(world.rig.dump().await, before);
    // What it said is what comes of it.
    world.owner.patch(&ana, &json!({ "disabled": true }));
    let again = world.tries("PATCH", &place, Some(&json!({ "organization_ids": [] })));
    assert_eq!(again, only(&[("users_losing_access", 1), ("sessions_ending", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_refused_when_it_is_tried() {
    let world = World::new().await;
    let place = format!("{}?dry_run=true", world.place());
    let taken = json!({ "name": "other", "network": "10.9.0.0/25", "port": 1195, "protocol": "udp" });
    assert_eq!(world.owner.ask("POST", "/servers?dry_run=true", Some(&taken)).checked(), 422);
    assert_eq!(world.owner.ask("DELETE", &place, None).checked(), 409);
    let stale = [("content-type", "application/json"), ("if-match", "\"1\"")];
    let path = format!("/api/v1{place}");
    assert_eq!(world.owner.send("PATCH", &path, &stale, Some(b"{\"port\": 1195}")).checked(), 412);
    for bad in ["dry_run=", "dry_run=1", "dry_run=true&dry_run=true"] {
        let answer = world.owner.ask("PATCH", &format!("{}?{bad}", world.place()), Some(&json!({})));
        assert_eq!(answer.checked(), 400, "{bad}");
        assert_eq!(answer.json()["errors"][0]["parameter"], "dry_run", "{bad}");
    }
    let auditor = world.rig.as_role(Role::Auditor);
    assert_eq!(auditor.ask("PATCH", &place, Some(&json!({ "port": 1195 }))).checked(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_writes_can_be_tried_and_the_others_say_that_they_cannot() {
    let world = World::new().await;
    let (tried, others): (Vec<_>, Vec<_>) =
        web::routes().admin.into_iter().filter(|route| route.path.starts_with("/api/")).partition(|r| r.can_be_tried);
    assert!(tried.len() >= 11 && tried.iter().all(|route| route.method != "GET"), "{tried:?}");
    for route in others.iter().filter(|route| !route.path.contains('{') && route.method == "GET") {
        let answer = world.owner.send("GET", &format!("{}?dry_run=true", route.path), &[], None);
        assert_eq!(answer.checked(), 400, "{route:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_a_host_needs_is_warned_of_and_not_refused() {
    let world = World::new().await;
    let [first, second] = world.hosts;
    let needed =
        |kind, network: &str| HostNetwork { kind, network: network.parse().unwrap(), device: Some("lan".to_owned()) };
    let networks = [needed(HostNetworkKind::Link, "10.92.0.0/24"), needed(HostNetworkKind::Route, "10.0.0.0/8")];
    assert!(world.rig.services.hosts().report_networks(first, &networks).await.unwrap());
    assert!(!world.rig.services.hosts().report_networks(crate::api_rig::nobody(), &networks).await.unwrap());
    let server = |network: &str| json!({ "name": network.replace('/', "-"), "network": network, "port": 1200, "protocol": "udp" });
    let sentence = "the server's network 10.92.0.0/16 holds the machine's own network 10.92.0.0/24 (lan)";
    let warned = |effect: &Value| effect["warnings"].as_array().cloned().unwrap_or_default();

    let tried = world.tries("POST", "/servers", Some(&server("10.92.0.0/16")));
    let [warning] = &warned(&tried)[..] else { panic!("{tried}") };
    assert!(warning.as_str().unwrap().contains(sentence), "{warning}");
    assert!(warned(&world.tries("POST", "/servers", Some(&server("10.93.0.0/16")))).is_empty());

    let made = world.owner.ask("POST", "/servers", Some(&server("10.92.0.0/16")));
    assert_eq!(made.checked(), 201, "it is no refusal");
    assert!(made.header("postern-warning").contains(sentence), "{made:?}");
    let place = format!("/servers/{}", made.json()["id"].as_str().unwrap());
    for (host, expected) in [(first, 1), (second, 0)] {
        let path = format!("{place}/hosts/{host}");
        assert_eq!(warned(&world.tries("PUT", &path, None)).len(), expected, "{path}");
        let attached = world.owner.ask("PUT", &path, None);
        assert_eq!(attached.checked(), 204);
        assert_eq!(attached.header("postern-warning").contains(sentence), expected == 1, "{attached:?}");
    }
    // A change warns of the hosts that are attached, and a name is no change of the network.
    let moved = world.tries("PATCH", &world.place(), Some(&json!({ "name": "other" })));
    assert!(warned(&moved).is_empty(), "{moved}");
    let moved = world.tries("PATCH", &place, Some(&json!({ "network": "10.92.0.0/17" })));
    assert_eq!(warned(&moved).len(), 1, "{moved}");
}
