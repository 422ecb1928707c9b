//! Profiles by the API: issued, at once, revoked; and that their secrets are nowhere afterwards.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use postern::domain::audit::Actor;
use postern::domain::role::Role;
use postern::services::Act;
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

struct World {
    rig: Rig,
    owner: Caller,
    user: String,
    server: Value,
}

impl World {
    async fn new(network: &str) -> Self {
        let rig = Rig::new().await;
        let owner = rig.owner();
        owner.patch("/settings", &json!({ "profiles_per_user": 1000 }));
        let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
        let user = owner.post("/users", &json!({ "organization_id": organization, "name": "Ana" }));
        let server = owner.post(
            "/servers",
            &json!({
                "name": "main", "network": network, "port": 1194, "protocol": "udp", "organization_ids": [organization],
            }),
        );
        let host = rig.host().await;
        owner.expect(204, "PUT", &format!("/servers/{}/hosts/{host}", server["id"].as_str().unwrap()), None);
        Self { user: user["id"].as_str().unwrap().to_owned(), server: server["id"].clone(), rig, owner }
    }

    fn issue(&self, name: &str) -> Value {
        self.owner.post(&format!("/users/{}/profiles", self.user), &json!({ "server_id": self.server, "name": name }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_comes_as_an_object_or_as_the_file_itself() {
    let world = World::new("10.9.0.0/24").await;
    let both = world.issue("Laptop");
    let config = both["config"].as_str().unwrap();
    assert!(config.contains("PRIVATE KEY") && config.contains("203.0.113.10"), "{config}");
    assert_eq!(both["profile"]["state"], "active");

    let body = json!({ "server_id": world.server, "name": "Ana's \"phone\"\u{1F4F1}" }).to_string();
    let headers = [("content-type", "application/json"), ("accept", "application/x-openvpn-profile")];
    let path = format!("/api/v1/users/{}/profiles", world.user);
    let file = world.owner.send("POST", &path, &headers, Some(body.as_bytes()));
    assert_eq!(file.checked(), 201);
    assert_eq!(file.header("content-type"), "application/x-openvpn-profile");
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"Anas-phone.ovpn\"");
    assert!(file.body.contains("PRIVATE KEY") && !file.body.starts_with('{'));
    let made = world.owner.send("GET", file.header("location"), &[], None);
    assert_eq!(made.json()["name"], "Ana's \"phone\"\u{1F4F1}");
    assert_eq!(made.header("etag"), file.header("etag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_profile_gives_its_address_back_and_stays_revoked() {
    let world = World::new("10.9.0.0/29").await;
    let made: Vec<Value> = (0..5).map(|n| world.issue(&n.to_string())["profile"].clone()).collect();
    let path = format!("/users/{}/profiles", world.user);
    let more = json!({ "server_id": world.server, "name": "more" });
    assert!(world.owner.expect(409, "POST", &path, Some(&more))["detail"].as_str().unwrap().contains("address"));
    let profile = format!("/profiles/{}", made[2]["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(world.owner.expect(200, "POST", &format!("{profile}/revoke"), None)["state"], "revoked");
    }
    assert_eq!(world.owner.get(&profile)["state"], "revoked");
    assert_eq!(world.issue("more")["profile"]["address"], made[2]["address"]);

    world.owner.patch(&format!("/users/{}", world.user), &json!({ "disabled": true }));
    world.owner.expect(409, "POST", &path, Some(&more));
    world.owner.expect(204, "DELETE", &format!("/users/{}", world.user), None);
    assert_eq!(world.owner.get("/profiles")["items"], json!([]));
    assert!(world.rig.dump().await["addresses"].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_profiles_at_once_share_no_address() {
    let world = World::new("10.9.0.0/22").await;
    let world = &world;
    let issued: Vec<Value> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..12)
            .map(|worker| {
                scope.spawn(move || {
                    (0..25).map(|n| world.issue(&format!("{worker}-{n}"))["profile"].clone()).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let network: ipnet::Ipv4Net = "10.9.0.0/22".parse().unwrap();
    let addresses: HashSet<Ipv4Addr> =
        issued.iter().map(|profile| profile["address"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(addresses.len(), 300);
    assert!(addresses.iter().all(|address| network.contains(address)));
    assert_eq!(world.owner.list("/profiles", 200).len(), 300);
    let trail = world.rig.dump().await;
    assert_eq!(trail["addresses"].len(), 300);
    let entries = world.owner.list("/audit", 200).into_iter().filter(|entry| entry["action"] == "profile.issue");
    assert_eq!(entries.count(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_stays_in_the_database_or_in_any_answer() {
    let world = World::new("10.9.0.0/24").await;
    let mut secrets: Vec<String> = vec!["PRIVATE KEY".into(), "OpenVPN tls-crypt-v2".into()];
    for n in 0..3 {
        let config = world.issue(&n.to_string())["config"].as_str().unwrap().to_owned();
        let mut inside = "";
        for line in config.lines() {
            if let Some(tag) = line.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
                inside = if tag.starts_with('/') { "" } else { tag };
            } else if ["key", "tls-crypt-v2"].contains(&inside) && !line.starts_with("-----") && line.len() > 16 {
                secrets.push(line.to_owned());
            }
        }
    }
    assert!(secrets.len() > 10, "{secrets:?}");
    for token in world.rig.tokens.values() {
        secrets.push(token.clone());
        secrets.push(token.rsplit('_').next().unwrap().to_owned());
    }
    let dump = world.rig.dump().await;
    assert!(["audit", "authorities", "profiles", "tokens", "users"].iter().all(|name| !dump[*name].is_empty()));
    let events = world.rig.database.open().await.collection::<mongodb::bson::RawDocumentBuf>("events");
    let events = futures_util::TryStreamExt::try_collect::<Vec<_>>(events.find(mongodb::bson::doc! {}).await.unwrap());
    let events = events.await.unwrap();
    for row in dump.values().flatten().chain(&events) {
        let text = String::from_utf8_lossy(row.as_bytes());
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} rests in {row:?}");
        }
    }

    let mut asked = 0;
    for route in postern::web::routes().admin {
        // Pages take no token, the document speaks of secrets and holds none, a stream has no end, and what is explained
        // has to be asked for.
        let other = ["/api/v1/openapi.json", "/api/v1/events", "/api/v1/explain"].contains(&route.path);
        let answers = route.path.starts_with("/api/") && !other;
        if route.method.as_str() != "GET" || !answers {
            continue;
        }
        let list = route.path.split("/{id}").next().unwrap();
        let ids: Vec<String> = if route.path.contains("{id}") {
            let path = list.strip_prefix("/api/v1").unwrap();
            // Short lists come whole.
            let items = match path {
                "/groups" | "/jobs" => world.owner.get(path)["items"].as_array().unwrap().clone(),
                _ => world.owner.list(path, 200),
            };
            items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
        } else {
            vec![String::new()]
        };
        for id in ids {
            let answer = world.owner.send("GET", &route.path.replace("{id}", &id), &[], None);
            assert_eq!(answer.checked(), 200, "{answer:?}");
            // An authority is known by its fingerprint; that of a profile is nobody's business.
            let of_profiles = (list != "/api/v1/authorities").then_some("fingerprint");
            for secret in secrets.iter().map(String::as_str).chain(["secret", "BEGIN"]).chain(of_profiles) {
                assert!(!answer.body.contains(secret), "{secret} in {answer:?}");
            }
            asked += 1;
        }
    }
    assert!(asked > 15, "{asked}");
}

/// SEC-AUTHZ-03, SEC-AUTHZ-04: whoever may not change a user gets at no profile of the user either: neither a new one, nor a
/// link to one, nor the end of one.
#[tokio::test(flavor = "multi_thread")]
async fn profiles_of_somebody_mightier_are_out_of_reach() {
    let world = World::new("10.9.0.0/24").await;
    let user = format!("/users/{}", world.user);
    let body = json!({ "server_id": world.server, "name": "theirs" });
    for (actor, role, may) in [
        (Role::Helpdesk, "owner", false),
        (Role::Helpdesk, "helpdesk", false),
        (Role::Admin, "owner", false),
        (Role::Admin, "helpdesk", true),
        (Role::Helpdesk, "user", true),
    ] {
        world.owner.patch(&user, &json!({ "role": role }));
        let caller = world.rig.as_role(actor);
        let theirs = world.issue("own")["profile"]["id"].as_str().unwrap().to_owned();
        let (made, done) = if may { (201, 200) } else { (403, 403) };
        caller.expect(made, "POST", &format!("{user}/profiles"), Some(&body));
        let act = Act::of(Actor::Token { id: world.rig.services.new_id(), role: actor });
        let new = serde_json::from_value(body.clone()).unwrap();
        let link = world.rig.services.identity().make_ticket(&act, world.user.parse().unwrap(), new).await;
        assert_eq!(link.is_ok(), may, "{actor:?} of {role}: {link:?}");
        caller.expect(done, "POST", &format!("/profiles/{theirs}/revoke"), None);
        let state = world.owner.get(&format!("/profiles/{theirs}"))["state"].clone();
        assert_eq!(state, if may { "revoked" } else { "active" }, "{actor:?} of {role}");
        // Another owner stays, so that this one may be demoted.
        world.owner.post("/users", &json!({
            "organization_id": world.owner.get(&user)["organization_id"], "name": format!("{actor:?} {role}"), "role": "owner",
        }));
    }
}
