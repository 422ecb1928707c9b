//! Who may use which route: every route, walked with every kind of caller.

use postern::domain::group::GroupId;
use postern::domain::ids::{HostId, JoinTokenId, OrganizationId, ProfileId, ServerId, SessionId, TokenId, UserId};
use postern::domain::job::Job;
use postern::domain::role::Role;
use postern::domain::text::GroupName;
use postern::web;
use postern::web::{Access, RouteInfo};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig, nobody};

/// The document tells nothing about a cluster; what a machine shows a join token to takes that for the right.
const OPEN: [&str; 3] = ["/api/v1/openapi.json", "/api/v1/join", "/api/v1/join/checks"];

/// The route's path for things that do not exist.
fn path_of(route: &RouteInfo) -> String {
    let noun = route.path.trim_start_matches("/api/v1").trim_start_matches('/').split('/').next().unwrap();
    let id = match noun {
        "organizations" => nobody::<OrganizationId>().to_string(),
        "users" => nobody::<UserId>().to_string(),
        "profiles" => nobody::<ProfileId>().to_string(),
        "servers" => nobody::<ServerId>().to_string(),
        "hosts" => nobody::<HostId>().to_string(),
        "join-tokens" => nobody::<JoinTokenId>().to_string(),
        "groups" => GroupId::from("nobody".parse::<GroupName>().unwrap()).to_string(),
        "sessions" => nobody::<SessionId>().to_string(),
        "tokens" => nobody::<TokenId>().to_string(),
        "jobs" => Job::AddressSweep.to_string(),
        _ => "none".to_owned(),
    };
    route.path.replace("{id}", &id).replace("{host_id}", &nobody::<HostId>().to_string())
}

/// The routes of the API, which stand on the admin listener beside the pages of the console.
fn api_routes() -> Vec<RouteInfo> {
    web::routes().admin.into_iter().filter(|route| route.path.starts_with("/api/")).collect()
}

/// A sound body, so that refusals come from the rules and not from the reader.
fn body_of(route: &RouteInfo, mark: &str) -> Option<Value> {
    let method = route.method.as_str();
    match (method, route.path) {
        ("POST", "/api/v1/organizations") => Some(json!({ "name": format!("by {mark}") })),
        ("POST", "/api/v1/users") => Some(json!({ "name": "Ana", "organization_id": nobody::<OrganizationId>() })),
        ("POST", "/api/v1/users/bulk") => Some(json!({ "csv": "name\nAna\n" })),
        ("POST", "/api/v1/servers") => Some(json!({
            "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
            "organization_ids": [nobody::<OrganizationId>()],
        })),
        ("POST", "/api/v1/join-tokens") => Some(json!({ "host_name": mark })),
        ("POST", "/api/v1/users/{id}/profiles") => Some(json!({ "name": "a", "server_id": nobody::<ServerId>() })),
        ("POST", "/api/v1/tokens") => Some(json!({ "name": mark, "role": "user" })),
        ("POST", "/api/v1/servers/{id}/rotate") => Some(json!({ "force": true })),
        ("POST", "/api/v1/hosts/{id}/drain") => Some(json!({ "budget_seconds": 60 })),
        ("POST", "/api/v1/groups/{id}/users") => Some(json!({ "add": [nobody::<UserId>()] })),
        ("PATCH", "/api/v1/groups/{id}") => Some(json!({ "name": "somebody" })),
        ("PATCH", _) => Some(json!({})),
        _ => None,
    }
}

fn walk(caller: &Caller, route: &RouteInfo, mark: &str) -> crate::api_rig::Answer {
    let body = body_of(route, mark).map(|body| body.to_string());
    let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
    caller.send(route.method.as_str(), &path_of(route), headers, body.as_ref().map(String::as_bytes))
}

