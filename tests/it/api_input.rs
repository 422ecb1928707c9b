//! Bad input: refused with a 4xx that names what is wrong, and nothing is changed by it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::api_rig::{Answer, Caller, Rig};

/// A cluster with one of each noun, and a body that is right for each route that takes one.
struct World {
    rig: Rig,
    owner: Caller,
    organization: String,
    user: String,
    server: String,
    routes: Vec<(&'static str, String, Value)>,
}

impl World {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let owner = rig.owner();
        let id = |made: Value| made["id"].as_str().unwrap().to_owned();
        let organization = id(owner.post("/organizations", &json!({ "name": "Acme" })));
        let user = id(owner.post("/users", &json!({ "organization_id": organization, "name": "Ana" })));
        let server = json!({
            "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "enabled": true,
            "organization_ids": [organization], "groups": [], "dns_servers": ["10.0.0.53"],
            "routes": [{ "network": "10.0.0.0/24", "comment": "office", "nat": true }],
            "search_domains": ["corp.example"], "keepalive": { "interval": 2, "timeout": 6 },
        });
        let made = id(owner.post("/servers", &server));
        let host = rig.host().await;
        let mut other = server.clone();
        other["name"] = json!("other");
        other["network"] = json!("10.8.0.0/24");
        let full_user = json!({
            "organization_id": organization, "name": "Bo", "email": "bo@example.com", "groups": ["dev"],
            "role": "helpdesk", "disabled": false,
        });
        let settings = json!({
            "company_name": "Acme", "profile_lifetime_days": 30, "profiles_per_user": 5, "outage_admission_hours": 2,
        });
        let routes = vec![
            ("POST", "/organizations".to_owned(), json!({ "name": "Other" })),
            ("PATCH", format!("/organizations/{organization}"), json!({ "name": "Other" })),
            ("POST", "/users".to_owned(), full_user.clone()),
            ("PATCH", format!("/users/{user}"), full_user),
            ("POST", format!("/users/{user}/profiles"), json!({ "server_id": made, "name": "Laptop" })),
            ("POST", "/servers".to_owned(), other.clone()),
            ("PATCH", format!("/servers/{made}"), other),
            ("PATCH", format!("/hosts/{host}"), json!({ "name": "vpn-9" })),
            ("POST", format!("/hosts/{host}/drain"), json!({ "budget_seconds": 60, "force": true })),
            ("PATCH", "/settings".to_owned(), settings),
        ];
        Self { rig, owner, organization, user, server: made, routes }
    }

    /// The right body with one value replaced, where `pointer` says.
    fn spoilt(&self, pointer: &str, value: &Value) -> Vec<(&'static str, String, Value)> {
        let mut spoilt = self.routes.clone();
        spoilt.retain_mut(|(_, _, body)| {
            body.pointer_mut(pointer).is_some_and(|place| {
                *place = value.clone();
                true
            })
        });
        assert!(!spoilt.is_empty(), "no body has {pointer}");
        spoilt
    }
}

