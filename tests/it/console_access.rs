//! Who gets into the console, and what each role may do there: every route, walked with every kind of visitor.

use std::collections::BTreeMap;

use postern::domain::group::GroupId;
use postern::domain::ids::{HostId, JoinTokenId, OrganizationId, ProfileId, ServerId, SessionId, TokenId, UserId};
use postern::domain::role::Role;
use postern::domain::text::GroupName;
use postern::services::access::sessions::SessionRecord;
use postern::web;
use postern::web::{Access, RouteInfo};
use serde_json::json;

use crate::api_rig::nobody;
use crate::console_rig::{Console, SAME_ORIGIN, Visitor};
use crate::self_service_rig::account;

fn console_routes() -> Vec<RouteInfo> {
    let routes: Vec<_> =
        web::routes().admin.into_iter().filter(|route| matches!(route.access, Access::Console(_))).collect();
    assert!(routes.len() > 5);
    routes
}

/// The route's path for things that do not exist.
fn path_of(route: &RouteInfo) -> String {
    let id = match route.path.split('/').nth(1).unwrap() {
        "users" => nobody::<UserId>().to_string(),
        "servers" => nobody::<ServerId>().to_string(),
        "hosts" if route.path.starts_with("/hosts/join/") => nobody::<JoinTokenId>().to_string(),
        "hosts" => nobody::<HostId>().to_string(),
        "groups" => GroupId::from("nobody".parse::<GroupName>().unwrap()).to_string(),
        "sessions" => nobody::<SessionId>().to_string(),
        "jobs" => "address-sweep".to_owned(),
        "tokens" => nobody::<TokenId>().to_string(),
        _ => nobody::<OrganizationId>().to_string(),
    };
    route
        .path
        .replace("{id}", &id)
        .replace("{user_id}", &nobody::<UserId>().to_string())
        .replace("{host_id}", &nobody::<HostId>().to_string())
        .replace("{profile_id}", &nobody::<ProfileId>().to_string())
        .replace("{session_id}", &nobody::<SessionId>().to_string())
}

/// What else the form of a route holds, so that refusals come from the rules and not from the reader.
fn fields_of(route: &RouteInfo) -> &'static str {
    match route.path {
        "/sign-out" | "/jobs/{id}/run" => "",
        "/users/import" => "&csv=name%0AAna",
        _ => "&revision=1",
    }
}

