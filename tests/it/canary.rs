//! Secrets of every kind, carried through every flow that has some, and then looked for: in all that the processes said
//! and in every byte of the database (SEC-LOG-01).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::TryStreamExt as _;
use mongodb::bson::{RawDocumentBuf, doc};
use postern::keys::host::HostKey;
use serde_json::{Value, json};

use crate::api_rig::Caller;
use crate::commands::Installation;
use crate::console_rig::{SAME_ORIGIN, Visitor, value_of};
use crate::self_service_rig::{Issuer, account};
use crate::support::mongod::{TestDatabase, random_hex, shared};

/// Secrets by what they are, each in every form in which it might lie around.
#[derive(Default)]
struct Canaries(BTreeMap<String, BTreeSet<Vec<u8>>>);

impl Canaries {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 16, "{what} is no secret: {secret:?}");
        let forms = self.0.entry(what.to_owned()).or_default();
        forms.insert(secret.as_bytes().to_vec());
        forms.extend(data_encoding::HEXLOWER.decode(secret.as_bytes()));
        forms.extend(URL_SAFE_NO_PAD.decode(secret));
    }

    /// What stands between the lines of a block of a profile: its text line by line, and its bytes.
    fn add_block(&mut self, what: &str, profile: &str, tag: &str) {
        let (_, rest) = profile.split_once(&format!("<{tag}>")).unwrap();
        let (block, _) = rest.split_once(&format!("</{tag}>")).unwrap();
        let lines: Vec<&str> = block.lines().filter(|line| !line.is_empty() && !line.starts_with("-----")).collect();
        let forms = self.0.entry(what.to_owned()).or_default();
        forms.insert(STANDARD.decode(lines.concat()).unwrap());
        forms.extend(lines.iter().filter(|line| line.len() > 40).map(|line| line.as_bytes().to_vec()));
    }

    fn add_cookies(&mut self, what: &str, visitor: &Visitor) {
        for (name, value) in visitor.cookies.iter().filter(|(_, value)| value.len() >= 16) {
            self.add(&format!("{what}, cookie {name}"), value);
        }
    }

    #[track_caller]
    fn assert_none_in(&self, place: &str, bytes: &[u8]) {
        for (what, forms) in &self.0 {
            for form in forms {
                let found = bytes.windows(form.len()).position(|window| window == form);
                let around = found.map(|at| {
                    String::from_utf8_lossy(&bytes[at.saturating_sub(200)..bytes.len().min(at + 200)]).into_owned()
                });
                assert!(around.is_none(), "{what} in {place}: …{}…", around.unwrap_or_default());
            }
        }
    }
}

/// A machine with both sites, all roles but the VPN, and a log of everything.
fn machine(database: &TestDatabase) -> Installation {
    let table = format!("[database]\nuri = \"{}\"\nname = \"{}\"\n", database.uri, database.name);
    let mut machine = Installation::with(&table, "roles = [\"portal\", \"console\", \"jobs\"]");
    let mut text = fs::read_to_string(machine.config()).unwrap();
    for (table, port) in [("public", machine.public), ("admin", machine.admin)] {
        let with_url = format!("[{table}]\nurl = \"http://127.0.0.1:{port}\"\n");
        text = text.replace(&format!("[{table}]\n"), &with_url);
    }
    fs::write(machine.config(), text).unwrap();
    machine.log_everything();
    machine
}

async fn dump(database: &TestDatabase) -> Vec<u8> {
    let database = database.open().await;
    let mut bytes = Vec::new();
    for name in database.list_collection_names().await.unwrap() {
        let rows = database.collection::<RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
        let rows: Vec<RawDocumentBuf> = rows.try_collect().await.unwrap();
        bytes.extend(rows.iter().flat_map(|row| row.as_bytes().iter().copied()));
    }
    bytes
}

fn prepare(owner: &Caller, issuer: &Issuer, client_secret: &str) -> (String, String) {
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].as_str().unwrap().to_owned();
    let oidc = json!({
        "issuer": issuer.url, "client_id": "postern", "client_secret": client_secret, "allowed_domains": ["example.com"],
        "default_organization_id": organization,
    });
    owner.patch("/settings", &json!({ "oidc": oidc }));
    let server = json!({
        "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
        "organization_ids": [organization],
    });
    (organization, owner.post("/servers", &server)["id"].as_str().unwrap().to_owned())
}

