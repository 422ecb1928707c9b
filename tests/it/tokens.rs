//! API tokens: told once, no mightier than who makes them, and over the moment that they are revoked.

use postern::domain::role::Role;
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

fn named<'a>(tokens: &'a [Value], name: &str) -> &'a Value {
    tokens.iter().find(|token| token["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_told_once_and_good_until_it_is_revoked() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let made = owner.ask("POST", "/tokens", Some(&json!({ "name": "nightly", "role": "auditor" })));
    assert_eq!(made.checked(), 201);
    let path = made.header("location").strip_prefix("/api/v1").unwrap().to_owned();
    let made = made.json();
    let secret = made["token"].as_str().unwrap();
    assert!(secret.starts_with("pst_tok_"), "{made}");
    assert!(made["created_by"].as_str().unwrap().starts_with("tok_"), "{made}");

    let shown = owner.get(&path);
    assert_eq!((&shown["last_used_at"], &shown["token"]), (&Value::Null, &Value::Null));
    let bearer = Caller::new(rig.addresses.admin.unwrap(), Some(secret));
    bearer.get("/users");
    bearer.expect(403, "POST", "/organizations", Some(&json!({ "name": "x" })));
    assert!(owner.get(&path)["last_used_at"].is_string());
    assert_eq!(named(&owner.list("/tokens", 2), "nightly")["id"], made["id"]);

    let (_, half) = secret.rsplit_once('_').unwrap();
    for (collection, rows) in rig.dump().await {
        assert!(!rows.iter().any(|row| format!("{row:?}").contains(half)), "{collection} holds the secret");
    }
    owner.expect(204, "DELETE", &path, None);
    for (caller, status) in [(&bearer, 401), (&owner, 404)] {
        caller.expect(status, "GET", &path, None);
    }
    owner.expect(404, "DELETE", &path, None);
    let id = made["id"].as_str().unwrap();
    let trail = owner.get(&format!("/audit?object={id}"));
    let actions: Vec<_> = trail["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["token.revoke", "token.create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_or_revokes_a_token_mightier_than_their_own() {
    let rig = Rig::new().await;
    let tokens = rig.owner().list("/tokens", 200);
    for maker in [Role::Owner, Role::Admin] {
        let caller = rig.as_role(maker);
        for role in Role::ALL {
            let may = maker.may_grant(role);
            assert_eq!(may, maker == Role::Owner || role != Role::Owner);
            let body = json!({ "name": format!("{maker:?} for {role:?}"), "role": role });
            let made = caller.ask("POST", "/tokens", Some(&body));
            assert_eq!(made.checked(), if may { 201 } else { 403 }, "{body}");
        }
    }
    let of_owner = tokens.iter().find(|token| token["role"] == "owner").unwrap();
    let path = format!("/tokens/{}", of_owner["id"].as_str().unwrap());
    rig.as_role(Role::Admin).expect(403, "DELETE", &path, None);
    rig.owner().get(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_token_is_a_year_at_most() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    for bad in [json!(0), json!(59), json!(31_622_401), json!(-1), json!("30d"), Value::Null] {
        let body = json!({ "name": "a", "role": "user", "expires_in_seconds": bad });
        let refused = owner.ask("POST", "/tokens", Some(&body));
        assert_eq!(refused.checked(), 422, "{bad}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/expires_in_seconds", "{bad}");
    }
    let made = owner.post("/tokens", &json!({ "name": "a", "role": "user", "expires_in_seconds": 31_622_400 }));
    assert!(made["expires_at"].as_str() > made["created_at"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_are_shown_without_their_private_halves() {
    let rig = Rig::new().await;
    let found = rig.as_role(Role::Auditor).get("/authorities");
    let kinds: Vec<_> = found["items"].as_array().unwrap().iter().map(|item| item["kind"].clone()).collect();
    assert_eq!(kinds.len(), 2);
    for item in found["items"].as_array().unwrap() {
        assert_eq!(item["state"], "issuing");
        let subject = item["subject"].as_str().unwrap();
        assert!(subject.ends_with(item["id"].as_str().unwrap()), "{item}");
        assert_eq!(item["fingerprint"].as_str().unwrap().len(), 64);
        let fields: Vec<_> = item.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["fingerprint", "id", "kind", "not_after", "not_before", "state", "subject"]);
    }
}