/// The status of a walk with the form token of the visitor's login, and where it leads.
fn walk(visitor: &mut Visitor, route: &RouteInfo, token: Option<&str>) -> (u16, String) {
    let form = token.map_or_else(String::new, |token| format!("form_token={token}{}", fields_of(route)));
    let form = (route.method == "POST").then_some(form);
    let answer = visitor.send(route.method.as_str(), &path_of(route), &[SAME_ORIGIN], form.as_deref());
    (answer.status, answer.header("location").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_console_route_takes_the_right_that_its_table_says() {
    let console = Console::new().await;
    // Somebody with every right, signed in on the wrong site, with that cookie under both names.
    let mut elsewhere = Visitor::new(console.rig.addresses.public.unwrap());
    assert_eq!(elsewhere.sign_in(&console.issuer, &account("owner")).status, 303);
    let mut other = console.stranger();
    for name in ["postern-login", "postern-console-login"] {
        other.cookies.insert(name.to_owned(), elsewhere.cookies["postern-login"].clone());
    }
    let mut nobody = console.stranger();
    for route in &console_routes() {
        for visitor in [&mut nobody, &mut other] {
            let (status, location) = walk(visitor, route, None);
            assert_eq!(status, 303, "{route:?}");
            assert!(location.starts_with("/sign-in"), "{route:?}: {location}");
        }
    }
    for role in Role::ALL.into_iter().filter(|role| *role != Role::User) {
        let mut visitor = console.signed_in(role);
        let token = visitor.form_token("/organizations");
        let (last, first): (Vec<_>, Vec<_>) = console_routes().into_iter().partition(|r| r.path == "/sign-out");
        for route in first.iter().chain(&last) {
            let Access::Console(permission) = route.access else { unreachable!() };
            let (status, location) = walk(&mut visitor, route, Some(&token));
            assert_eq!(status != 403, role.may(permission), "{route:?} {role:?}: {status}");
            // This process has no bus, and says so to whoever wants to listen to it.
            assert!(status < 500 || route.path == "/live", "{route:?} {role:?}: {status}");
            assert!(!location.starts_with("/sign-in") || route.path == "/sign-out", "{route:?} {role:?}");
        }
        assert_eq!(visitor.get("/organizations").status, 303, "{role:?} is signed out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_count_only_with_the_token_of_their_login_and_from_our_own_pages() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let token = owner.form_token("/organizations");
    let foreign = console.signed_in(Role::Admin).form_token("/organizations");
    for route in console_routes().iter().filter(|route| route.method == "POST") {
        for form in [String::new(), format!("form_token={foreign}"), format!("form_token={token}&form_token={token}")] {
            let answer = owner.send("POST", &path_of(route), &[SAME_ORIGIN], Some(&form));
            assert!(answer.status == 403 && answer.body.contains("PST-AUTH-004"), "{route:?} {form}: {answer:?}");
        }
        let form = format!("form_token={token}");
        for from in ["cross-site", "same-site", "none"] {
            let answer = owner.send("POST", &path_of(route), &[("sec-fetch-site", from)], Some(&form));
            assert!(answer.status == 403 && answer.body.contains("PST-AUTH-005"), "{route:?} {from}: {answer:?}");
        }
    }
    assert_eq!(owner.get("/organizations").status, 200, "and none of them signed out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_of_the_console_opens_no_api_and_no_portal() {
    let console = Console::new().await;
    let owner = console.signed_in(Role::Owner);
    let mut api = owner.clone();
    assert_eq!(api.send("GET", "/api/v1/users", &[SAME_ORIGIN], None).checked(), 401);
    let mut portal = Visitor::new(console.rig.addresses.public.unwrap());
    for name in ["postern-login", "postern-console-login"] {
        portal.cookies.insert(name.to_owned(), owner.cookies["postern-console-login"].clone());
    }
    assert_eq!(portal.get("/sessions").status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_provider_counts_only_on_the_site_that_asked() {
    let console = Console::new().await;
    let (admin, public) = (console.rig.addresses.admin.unwrap(), console.rig.addresses.public.unwrap());
    for (from, to) in [(admin, public), (public, admin)] {
        let (mut asked, mut other) = (Visitor::new(from), Visitor::new(to));
        let back = asked.begin(&console.issuer, &account("owner"));
        // Whoever carries the answer over carries the cookie over as well, under either name.
        let cookie = asked.cookies.values().next().unwrap().clone();
        for name in ["postern-sign-in", "postern-console-sign-in"] {
            other.cookies.insert(name.to_owned(), cookie.clone());
        }
        let refused = other.send("GET", &back, &[("sec-fetch-site", "cross-site")], None);
        assert!(refused.status == 400 && refused.body.contains("PST-AUTH-016"), "{refused:?}");
        assert!(!other.cookies.keys().any(|name| name.ends_with("login")), "{:?}", other.cookies);
        let taken = asked.send("GET", &back, &[("sec-fetch-site", "cross-site")], None);
        assert!(taken.status < 400, "and it is not spent by that: {taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_people_with_a_role_get_in_and_newcomers_are_not_made() {
    let console = Console::new().await;
    for (who, code) in [("user", "PST-AUTH-020"), ("newcomer", "PST-AUTH-013")] {
        let mut visitor = console.stranger();
        let refused = visitor.sign_in(&console.issuer, &account(who));
        assert!(refused.status == 403 && refused.body.contains(code), "{who}: {refused:?}");
        assert!(refused.body.contains(&format!("{who}@example.com")), "{refused:?}");
        assert!(!visitor.cookies.contains_key("postern-console-login"));
        let denied = console.rig.owner().get(&format!("/audit?object={who}@example.com"));
        assert_eq!(denied["items"][0]["outcome"], "denied", "{denied}");
    }
    assert_eq!(console.rig.owner().get("/users?q=newcomer")["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_is_that_of_this_very_request() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    let mut admin = console.signed_in(Role::Admin);
    let id = &console.people["admin"];
    let to = |role: &str| owner.patch(&format!("/users/{id}"), &json!({ "role": role }));
    assert_eq!(admin.get("/organizations/new").status, 200);
    to("auditor");
    let refused = admin.get("/organizations/new");
    assert!(refused.status == 403 && refused.body.contains("PST-AUTH-003"), "{refused:?}");
    assert!(refused.body.contains("aria-label=\"Console\""), "the way to everything else stays: {refused:?}");
    to("user");
    assert_eq!(admin.get("/organizations").status, 303);
    to("admin");
    assert_eq!(admin.get("/organizations").status, 200, "the login itself is still good");
    owner.patch(&format!("/users/{id}"), &json!({ "disabled": true }));
    owner.patch(&format!("/users/{id}"), &json!({ "disabled": false }));
    assert_eq!(admin.get("/organizations").status, 303, "disabling ends it for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_elsewhere_leads_in_by_way_of_one_page_of_ours() {
    let console = Console::new().await;
    let mut stranger = console.stranger();
    let back = stranger.begin(&console.issuer, &account("owner"));
    let hop = stranger.send("GET", &back, &[("sec-fetch-site", "cross-site")], None);
    assert!(hop.status == 200 && hop.body.contains("content=\"0; url=/\""), "{hop:?}");
    let mut cookies = hop.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let login = cookies.find(|line| line.starts_with("postern-console-login=")).unwrap();
    assert!(login.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{login}");
    assert_eq!(hop.header("referrer-policy"), "no-referrer");

    // The browser keeps a strict cookie back where another site leads to.
    let mut without = console.stranger();
    let path = "/organizations?limit=5";
    let hop = without.send("GET", path, &[("sec-fetch-site", "cross-site")], None);
    assert!(hop.status == 200 && hop.body.contains("content=\"0; url=/organizations?limit=5\""), "{hop:?}");
    assert_eq!(without.get(path).header("location"), "/sign-in?return_to=/organizations");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_that_asks_by_itself_is_told_that_the_login_is_over() {
    let console = Console::new().await;
    let asked = console.stranger().send("GET", "/organizations", &[("x-postern-by-page", "1"), SAME_ORIGIN], None);
    assert!(asked.status == 401 && asked.body.contains("PST-AUTH-001"), "{asked:?}");
}

/// Ana's profile, session and login, by the first part of their paths on the portal.
async fn belongings(console: &Console, ana: &mut Visitor) -> BTreeMap<&'static str, String> {
    let (rig, owner) = (&console.rig, console.rig.owner());
    let host = rig.host().await;
    let server = owner.post(
        "/servers",
        &json!({
            "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
            "organization_ids": [console.organization],
        }),
    );
    let server = server["id"].as_str().unwrap().to_owned();
    owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
    let issued = ana.post("/profiles/new", "/profiles", &[("server_id", &server), ("name", "Laptop")]);
    assert_eq!(issued.status, 200, "{issued:?}");
    let profile = owner.get("/profiles")["items"][0].clone();
    let session: SessionId = rig.services.new_id();
    let began = json!({
        "id": session, "user_id": profile["user_id"], "profile_id": profile["id"], "server_id": server, "host_id": host,
        "address": profile["address"], "remote_address": "203.0.113.9:4711", "connected_at": rig.services.now(),
        "bytes_received": 0, "bytes_sent": 0, "client_version": null, "client_protocol": null,
    });
    let began = SessionRecord::began(serde_json::from_value(began).unwrap(), None);
    rig.services.access().record_session(&began).await.unwrap();
    let logins = rig.dump().await.remove("logins").unwrap();
    let of_ana = |row: &&mongodb::bson::RawDocumentBuf| row.get_str("user_id").ok() == profile["user_id"].as_str();
    let login = logins.iter().find(of_ana).unwrap().get_str("_id").unwrap().to_owned();
    let profile = profile["id"].as_str().unwrap().to_owned();
    BTreeMap::from([("profiles", profile), ("sessions", session.to_string()), ("logins", login)])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_is_not_there_on_the_portal_whatever_the_role() {
    let console = Console::new().await;
    let portal = |who: &str| {
        let mut visitor = Visitor::new(console.rig.addresses.public.unwrap());
        assert_eq!(visitor.sign_in(&console.issuer, &account(who)).status, 303);
        visitor
    };
    let mut ana = portal("user");
    let things = belongings(&console, &mut ana).await;
    let routes: Vec<_> = web::routes().public.into_iter().filter(|route| route.path.contains("{id}")).collect();
    assert!(routes.len() > 4 && routes.iter().all(|route| route.access == Access::SignedIn), "{routes:?}");
    let before = console.rig.dump().await;
    for role in [Role::Owner, Role::Auditor] {
        let mut other = portal(role.as_str());
        let token = other.form_token("/profiles/new");
        for route in &routes {
            let thing = &things[route.path.split('/').nth(1).unwrap()];
            let name = if route.path.ends_with("/rename") { "&name=Mine" } else { "" };
            let form = (route.method == "POST").then(|| format!("form_token={token}{name}"));
            let path = route.path.replace("{id}", thing);
            let answer = other.send(route.method.as_str(), &path, &[SAME_ORIGIN], form.as_deref());
            assert_eq!(answer.status, 404, "{role:?} {route:?}: {answer:?}");
        }
    }
    let after = console.rig.dump().await;
    for part in ["profiles", "sessions"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    for route in routes.iter().filter(|route| route.path != "/profiles/{id}/replace") {
        let thing = &things[route.path.split('/').nth(1).unwrap()];
        let path = route.path.replace("{id}", thing);
        let answer = match route.method.as_str() {
            "GET" => ana.get(&path),
            _ if route.path.ends_with("/rename") => ana.post("/profiles/new", &path, &[("name", "Mine")]),
            _ => ana.post("/profiles/new", &path, &[]),
        };
        assert!(answer.status < 400, "{route:?} is open to whom it belongs to: {answer:?}");
    }
}
