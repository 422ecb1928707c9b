//! Join tokens over HTTP: made by an administrator, shown by a machine, used once.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::doc;
use postern::domain::role::Role;
use postern::domain::secret::Secret;
use postern::keys::host::HostKey;
use postern::services::hosts::joining::{HostDatabase, database_place};
use serde_json::{Value, json};

use crate::api_rig::{Answer, Caller, Rig, settings};
use crate::support::mongod::shared;

const URI: &str = "mongodb://db.internal/?replicaSet=t";

/// A cluster whose database other machines can reach.
pub(crate) async fn rig() -> Rig {
    let database = HostDatabase { uri: Secret::new(URI.to_owned()), name: "postern".to_owned(), for_hosts: true };
    Rig::for_hosts(shared().database(), settings(), database).await
}

fn server(owner: &Caller, name: &str, network: &str, port: u16) -> String {
    let body = json!({ "name": name, "network": network, "port": port, "protocol": "udp" });
    owner.post("/servers", &body)["id"].as_str().unwrap().to_owned()
}

fn key(byte: u8) -> HostKey {
    HostKey::from_bytes(&[byte; 32])
}

/// What a machine with this key gets for a token.
fn redeem(rig: &Rig, token: &str, key: &HostKey) -> Answer {
    let body = json!({
        "token": token, "public_key": key.public().to_string(), "public_addresses": ["203.0.113.7"],
    });
    Caller::new(rig.addresses.admin.unwrap(), None).ask("POST", "/join", Some(&body))
}

fn issue(owner: &Caller, name: &str, servers: &[&str]) -> Value {
    owner.post("/join-tokens", &json!({ "host_name": name, "server_ids": servers }))
}

fn token_of(issued: &Value) -> &str {
    issued["token"].as_str().unwrap()
}