/// SEC-AUTHZ-04: nobody but an owner changes who vouches for people, since whoever chooses the issuer chooses who is owner.
#[tokio::test(flavor = "multi_thread")]
async fn how_people_sign_in_is_an_owners_to_change() {
    let rig = Rig::new().await;
    let (owner, admin) = (rig.owner(), rig.as_role(Role::Admin));
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    for oidc in [
        json!({ "issuer": "https://idp.evil.example" }),
        json!({ "client_id": "theirs" }),
        json!({ "client_secret": "theirs" }),
        json!({ "allowed_domains": ["evil.example"] }),
        json!({ "default_organization_id": organization }),
    ] {
        let before = owner.get("/settings");
        let refused = admin.expect(403, "PATCH", "/settings", Some(&json!({ "oidc": oidc, "company_name": "Evil" })));
        assert!(refused["detail"].as_str().unwrap().contains("oidc"), "{refused}");
        assert_eq!(owner.get("/settings"), before, "{oidc}");
        owner.patch("/settings", &json!({ "oidc": oidc }));
        let kept = json!({ "oidc": { "issuer": owner.get("/settings")["oidc"]["issuer"] }, "company_name": "Acme" });
        admin.patch("/settings", &kept);
    }
    admin.expect(403, "PATCH", "/settings", Some(&json!({ "oidc": { "client_id": null } })));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_takes_the_right_that_its_table_says() {
    let rig = Rig::new().await;
    let admin = rig.addresses.admin.unwrap();
    let expired = rig.expired_token().await;
    let forged = rig.tokens["owner"].replace("tok_01", "tok_02");
    let routes = api_routes();
    assert!(routes.len() > 25);
    for route in &routes {
        let Access::Bearer(permission) = route.access else {
            assert!(OPEN.contains(&route.path), "{route:?} is open to anyone");
            continue;
        };
        for token in [None, Some(""), Some("pst_"), Some(expired.as_str()), Some(forged.as_str())] {
            let answer = walk(&Caller::new(admin, token), route, "nobody");
            assert_eq!(answer.checked(), 401, "{route:?} {token:?}");
            assert!(answer.header("www-authenticate").starts_with("Bearer "), "{answer:?}");
        }
        for role in Role::ALL {
            let answer = walk(&rig.as_role(role), route, role.as_str());
            let status = answer.checked();
            assert_ne!(status, 401, "{route:?} {role:?}");
            assert_eq!(status != 403, role.may(permission), "{route:?} {role:?}: {answer:?}");
            assert!(status < 500, "{route:?} {role:?}: {answer:?}");
        }
    }
}

/// What is there, by the noun of its path.
async fn furnished(rig: &Rig) -> Vec<(&'static str, String)> {
    let owner = rig.owner();
    let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
    let organization = id(&owner.post("/organizations", &json!({ "name": "Acme" })));
    let user = json!({ "organization_id": organization, "name": "Ana" });
    let server = json!({
        "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
    });
    let (user, server, host) =
        (id(&owner.post("/users", &user)), id(&owner.post("/servers", &server)), rig.host().await);
    owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
    let profile = json!({ "server_id": server, "name": "Laptop" });
    let profile = id(&owner.post(&format!("/users/{user}/profiles"), &profile)["profile"]);
    let token = id(&owner.post("/tokens", &json!({ "name": "nightly", "role": "user" })));
    vec![
        ("organizations", organization),
        ("users", user),
        ("servers", server),
        ("hosts", host.to_string()),
        ("profiles", profile),
        ("tokens", token),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_a_right_learns_and_changes_nothing_of_what_is_there() {
    let rig = Rig::new().await;
    let things = furnished(&rig).await;
    let host = &things[3].1;
    let mut walked = 0;
    let before = rig.dump().await;
    for route in &api_routes() {
        let Access::Bearer(permission) = route.access else { continue };
        let noun = route.path.trim_start_matches("/api/v1/").split('/').next().unwrap();
        let Some((_, thing)) = things.iter().find(|(name, _)| *name == noun) else { continue };
        let path = route.path.replace("{id}", thing).replace("{host_id}", host);
        for role in Role::ALL.into_iter().filter(|role| !role.may(permission)) {
            let body = body_of(route, role.as_str()).map(|body| body.to_string());
            let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
            let body = body.as_ref().map(String::as_bytes);
            let answer = rig.as_role(role).send(route.method.as_str(), &path, headers, body);
            assert_eq!(answer.checked(), 403, "{route:?} {role:?}: {answer:?}");
            assert!(!answer.body.contains("Ana") && !answer.body.contains("Acme"), "{answer:?}");
            walked += 1;
        }
    }
    assert!(walked > 60, "{walked}");
    for (collection, rows) in rig.dump().await {
        // That a token was used and that it was refused is noted; that is all that may happen.
        assert!(
            ["tokens", "audit"].contains(&collection.as_str()) || rows == before[&collection],
            "{collection} was changed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_no_token() {
    let rig = Rig::new().await;
    let caller = Caller::new(rig.addresses.admin.unwrap(), None);
    let cookie = format!("token={0}; authorization=Bearer {0}", rig.tokens["owner"]);
    assert_eq!(caller.send("GET", "/api/v1/users", &[("cookie", &cookie)], None).checked(), 401);
    let query = format!("/api/v1/users?access_token={}", rig.tokens["owner"]);
    assert_eq!(caller.send("GET", &query, &[], None).checked(), 401);
    let basic = [("authorization", "Basic YTpi")];
    assert_eq!(caller.send("GET", "/api/v1/users", &basic, None).checked(), 401);
}

/// What both sites have, each for itself: their first pages, signing in and out, and the files of pages.
const BOTH: [&str; 8] = [
    "/",
    "/sign-in",
    "/sign-in/start",
    "/sign-out",
    "/oauth/callback",
    "/sessions",
    "/sessions/{id}/end",
    "/assets/{hash}/{file}",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_route_answers_on_one_listener_only() {
    let rig = Rig::new().await;
    let tables = web::routes();
    let listeners = [
        (rig.addresses.public.unwrap(), &tables.public),
        (rig.addresses.admin.unwrap(), &tables.admin),
        (rig.addresses.ops, &tables.ops),
    ];
    for (address, own) in listeners {
        let caller = Caller::new(address, Some(&rig.tokens["owner"]));
        for (other, table) in listeners.iter().filter(|(other, _)| *other != address) {
            for route in table.iter().filter(|route| !BOTH.contains(&route.path)) {
                assert!(own.iter().all(|mine| mine.path != route.path), "{route:?} stands twice");
                assert_eq!(walk(&caller, route, "nobody").checked(), 404, "{route:?} of {other} on {address}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_other_methods_and_unknown_parameters() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    for route in &api_routes() {
        let answer = owner.send("OPTIONS", &path_of(route), &[], None);
        assert_eq!(answer.checked(), 405, "{route:?}");
        assert!(answer.header("allow").contains(route.method.as_str()), "{answer:?}");

        let body = body_of(route, "surprise").map(|body| body.to_string());
        let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let path = format!("{}?surprise=1", path_of(route));
        let answer = owner.send(route.method.as_str(), &path, headers, body.as_ref().map(String::as_bytes));
        assert_eq!(answer.checked(), 400, "{route:?}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["parameter"], "surprise");
    }
}
