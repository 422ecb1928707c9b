//! API tokens: told once, no mightier than who makes them, and over the moment that they are revoked.

use mongodb::bson::{Document, doc};
use postern::domain::audit::Actor;
use postern::domain::login::Who;
use postern::domain::role::Role;
use postern::domain::token::TokenLifetime;
use postern::services::identity::tokens::NewToken;
use postern::services::{Act, ServiceError};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig, name};
use crate::join_tokens;

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

/// An organization with a person of a role, and the act of that person at the console.
fn person(rig: &Rig, role: &str) -> (String, Act) {
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": format!("Org of {role}") }))["id"].clone();
    let user = json!({ "organization_id": organization, "name": role, "role": role });
    let id = owner.post("/users", &user)["id"].as_str().unwrap().to_owned();
    let who = Who::User(id.parse().unwrap());
    let act = Act::of(Actor::Admin { who, login: rig.services.new_id(), role: role.parse().unwrap() });
    (id, act)
}

async fn token_of(rig: &Rig, act: &Act, role: Role, service: bool) -> Result<Caller, ServiceError> {
    let new = NewToken { name: name("program"), role, expires_in_seconds: TokenLifetime::default(), service };
    let issued = rig.services.identity().create_token(act, new).await?;
    Ok(Caller::new(rig.addresses.admin.unwrap(), Some(issued.text.expose())))
}

/// SEC-AUTHZ-06: a token ends with its person, however the person's rights end, and does not come back with them; what was
/// made with the token ends too.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_the_rights_of_its_person() {
    for (body, undone) in [
        (Some(json!({ "disabled": true })), Some(json!({ "disabled": false }))),
        (Some(json!({ "role": "user" })), Some(json!({ "role": "admin" }))),
        (None, None),
    ] {
        let rig = join_tokens::rig().await;
        let owner = rig.owner();
        let (user, act) = person(&rig, "admin");
        let path = format!("/users/{user}");
        let token = token_of(&rig, &act, Role::Admin, false).await.unwrap();
        let child = token.post("/tokens", &json!({ "name": "child", "role": "auditor" }));
        assert_eq!(child["owner_id"], json!(user), "{child}");
        let child = Caller::new(rig.addresses.admin.unwrap(), child["token"].as_str());
        let spare = token.post("/join-tokens", &json!({ "host_name": "vpn-9", "server_ids": [] }));
        for bearer in [&token, &child] {
            bearer.get("/users");
        }
        match &body {
            Some(body) => drop(owner.patch(&path, body)),
            None => drop(owner.expect(204, "DELETE", &path, None)),
        }
        for bearer in [&token, &child] {
            bearer.expect(401, "GET", "/users", None);
        }
        assert!(!owner.list("/tokens", 200).iter().any(|token| token["owner_id"] == json!(user)), "{body:?}");
        assert_eq!(owner.get("/join-tokens")["items"], json!([]), "{spare}");
        if let Some(undone) = undone {
            owner.patch(&path, &undone);
            token.expect(401, "GET", "/users", None);
        }
    }
}

/// SEC-AUTHZ-06: the person is read with each request, so a token that a change of the database left behind opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_person_is_gone_opens_nothing() {
    let rig = Rig::new().await;
    let (user, act) = person(&rig, "admin");
    let token = token_of(&rig, &act, Role::Admin, false).await.unwrap();
    token.get("/users");
    rig.database.open().await.collection::<Document>("users").delete_one(doc! { "_id": &user }).await.unwrap();
    token.expect(401, "GET", "/users", None);
}

/// SEC-AUTHZ-06: a token makes no token that outlives or outranks it, and a chain of tokens has two links at most.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_makes_ends_with_it() {
    let rig = Rig::new().await;
    let (_, act) = person(&rig, "admin");
    let token = token_of(&rig, &act, Role::Admin, false).await.unwrap();
    let year = json!({ "name": "child", "role": "admin", "expires_in_seconds": 31_622_400 });
    let child = token.post("/tokens", &year);
    let own = rig.owner().list("/tokens", 200);
    let maker = own.iter().find(|token| token["id"] == child["created_by"]).unwrap();
    assert_eq!(child["expires_at"], maker["expires_at"]);
    token.expect(403, "POST", "/tokens", Some(&json!({ "name": "x", "role": "owner" })));
    let bearer = Caller::new(rig.addresses.admin.unwrap(), child["token"].as_str());
    let refused = bearer.expect(409, "POST", "/tokens", Some(&json!({ "name": "x", "role": "auditor" })));
    assert_eq!(refused["reason"], "made_with_token");
    rig.owner().expect(204, "DELETE", &format!("/tokens/{}", maker["id"].as_str().unwrap()), None);
    bearer.expect(401, "GET", "/users", None);
}

/// SEC-AUTHZ-06: only an owner makes a service token, and it stays when that owner leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_token_is_an_owners_to_make() {
    let rig = Rig::new().await;
    let (_, admin) = person(&rig, "admin");
    assert!(matches!(token_of(&rig, &admin, Role::Auditor, true).await, Err(ServiceError::Forbidden(_))));
    let personal = token_of(&rig, &admin, Role::Admin, false).await.unwrap();
    personal.expect(403, "POST", "/tokens", Some(&json!({ "name": "x", "role": "auditor", "service": true })));
    let (user, owner) = person(&rig, "owner");
    let second = rig.owner().list("/organizations", 200)[0]["id"].clone();
    rig.owner().post("/users", &json!({ "organization_id": second, "name": "Other owner", "role": "owner" }));
    let service = token_of(&rig, &owner, Role::Auditor, true).await.unwrap();
    let own = token_of(&rig, &owner, Role::Auditor, false).await.unwrap();
    rig.owner().patch(&format!("/users/{user}"), &json!({ "disabled": true }));
    service.get("/users");
    own.expect(401, "GET", "/users", None);
}