/// What a stranger may throw at the listeners; refused, and none of it kept.
fn throw(machine: &Installation, canary: &str) {
    let token = format!("pst_tok_01JD3W9V3C0000000000000000_{canary}");
    for port in [machine.public, machine.admin, machine.ops] {
        let caller = Caller::new(([127, 0, 0, 1], port).into(), Some(&token));
        for path in
            ["/p/X", "/owner-link/X", "/oauth/callback?code=X&state=X", "/?access_token=X", "/api/v1/users?q=X", "/X"]
        {
            let path = path.replace('X', canary);
            let cookie = format!("__Host-login={canary}; login={canary}");
            caller.send("GET", &path, &[("cookie", &cookie), ("x-request-id", canary), ("referer", &path)], None);
            let form = format!("return_to=/{canary}&form_token={canary}");
            let headers = [SAME_ORIGIN, ("content-type", "application/x-www-form-urlencoded"), ("cookie", &cookie)];
            caller.send("POST", &path, &headers, Some(form.as_bytes()));
        }
        let body = json!({ "token": format!("psj_{canary}"), "public_key": canary, "public_addresses": [] });
        caller.ask("POST", "/join", Some(&body));
    }
}

fn sign_in(machine: &Installation, issuer: &Issuer, canaries: &mut Canaries) -> Visitor {
    let mut ana = Visitor::new(([127, 0, 0, 1], machine.public).into());
    let back = ana.begin(issuer, &account("ana"));
    canaries.add_cookies("the begun sign-in", &ana);
    for (name, value) in form_urlencoded::parse(back.split_once('?').unwrap().1.as_bytes()) {
        canaries.add(&format!("the sign-in's {name}"), &value);
    }
    let answer = ana.send("GET", &back, &[("sec-fetch-site", "cross-site")], None);
    assert_eq!(answer.status, 303, "{answer:?}");
    canaries.add_cookies("the login", &ana);
    ana
}

fn show_join_token(machine: &Installation, owner: &Caller, server: &str, canaries: &mut Canaries) {
    let made = owner.post("/join-tokens", &json!({ "host_name": "vpn-3", "server_ids": [server] }));
    let token = made["token"].as_str().unwrap();
    canaries.add("the join token", token.strip_prefix("psj_").unwrap());
    let key = HostKey::from_bytes(&[3; 32]);
    let body = json!({ "token": token, "public_key": key.public().to_string(), "public_addresses": ["203.0.113.7"] });
    let joined = Caller::new(([127, 0, 0, 1], machine.admin).into(), None).ask("POST", "/join", Some(&body));
    assert_eq!(joined.checked(), 200, "{joined:?}");
    canaries.add("what the host was sent", joined.json()["sealed_database_uri"].as_str().unwrap());
}

