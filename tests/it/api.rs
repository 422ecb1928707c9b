//! The API: what it keeps, how it pages, what it refuses to overwrite; and what surrounds every request.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern::domain::role::Role;
use postern::web;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls;

use crate::api_rig::{Caller, Rig, free_port, settings};
use crate::support::mongod::{Mongod, Options};

fn server(name: &str, network: &str, organization: &Value) -> Value {
    json!({ "name": name, "network": network, "port": 1194, "protocol": "udp", "organization_ids": [organization] })
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_comes_back_as_it_went_in() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    for name in ["Seán \"Óg\" O'Brien", "李小龍", "محمد", "a; rm -rf / #", "<script>alert(1)</script>", "\\u0000", "😀"]
    {
        let answer = owner.ask("POST", "/organizations", Some(&json!({ "name": name })));
        assert_eq!(answer.checked(), 201);
        assert_eq!(answer.json()["name"], name);
        let path = answer.header("location").strip_prefix("/api/v1").unwrap().to_owned();
        assert_eq!(owner.get(&path)["name"], name);
        let found = owner.list("/organizations", 200);
        assert_eq!(found.iter().filter(|organization| organization["name"] == name).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_live_their_life() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let user = json!({ "organization_id": organization, "name": "Ana", "email": "ana@example.com" });
    let user = owner.post("/users", &user);
    assert_eq!(user["role"], "user");
    assert_eq!(user["disabled"], false);
    let path = format!("/users/{}", user["id"].as_str().unwrap());
    let changed = owner.patch(&path, &json!({ "email": null, "groups": ["dev"], "disabled": true }));
    assert_eq!(
        (&changed["email"], &changed["groups"], &changed["name"]),
        (&Value::Null, &json!(["dev"]), &json!("Ana"))
    );
    assert_eq!(owner.get("/users?q=an")["items"].as_array().unwrap().len(), 1);
    assert_eq!(owner.get("/users?q=%22%24%22")["items"].as_array().unwrap().len(), 0);
    assert_eq!(owner.get("/users?email=ana%40example.com")["items"].as_array().unwrap().len(), 0);

    let host = rig.host().await;
    let server = owner.post("/servers", &server("main", "10.9.0.0/24", &organization));
    let server = format!("/servers/{}", server["id"].as_str().unwrap());
    let attachment = format!("{server}/hosts/{host}");
    for _ in 0..2 {
        owner.expect(204, "PUT", &attachment, None);
    }
    assert_eq!(owner.get(&format!("{server}/hosts"))["items"][0]["state"], "pending");
    assert_eq!(owner.get("/hosts")["items"][0]["state"], "online");

    owner.expect(409, "DELETE", &server, None);
    owner.expect(409, "DELETE", &format!("/organizations/{}", organization.as_str().unwrap()), None);
    for _ in 0..2 {
        owner.expect(204, "DELETE", &attachment, None);
    }
    owner.expect(204, "PUT", &attachment, None);
    owner.expect(204, "DELETE", &format!("/hosts/{host}?force=true"), None);
    assert_eq!(owner.get(&format!("{server}/hosts"))["items"], json!([]));
    for gone in [path, server, format!("/organizations/{}", organization.as_str().unwrap())] {
        owner.expect(204, "DELETE", &gone, None);
        owner.expect(404, "GET", &gone, None);
        owner.expect(404, "DELETE", &gone, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_etag_changes_nothing_and_tells_the_present_one() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let made = owner.ask("POST", "/organizations", Some(&json!({ "name": "first" })));
    let path = made.header("location").to_owned();
    let (old, headers) = (made.header("etag").to_owned(), [("content-type", "application/json")]);
    let change = |tag: &str, name: &str| {
        let body = json!({ "name": name }).to_string();
        owner.send("PATCH", &path, &[headers[0], ("if-match", tag)], Some(body.as_bytes()))
    };
    let new = change(&old, "second");
    assert_eq!(new.checked(), 200);
    let before = rig.dump().await;
    for stale in [change(&old, "third"), owner.send("DELETE", &path, &[("if-match", &old)], None)] {
        assert_eq!(stale.checked(), 412);
        assert_eq!(stale.header("etag"), new.header("etag"));
    }
    assert_eq!(change("W/\"1\"", "third").checked(), 400);
    assert_eq!(rig.dump().await, before);
    let shown = owner.send("GET", &path, &[], None);
    assert_eq!((shown.json()["name"].as_str(), shown.header("etag")), (Some("second"), new.header("etag")));
    assert_eq!(owner.send("DELETE", &path, &[("if-match", shown.header("etag"))], None).checked(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_meets_every_item_once_while_others_are_made() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let make = |n: usize| owner.post("/organizations", &json!({ "name": format!("o{n}") }))["id"].clone();
    let mut known: Vec<Value> = (0..25).map(make).collect();
    let (mut met, mut next, mut n) = (Vec::new(), "/api/v1/organizations?limit=4".to_owned(), 25);
    loop {
        let page = owner.send("GET", &next, &[], None);
        met.extend(page.json()["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        known.push(make(n));
        n += 1;
        let Some(cursor) = page.json()["next_cursor"].as_str().map(str::to_owned) else { break };
        let link = page.header("link").to_owned();
        next = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
        assert!(next.contains(&cursor) && n < 100);
    }
    let distinct: HashSet<String> = met.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), met.len(), "an item came twice");
    assert!(known[..25].iter().all(|id| met.contains(id)), "an item was passed over");
    assert!(owner.get("/organizations?limit=200")["next_cursor"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_in_the_trail_once_and_refusals_are_not() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let theirs = "req_01KAS00000000000000000000A";
    let body = json!({ "name": "Acme" }).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", theirs)];
    let made = owner.send("POST", "/api/v1/organizations", &headers, Some(body.as_bytes()));
    assert_eq!(made.checked(), 201);
    let id = made.header("x-request-id").to_owned();
    assert_ne!(id, theirs, "what the caller calls it stands in the log, beside ours");
    let again = owner.send("POST", "/api/v1/organizations", &headers, Some(body.as_bytes()));
    assert_eq!(again.checked(), 409);
    let trail = owner.list("/audit", 3);
    let of_request: Vec<_> = trail.iter().filter(|entry| entry["request_id"] == id).collect();
    assert_eq!(of_request.len(), 1, "{trail:?}");
    assert_eq!(of_request[0]["action"], "organization.create");
    assert_eq!(of_request[0]["object"], made.json()["id"]);
    assert!(of_request[0]["actor"].as_str().unwrap().starts_with("tok_"));

    let before = rig.dump().await["audit"].len();
    rig.as_role(Role::Auditor).expect(403, "POST", "/organizations", Some(&json!({ "name": "x" })));
    owner.expect(200, "PATCH", "/settings", Some(&json!({})));
    assert_eq!(rig.dump().await["audit"].len(), before + 1, "the refusal");
    owner.expect(200, "PATCH", "/settings", Some(&json!({ "company_name": "Acme", "profiles_per_user": 3 })));
    assert_eq!(rig.dump().await["audit"].len(), before + 2);
    let object = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(owner.get(&format!("/audit?object={object}"))["items"].as_array().unwrap().len(), 1);
    assert_eq!(owner.get("/audit?after=2100-01-01T00:00:00Z")["items"], json!([]));

    let odd = owner.send("GET", "/api/v1/users", &[("x-request-id", "req_1; drop")], None);
    assert!(odd.header("x-request-id").starts_with("req_") && !odd.header("x-request-id").contains("drop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_numbers_are_told() {
    let rig = Rig::new().await;
    let ops = Caller::new(rig.addresses.ops, None);
    let health = |status: &str| json!({ "status": status, "degraded": [], "failed": [] });
    assert_eq!(ops.send("GET", "/healthz", &[], None).json(), health("ok"));
    let starting = ops.send("GET", "/startupz", &[], None);
    assert_eq!((starting.status, starting.json()), (503, health("failed")));
    let ready = ops.send("GET", "/readyz", &[], None);
    let expected = json!({ "status": "degraded", "degraded": ["mongo"], "failed": [] });
    assert_eq!((ready.status, ready.json()), (200, expected));
    let verbose = ops.send("GET", "/readyz?verbose", &[], None).json();
    let mongo =
        json!({ "name": "mongo", "state": "degraded", "age_seconds": null, "last_error": null, "detail": "away" });
    assert_eq!(verbose["checks"], json!([mongo]));
    let metrics = ops.send("GET", "/metrics", &[], None);
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body.contains("\npostern_build_info{version=\"1\",commit=\"unknown\"} 1.0\n"), "{}", metrics.body);

    let page = Caller::new(rig.addresses.public.unwrap(), None).send("GET", "/", &[], None);
    assert_eq!((page.checked(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for"] {
        assert!(page.header("content-security-policy").contains(directive));
    }
    for forbidden in ["<script>", "<style", "style=", "onclick=", "onload="] {
        assert!(!page.body.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.body.matches("<script").count(), page.body.matches("<script nonce=").count());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_configured_hosts_are_answered_for() {
    let admin = web::Listener { url: Some("https://vpn-admin.example.com".into()), ..free_port() };
    let rig = Rig::with(web::Settings { admin, ..settings() }).await;
    let owner = rig.owner();
    let ask = |host: &str| owner.send("GET", "/api/v1/users", &[("host", host)], None);
    for good in ["vpn-admin.example.com", "localhost:9443", "127.0.0.1"] {
        let answer = ask(good);
        assert_eq!(answer.checked(), 200, "{good}");
        assert!(answer.header("strict-transport-security").contains("max-age="));
    }
    for bad in ["evil.example", "vpn-admin.example.com.evil.example"] {
        assert_eq!(ask(bad).checked(), 421, "{bad}");
    }
    let forwarded = [("host", "evil.example"), ("x-forwarded-host", "vpn-admin.example.com")];
    assert_eq!(owner.send("GET", "/api/v1/users", &forwarded, None).checked(), 421);
}

/// What comes back for raw bytes.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The other side may hang up before it has heard everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_a_size_and_a_time() {
    let rig = Rig::new().await;
    let address = rig.addresses.admin.unwrap();
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(17 * 1024));
    assert!(raw(address, large.as_bytes()).starts_with("HTTP/1.1 431"));
    let began = Instant::now();
    raw(address, b"GET / HTTP/1.1\r\nHost: a\r\n");
    assert!((4..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_with_a_certificate_speak_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = web::TlsFiles {
        certificate_file: folder.path().join("certificate.pem"),
        key_file: folder.path().join("key.pem"),
    };
    std::fs::write(&files.certificate_file, made.cert.pem()).unwrap();
    std::fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
    let rig =
        Rig::with(web::Settings { public: web::Listener { tls: Some(files), ..free_port() }, ..settings() }).await;
    let address = rig.addresses.public.unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector =
        tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security"), "{answer}");
    assert!(!raw(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_a_503_that_can_be_tried_again() {
    let set = Mongod::start(Options::default());
    let rig = Rig::over(set.database(), settings()).await;
    set.kill(0);
    let began = Instant::now();
    let answer = rig.owner().ask("GET", "/users", None);
    assert_eq!(answer.checked(), 503);
    assert!(answer.json()["retryable"] == true && !answer.header("retry-after").is_empty(), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(Caller::new(rig.addresses.ops, None).send("GET", "/healthz", &[], None).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_end_with_the_process() {
    let rig = Rig::new().await;
    let idle = TcpStream::connect(rig.addresses.admin.unwrap()).unwrap();
    rig.owner().get("/users");
    let began = Instant::now();
    rig.stop.cancel();
    rig.tasks.close();
    tokio::time::timeout(Duration::from_secs(5), rig.tasks.wait()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(TcpStream::connect(rig.addresses.admin.unwrap()).is_err());
    drop(idle);
}