#[track_caller]
fn names(answer: &Answer, pointer: &str) {
    assert_eq!(answer.checked(), 422, "{pointer}: {answer:?}");
    let named = answer.json()["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
    assert!(named == pointer || named.starts_with(&format!("{pointer}/")), "{pointer}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_the_database_is_no_value_of_any_field() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    let mut asked = 0;
    for (method, path, body) in &world.routes {
        for field in body.as_object().unwrap().keys() {
            for wrong in [json!({ "$ne": null }), json!([{ "$gt": "" }]), json!({ "$where": "sleep(1)" })] {
                let mut body = body.clone();
                body[field] = wrong;
                names(&world.owner.ask(method, path, Some(&body)), &format!("/{field}"));
                asked += 1;
            }
        }
        let mut body = body.clone();
        body["$set"] = json!({ "role": "owner" });
        names(&world.owner.ask(method, path, Some(&body)), "/$set");
    }
    assert!(asked > 100);
    assert_eq!(world.rig.dump().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_removes_only_what_may_be_absent() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    for (method, path, body) in &world.routes {
        for field in
            body.as_object().unwrap().keys().filter(|field| !["email", "company_name"].contains(&field.as_str()))
        {
            let mut body = body.clone();
            body[field] = Value::Null;
            names(&world.owner.ask(method, path, Some(&body)), &format!("/{field}"));
        }
    }
    assert_eq!(world.rig.dump().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_fit_nowhere_are_refused_by_name() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    let breaking = ["a\nremote evil.example 1194", "a\r\nb", "a\0b", "\u{202e}a", "a\u{2028}b", "", " a", "\t"];
    for text in breaking {
        for pointer in ["/name", "/email", "/groups/0", "/routes/0/comment", "/search_domains/0", "/company_name"] {
            let cases = match pointer {
                // The fixture's servers have no group.
                "/groups/0" => world.spoilt("/groups", &json!([text])),
                _ => world.spoilt(pointer, &json!(text)),
            };
            for (method, path, body) in cases {
                names(&world.owner.ask(method, &path, Some(&body)), pointer);
            }
        }
    }
    let (organization, user) = (&world.organization, &world.user);
    for (pointer, value) in [
        ("/network", json!("10.7.0.1/24")),
        ("/network", json!("10.9.0.0/16\npush \"route 0.0.0.0 0.0.0.0\"")),
        ("/network", json!("10.7.0.0/30")),
        ("/network", json!("0.0.0.0/0")),
        ("/network", json!("127.0.0.0/8")),
        ("/network", json!("2001:db8::/64")),
        ("/network", json!(10)),
        ("/port", json!(0)),
        ("/port", json!(65_536)),
        ("/port", json!(-1)),
        ("/port", json!("1194")),
        ("/protocol", json!("sctp")),
        ("/enabled", json!("yes")),
        ("/routes/0/network", json!("10.0.0.1/24")),
        ("/routes/0/network", json!("10.0.0.0/24\"; push \"x")),
        ("/routes/0/network", json!("10.0.0.0/33")),
        ("/dns_servers/0", json!("10.0.0.53\npush \"x\"")),
        ("/dns_servers/0", json!("0.0.0.0")),
        ("/dns_servers/0", json!("::1")),
        ("/search_domains/0", json!("corp.example\" \"x")),
        ("/search_domains/0", json!("CORP.example")),
        ("/keepalive", json!({ "interval": 10, "timeout": 10 })),
        ("/keepalive/interval", json!(70_000)),
        ("/organization_ids/0", json!(user)),
        ("/organization_id", json!(user)),
        ("/server_id", json!(organization)),
        ("/email", json!("ana@example.com\nBcc: x@example.com")),
        ("/email", json!("nobody")),
        ("/role", json!("god")),
        ("/name", json!("x".repeat(201))),
        ("/profile_lifetime_days", json!(0)),
        ("/profile_lifetime_days", json!(100_000)),
        ("/profiles_per_user", json!(1.5)),
    ] {
        for (method, path, body) in world.spoilt(pointer, &value) {
            names(&world.owner.ask(method, &path, Some(&body)), pointer);
        }
    }
    assert_eq!(world.rig.dump().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_cluster_is_refused_by_name() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    let nobody = "org_01KAS00000000000000000000A";
    for (method, path, body, pointer) in [
        ("POST", "/users".to_owned(), json!({ "organization_id": nobody, "name": "Bo" }), "/organization_id"),
        ("PATCH", format!("/users/{}", world.user), json!({ "organization_id": nobody }), "/organization_id"),
        ("PATCH", format!("/servers/{}", world.server), json!({ "organization_ids": [nobody] }), "/organization_ids"),
        (
            "POST",
            "/servers".to_owned(),
            json!({ "name": "b", "network": "10.9.0.0/16", "port": 1, "protocol": "tcp" }),
            "/network",
        ),
        (
            "PATCH",
            format!("/servers/{}", world.server),
            json!({ "routes": [{ "network": "10.1.0.0/16" }, { "network": "10.1.0.0/16" }] }),
            "/routes/1/network",
        ),
        ("POST", "/organizations".to_owned(), json!({}), "/name"),
        ("POST", "/organizations".to_owned(), json!({ "name": "b", "color": "red" }), "/color"),
    ] {
        names(&world.owner.ask(method, &path, Some(&body)), pointer);
    }
    let taken = world.owner.ask("POST", "/organizations", Some(&json!({ "name": "Acme" })));
    assert_eq!(taken.checked(), 409);
    assert!(taken.json()["detail"].as_str().unwrap().contains("name"));
    assert_eq!(world.rig.dump().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_another_kind_lead_nowhere() {
    let world = World::new().await;
    for path in [
        format!("/users/{}", world.organization),
        format!("/organizations/{}", world.user),
        format!("/servers/{}/hosts/{}", world.server, world.user),
        "/users/%00".to_owned(),
        "/users/%7B%22%24ne%22%3Anull%7D".to_owned(),
        "/users/usr_%ff".to_owned(),
    ] {
        let method = if path.contains("/hosts/") { "PUT" } else { "GET" };
        let status = world.owner.ask(method, &path, None).checked();
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_make_no_sense_are_refused_by_name() {
    let world = World::new().await;
    for list in ["/users", "/organizations", "/servers", "/profiles", "/hosts", "/sessions", "/audit"] {
        for (parameter, values) in [
            ("limit", &["0", "201", "-1", "x", "", "1e2", "99999999999999999999"][..]),
            ("cursor", &["", "x", "%00", "b3JnXzAx", "%7B%22%24gt%22%3A%22%22%7D"][..]),
            ("surprise", &["1"][..]),
        ] {
            for value in values {
                let answer = world.owner.ask("GET", &format!("{list}?{parameter}={value}"), None);
                assert_eq!(answer.checked(), 400, "{list} {parameter}={value}: {answer:?}");
                assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{answer:?}");
            }
        }
    }
    for (path, parameter) in [
        (format!("/users?organization_id={}", world.user), "organization_id"),
        ("/users?q=%00".to_owned(), "q"),
        ("/users?email=x".to_owned(), "email"),
        ("/users?organization_id[$ne]=1".to_owned(), "organization_id[$ne]"),
        ("/users?limit=1&limit=2".to_owned(), "limit"),
        ("/audit?after=yesterday".to_owned(), "after"),
    ] {
        let answer = world.owner.ask("GET", &path, None);
        assert_eq!(answer.checked(), 400, "{path}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{answer:?}");
    }
    let other = world.owner.get("/users?limit=1");
    assert!(other["next_cursor"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_are_refused_before_they_are_understood() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    let json_type = [("content-type", "application/json")];
    for (method, path, body) in &world.routes {
        let path = format!("/api/v1{path}");
        for bad in ["", "{", "{\"name\": \"a\"} x", "{'name': 'a'}", "nul"] {
            let answer = world.owner.send(method, &path, &json_type, Some(bad.as_bytes()));
            assert_eq!(answer.checked(), 400, "{bad:?}: {answer:?}");
        }
        for (bad, status) in [("[]", 422), ("null", 422), ("\"a\"", 422), ("7", 422)] {
            let answer = world.owner.send(method, &path, &json_type, Some(bad.as_bytes()));
            assert_eq!(answer.checked(), status, "{bad:?}: {answer:?}");
        }
        let invalid = world.owner.send(method, &path, &json_type, Some(b"{\"name\": \"\xff\"}"));
        assert_eq!(invalid.checked(), 400);
        let text = body.to_string();
        for wrong in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let answer = world.owner.send(method, &path, &[("content-type", wrong)], Some(text.as_bytes()));
            assert_eq!(answer.checked(), 415, "{answer:?}");
        }
        assert_eq!(world.owner.send(method, &path, &[], Some(text.as_bytes())).checked(), 415);
    }
    assert_eq!(world.rig.dump().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_ten_megabytes_is_refused_however_it_comes() {
    let world = World::new().await;
    let before = world.rig.dump().await;
    let address = world.rig.addresses.admin.unwrap();
    let head = format!(
        "POST /api/v1/organizations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n",
        world.rig.tokens["owner"]
    );
    let text = format!("{{\"name\": \"{}\"}}", "x".repeat(10 << 20));
    let whole = format!("{head}Content-Length: {}\r\n\r\n{text}", text.len());
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for part in text.as_bytes().chunks(64 << 10) {
        write!(chunked, "{:x}\r\n{}\r\n", part.len(), std::str::from_utf8(part).unwrap()).unwrap();
    }
    chunked.push_str("0\r\n\r\n");
    for request in [whole, chunked] {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let answer = std::thread::spawn(move || {
            let mut answer = Vec::new();
            let _ = reader.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        // The server hangs up before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let answer = answer.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("PST-HTTP-008"));
    }
    assert_eq!(world.rig.dump().await, before);
}