fn fetch_profiles(ana: &mut Visitor, owner: &Caller, server: &str, canaries: &mut Canaries) {
    let file = ana.post("/", "/profiles", &[("server_id", server), ("name", "laptop")]);
    assert_eq!(file.header("content-type"), "application/x-openvpn-profile", "{file:?}");
    let user = owner.get("/users?q=ana")["items"][0]["id"].as_str().unwrap().to_owned();
    let issued = owner.post(&format!("/users/{user}/profiles"), &json!({ "server_id": server, "name": "api" }));
    let link = owner.post(&format!("/users/{user}/profile-links"), &json!({ "server_id": server, "name": "phone" }));
    let secret = link["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    canaries.add("the one-time link", &secret);
    let path = format!("/p/{secret}");
    assert_eq!(ana.get(&path).status, 200);
    let redeemed = ana.send("POST", &path, &[SAME_ORIGIN], Some(""));
    assert_eq!(redeemed.header("content-type"), "application/x-openvpn-profile", "{redeemed:?}");
    for (what, profile) in [
        ("a downloaded profile", file.body.as_str()),
        ("a profile of the API", issued["config"].as_str().unwrap()),
        ("a profile of a link", redeemed.body.as_str()),
    ] {
        canaries.add_block(&format!("the key of {what}"), profile, "key");
        canaries.add_block(&format!("the tls-crypt key of {what}"), profile, "tls-crypt-v2");
    }
}

fn open_console(machine: &Installation, canaries: &mut Canaries) -> String {
    let made = machine.run(&["owner-link"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.out.trim().rsplit('/').next().unwrap().to_owned();
    canaries.add("the owner link", &secret);
    let mut owner = Visitor::new(([127, 0, 0, 1], machine.admin).into());
    let opened = owner.send("POST", &format!("/owner-link/{secret}"), &[SAME_ORIGIN], Some(""));
    assert_eq!(opened.status, 303, "{opened:?}");
    canaries.add_cookies("the console's login", &owner);
    let page = owner.get("/organizations/new");
    canaries.add("the form token", &value_of(&page.body, "form_token").unwrap());
    made.err
}

fn assert_is_log(text: &str) {
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line:?}"))).collect();
    assert!(lines.iter().all(|line| line["ts"].is_string() && line["level"].is_string() && line["msg"].is_string()));
    let requests: Vec<&Value> = lines.iter().filter(|line| line["event"] == "http.request").collect();
    for route in ["/p/{ticket}", "/oauth/callback", "/owner-link/{secret}", "/api/v1/join", "/profiles", "none"] {
        assert!(requests.iter().any(|line| line["route"] == route), "no request of {route} was told");
    }
    let request = requests[0];
    for field in ["request_id", "duration_ms", "status", "method", "host"] {
        assert!(!request[field].is_null(), "{field}: {request}");
    }
    for event in ["process.listening", "process.ready", "process.stopped"] {
        assert!(lines.iter().any(|line| line["event"] == event), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_or_in_the_database() {
    let database = shared().database();
    let mut machine = machine(&database);
    let mut canaries = Canaries::default();
    let mut said = machine.run(&["migrate", "apply"]).err;
    machine.serve();
    let made = machine.run(&["token", "create", "--name", "canary", "--role", "owner"]);
    let token = made.out.trim();
    said.push_str(&made.err);
    canaries.add("the API token", token.rsplit('_').next().unwrap());
    let owner = Caller::new(([127, 0, 0, 1], machine.admin).into(), Some(token));
    let [client_secret, thrown] = [(); 2].map(|()| format!("canary{}", random_hex()));
    canaries.add("the client secret", &client_secret);
    canaries.add("what a stranger sent", &thrown);
    canaries.add("the master key", fs::read_to_string(machine.folder().join("master.key")).unwrap().trim());

    let issuer = Issuer::start().await;
    let (_, server) = prepare(&owner, &issuer, &client_secret);
    show_join_token(&machine, &owner, &server, &mut canaries);
    let mut ana = sign_in(&machine, &issuer, &mut canaries);
    fetch_profiles(&mut ana, &owner, &server, &mut canaries);
    said.push_str(&open_console(&machine, &mut canaries));
    throw(&machine, &thrown);
    let copy = machine.folder().join("copy");
    let backup = machine.run(&["backup", "create", copy.to_str().unwrap()]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    said.extend([backup.out, backup.err]);
    machine.stop();

    assert!(canaries.0.len() > 15, "{:?}", canaries.0.keys());
    canaries.assert_none_in("what commands said", said.as_bytes());
    let log = fs::read_to_string(machine.folder().join("serve.log")).unwrap();
    canaries.assert_none_in("the log of serve", log.as_bytes());
    assert_is_log(&log);
    let stored = dump(&database).await;
    assert!(stored.len() > 10_000);
    canaries.assert_none_in("the database", &stored);
    canaries.assert_none_in("the backup", &fs::read(copy).unwrap());
    search_files(&machine.folder().join("data"), &canaries);
}

/// What the process left on its disk.
fn search_files(folder: &Path, canaries: &Canaries) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search_files(&path, canaries);
        } else if path.is_file() {
            canaries.assert_none_in(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
}