/// The refusals in the trail: object and reason.
fn denials(owner: &Caller) -> Vec<(String, String)> {
    let entries = owner.get("/audit?action=host.join");
    let entries = entries["items"].as_array().unwrap();
    let denied = entries.iter().filter(|entry| entry["outcome"] == "denied");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    denied.map(|entry| (text(&entry["object"]), text(&entry["changes"]["reason"][1]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_token_becomes_a_host_with_its_servers_and_the_way_to_the_database() {
    let rig = rig().await;
    let owner = rig.owner();
    let servers = [server(&owner, "office", "10.9.0.0/24", 1194), server(&owner, "lab", "10.8.0.0/24", 1195)];
    let issued = issue(&owner, "vpn-3", &[&servers[0], &servers[1]]);
    let admin = rig.addresses.admin.unwrap();
    let command = format!("printf %s {} | postern join http://{admin} --token-file -", token_of(&issued));
    assert_eq!(issued["command"], command);
    assert_eq!(owner.get("/join-tokens")["items"][0]["id"], issued["id"]);

    let key = key(1);
    let answer = redeem(&rig, token_of(&issued), &key);
    assert_eq!(answer.checked(), 200, "{answer:?}");
    assert!(!answer.body.contains("db.internal"), "the way to the database is not in clear: {answer:?}");
    let joined = answer.json();
    let id = joined["host_id"].as_str().unwrap();
    let sealed = STANDARD.decode(joined["sealed_database_uri"].as_str().unwrap()).unwrap();
    assert_eq!(*key.open(&database_place(id), &sealed).unwrap(), URI.as_bytes());

    let host = owner.get(&format!("/hosts/{id}"));
    assert_eq!((&host["name"], &host["public_address"]), (&json!("vpn-3"), &json!("203.0.113.7")));
    assert_eq!(host["roles"], json!(["vpn"]));
    for server in &servers {
        assert_eq!(owner.get(&format!("/servers/{server}/hosts"))["items"][0]["host_id"], id);
    }
    let shown = owner.get(&format!("/join-tokens/{}", issued["id"].as_str().unwrap()));
    assert_eq!((&shown["state"], &shown["host_id"]), (&json!("redeemed"), &json!(id)));
    assert_eq!(owner.get("/join-tokens")["items"], json!([]), "it is not open any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_machine_may_ask_again_and_no_other() {
    let rig = rig().await;
    let owner = rig.owner();
    let server = server(&owner, "office", "10.9.0.0/24", 1194);
    let issued = issue(&owner, "vpn-3", &[&server]);
    let first = redeem(&rig, token_of(&issued), &key(1)).json();
    let before = owner.list("/audit", 200).len();
    let again = redeem(&rig, token_of(&issued), &key(1));
    assert_eq!(again.checked(), 200);
    assert_eq!(again.json()["host_id"], first["host_id"]);
    assert_eq!(owner.get("/hosts")["items"].as_array().unwrap().len(), 1);
    assert_eq!(owner.list("/audit", 200).len(), before, "nothing changed, so nothing is recorded");

    let stolen = redeem(&rig, token_of(&issued), &key(2));
    assert_eq!(stolen.checked(), 409);
    assert!(stolen.json()["detail"].as_str().unwrap().contains("used by another machine"), "{stolen:?}");
    let [(object, reason)] = &denials(&owner)[..] else { panic!("one refusal") };
    assert_eq!(object, issued["id"].as_str().unwrap());
    assert!(reason.contains("used by another machine"), "{reason}");

    owner.expect(204, "DELETE", &format!("/hosts/{}", first["host_id"].as_str().unwrap()), None);
    let late = redeem(&rig, token_of(&issued), &key(1));
    assert!(late.json()["detail"].as_str().unwrap().contains("removed"), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_machines_with_one_token_one_becomes_a_host() {
    let rig = rig().await;
    let owner = rig.owner();
    let issued = issue(&owner, "vpn-3", &[]);
    let token = token_of(&issued);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let rig = &rig;
        let tries: Vec<_> = (1..=8).map(|n| scope.spawn(move || redeem(rig, token, &key(n)).status)).collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
    assert_eq!(owner.get("/hosts")["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_over_withdrawn_or_made_up_let_nobody_in() {
    let rig = rig().await;
    let owner = rig.owner();
    let over = issue(&owner, "vpn-3", &[]);
    let tickets = rig.database.open().await.collection::<mongodb::bson::Document>("tickets");
    let past = doc! { "$set": { "good_until": "2026-01-01T00:00:00Z" } };
    tickets.update_one(doc! { "token_id": over["id"].as_str().unwrap() }, past).await.unwrap();
    let refused = redeem(&rig, token_of(&over), &key(1));
    assert_eq!(refused.checked(), 409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("ran out at 2026-01-01"), "{refused:?}");
    let shown = owner.get(&format!("/join-tokens/{}", over["id"].as_str().unwrap()));
    assert_eq!(shown["state"], "expired");

    let withdrawn = issue(&owner, "vpn-3", &[]);
    let path = format!("/join-tokens/{}", withdrawn["id"].as_str().unwrap());
    owner.expect(204, "DELETE", &path, None);
    owner.expect(404, "DELETE", &path, None);
    for token in [token_of(&withdrawn), "psj_AAAA", "", &rig.tokens["owner"]] {
        let refused = redeem(&rig, token, &key(1));
        assert_eq!(refused.checked(), 404, "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("withdrawn"), "{refused:?}");
    }
    assert_eq!(denials(&owner).len(), 5);
    assert_eq!(owner.get("/hosts")["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_not_taken_from_a_living_host() {
    let rig = rig().await;
    let owner = rig.owner();
    let early = issue(&owner, "vpn-3", &[]);
    let late = issue(&owner, "vpn-3", &[]);
    let id = redeem(&rig, token_of(&early), &key(1)).json()["host_id"].as_str().unwrap().to_owned();
    rig.services.hosts().beat(id.parse().unwrap(), 0).await.unwrap();

    let refused = redeem(&rig, token_of(&late), &key(2));
    assert_eq!(refused.checked(), 409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("another machine runs as host vpn-3"), "{refused:?}");
    assert_eq!(denials(&owner).len(), 1);
    let refused = owner.ask("POST", "/join-tokens", Some(&json!({ "host_name": "vpn-3" })));
    assert_eq!(refused.checked(), 409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("running already"), "{refused:?}");

    // Once it is silent, a machine that was set up anew is the same host.
    rig.services.hosts().beat_last(id.parse().unwrap()).await.unwrap();
    assert_eq!(redeem(&rig, token_of(&late), &key(2)).json()["host_id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_finds_out_is_shown_to_whoever_waits() {
    let rig = rig().await;
    let owner = rig.owner();
    let server = server(&owner, "office", "10.9.0.0/24", 1194);
    let issued = issue(&owner, "vpn-3", &[&server]);
    let machine = Caller::new(rig.addresses.admin.unwrap(), None);
    let checks = json!([
        { "name": "tun", "passed": true },
        { "name": "clock", "passed": false, "cause": "40 s behind", "remedy": "timedatectl set-ntp true" },
    ]);
    let mut body = json!({ "token": token_of(&issued), "public_key": key(1).public().to_string(), "checks": checks });
    let plan = machine.expect(200, "POST", "/join/checks", Some(&body));
    assert_eq!(plan["host_name"], "vpn-3");
    assert_eq!(plan["servers"][0], json!({ "id": server, "name": "office", "port": 1194, "protocol": "udp" }));
    let shown = owner.get(&format!("/join-tokens/{}", issued["id"].as_str().unwrap()));
    assert_eq!((&shown["checks"], &shown["state"]), (&checks, &json!("open")));

    body["checks"] = json!(vec![json!({ "name": "tun", "passed": true }); 33]);
    machine.expect(422, "POST", "/join/checks", Some(&body));
    body["checks"] = json!([{ "name": "a\nb", "passed": true }]);
    machine.expect(422, "POST", "/join/checks", Some(&body));
    body["checks"] = json!([]);
    body["token"] = "psj_AAAA".into();
    machine.expect(404, "POST", "/join/checks", Some(&body));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_wishes_are_refused_with_their_field() {
    let rig = rig().await;
    let owner = rig.owner();
    let (one, two) = (server(&owner, "a", "10.9.0.0/24", 1194), server(&owner, "b", "10.8.0.0/24", 1194));
    let mut pair = [one, two];
    pair.sort();
    for (body, field) in [
        (json!({}), "/host_name"),
        (json!({ "host_name": "Big Host" }), "/host_name"),
        (json!({ "host_name": "a", "expires_in_seconds": 86_401 }), "/expires_in_seconds"),
        (json!({ "host_name": "a", "expires_in_seconds": 0 }), "/expires_in_seconds"),
        (json!({ "host_name": "a", "server_ids": ["srv_01ARZ3NDEKTSV4RRFFQ69G5FAV"] }), "/server_ids/0"),
        (json!({ "host_name": "a", "server_ids": pair }), "/server_ids/1"),
        (json!({ "host_name": "a", "surprise": 1 }), "/surprise"),
    ] {
        let refused = owner.ask("POST", "/join-tokens", Some(&body));
        assert_eq!(refused.checked(), 422, "{body}: {refused:?}");
        assert_eq!(refused.json()["errors"][0]["pointer"], field, "{body}");
    }
    let token = issue(&owner, "vpn-3", &[]);
    let machine = Caller::new(rig.addresses.admin.unwrap(), None);
    for (field, bad) in [
        ("public_key", json!("AAAA")),
        ("public_key", json!(STANDARD.encode([0; 32]))),
        ("public_addresses", json!([])),
        ("public_addresses", json!(["x y"])),
    ] {
        let mut body = json!({
            "token": token_of(&token), "public_key": key(1).public().to_string(), "public_addresses": ["203.0.113.7"],
        });
        body[field] = bad;
        let refused = machine.ask("POST", "/join", Some(&body));
        assert_eq!(refused.checked(), 422, "{body}: {refused:?}");
        let pointer = refused.json()["errors"][0]["pointer"].as_str().unwrap().to_owned();
        assert!(pointer.starts_with(&format!("/{field}")), "{pointer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_manage_servers_invites_no_machine() {
    let rig = rig().await;
    for role in [Role::Helpdesk, Role::Auditor, Role::User] {
        let refused = rig.as_role(role).ask("POST", "/join-tokens", Some(&json!({ "host_name": "a" })));
        assert_eq!(refused.checked(), 403);
    }
    assert_eq!(rig.as_role(Role::Operator).ask("POST", "/join-tokens", Some(&json!({ "host_name": "a" }))).status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_of_tokens_are_counted_by_address() {
    let rig = rig().await;
    let statuses: BTreeSet<u16> = (0..30).map(|_| redeem(&rig, "psj_AAAA", &key(1)).status).collect();
    assert_eq!(statuses, BTreeSet::from([404, 429]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_rests_nowhere() {
    let rig = rig().await;
    let owner = rig.owner();
    let issued = issue(&owner, "vpn-3", &[]);
    let token: postern::keys::join::JoinToken = token_of(&issued).parse().unwrap();
    redeem(&rig, token_of(&issued), &key(1));
    let secret = token.secret.to_text();
    let bytes = data_encoding::HEXLOWER.decode(secret.expose().as_bytes()).unwrap();
    for (collection, rows) in rig.dump().await {
        for row in rows {
            let found = |needle: &[u8]| row.as_bytes().windows(needle.len()).any(|window| window == needle);
            assert!(!found(&bytes) && !found(secret.expose().as_bytes()), "{collection} holds the secret");
            assert!(!found(token_of(&issued).as_bytes()), "{collection} holds the token");
            assert!(!found(b"db.internal"), "{collection} holds the way to the database");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_database_takes_no_other_machines() {
    let rig = Rig::new().await;
    let refused = rig.owner().ask("POST", "/join-tokens", Some(&json!({ "host_name": "a" })));
    assert_eq!(refused.checked(), 409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("set database.uri"), "{refused:?}");
}
