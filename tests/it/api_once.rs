//! `Idempotency-Key`: what is sent again is done once, on whatever host, and answered as it was the first time.

use std::sync::Arc;

use postern::domain::clock::SystemClock;
use postern::domain::role::Role;
use postern::keys::master::MasterKey;
use postern::services::Services;
use postern::store::Emitter;
use serde_json::{Value, json};

use crate::api_rig::{Answer, Caller, Rig, listening, settings};
use crate::store::connect;

fn post(caller: &Caller, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    caller.send("POST", &format!("/api/v1{path}"), &headers, Some(body.to_string().as_bytes()))
}

/// Another process over the same database.
pub(crate) async fn elsewhere(rig: &Rig, role: Role) -> Caller {
    let store = connect(&rig.database).await;
    let emitter = Emitter::start(&store, std::time::Duration::from_secs(8), &rig.tasks, &rig.stop);
    let services = Services::builder(store, emitter, Arc::new(SystemClock))
        .master_key(Some(MasterKey::from_bytes(&[7; 32])))
        .build();
    let addresses = listening(settings(), &services, &rig.tasks, &rig.stop).await;
    Caller::new(addresses.admin.unwrap(), Some(&rig.tokens[role.as_str()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_done_once_and_answered_alike_anywhere() {
    let rig = Rig::new().await;
    let (owner, other) = (rig.owner(), elsewhere(&rig, Role::Owner).await);
    let body = json!({ "name": "Acme" });
    let first = post(&owner, "/organizations", "k1", &body);
    assert_eq!((first.checked(), first.header("idempotency-replayed")), (201, ""));
    let before = rig.dump().await;
    for caller in [&owner, &other] {
        let again = post(caller, "/organizations", "k1", &body);
        assert_eq!((again.checked(), &again.body), (201, &first.body));
        assert_eq!(again.header("idempotency-replayed"), "true");
        for header in ["location", "etag", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(rig.dump().await["organizations"], before["organizations"]);
    assert_eq!(rig.dump().await["audit"], before["audit"]);

    for (path, body) in [("/organizations", json!({ "name": "Other" })), ("/tokens", body.clone())] {
        let refused = post(&other, path, "k1", &body);
        assert_eq!((refused.checked(), &refused.json()["code"]), (422, &json!("PST-HTTP-014")), "{path}");
    }
    // Keys are of one token each.
    let admin = post(&rig.as_role(Role::Admin), "/organizations", "k1", &json!({ "name": "Of the admin" }));
    assert_eq!(admin.checked(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_done_and_the_others_wait_or_hear_the_same() {
    let rig = Rig::new().await;
    let callers = [rig.owner(), elsewhere(&rig, Role::Owner).await];
    let mut asked = Vec::new();
    for round in 0..30 {
        let caller = callers[round % 2].clone();
        asked.push(tokio::task::spawn_blocking(move || {
            post(&caller, "/organizations", "k", &json!({ "name": "Acme" }))
        }));
    }
    let mut bodies = std::collections::BTreeSet::new();
    for answer in asked {
        let answer = answer.await.unwrap();
        if answer.checked() == 409 {
            assert_eq!(answer.json()["code"], "PST-HTTP-013", "{answer:?}");
            assert!(answer.json()["retryable"] == true && !answer.header("retry-after").is_empty(), "{answer:?}");
        } else {
            assert_eq!(answer.status, 201);
            bodies.insert(answer.body);
        }
    }
    assert_eq!(bodies.len(), 1);
    assert_eq!(rig.owner().list("/organizations", 200).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_changed_nothing_and_gives_its_key_back() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    for (body, status) in
        [(json!({ "name": "" }), 422), (json!({}), 422), (json!([]), 422), (json!({ "name": "Acme" }), 201)]
    {
        assert_eq!(post(&owner, "/organizations", "k", &body).checked(), status, "{body}");
    }
    assert_eq!(post(&rig.as_role(Role::Auditor), "/organizations", "k", &json!({ "name": "x" })).checked(), 403);
    for bad in ["", " ", "a b", &"k".repeat(256), "schlüssel"] {
        assert_eq!(post(&owner, "/organizations", bad, &json!({ "name": "x" })).checked(), 400, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_told_once_and_rests_nowhere() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let body = json!({ "name": "nightly", "role": "auditor" });
    let made = post(&owner, "/tokens", "k", &body);
    assert_eq!(made.checked(), 201);
    let again = post(&owner, "/tokens", "k", &body);
    assert_eq!((again.checked(), &again.json()["code"]), (409, &json!("PST-HTTP-015")));
    assert!(again.json()["detail"].as_str().unwrap().contains(made.header("location")), "{again:?}");
    let secret = made.json()["token"].as_str().unwrap().rsplit_once('_').unwrap().1.to_owned();

    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let server = json!({
        "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
    });
    let server = owner.post("/servers", &server)["id"].clone();
    let user = owner.post("/users", &json!({ "organization_id": organization, "name": "Ana" }))["id"].clone();
    let host = rig.host().await;
    owner.expect(204, "PUT", &format!("/servers/{}/hosts/{host}", server.as_str().unwrap()), None);
    let path = format!("/users/{}/profiles", user.as_str().unwrap());
    let profile = json!({ "server_id": server, "name": "laptop" });
    let issued = post(&owner, &path, "p", &profile);
    assert_eq!(issued.checked(), 201, "{issued:?}");
    let again = post(&owner, &path, "p", &profile);
    assert_eq!((again.checked(), &again.json()["code"]), (409, &json!("PST-HTTP-015")));
    assert_eq!(owner.list("/profiles", 50).len(), 1, "and nothing is issued a second time");

    let config = issued.json()["config"].as_str().unwrap().to_owned();
    let (_, key) = config.split_once("<key>").unwrap();
    let line = key.lines().nth(2).unwrap().to_owned();
    for (collection, rows) in rig.dump().await {
        let text: String = rows.iter().map(|row| String::from_utf8_lossy(row.as_bytes()).into_owned()).collect();
        assert!(!text.contains(&secret) && !text.contains(&line) && !text.contains("BEGIN PRIVATE"), "{collection}");
    }
}
