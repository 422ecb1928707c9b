//! A page and a list cost as many queries for a few rows as for many: the database's profiler counts them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use jiff::SignedDuration;
use mongodb::bson;
use mongodb::bson::{Document, doc};
use postern::domain::clock::{Clock as _, ManualClock, SystemClock};
use postern::domain::ids::{AuditId, HostId, Id as _, ProfileId, ServerId, SessionId, UserId};
use postern::domain::role::Role;
use postern::domain::session::Session;
use postern::web;
use postern::web::Access;
use serde_json::json;

use crate::api_rig::Rig;
use crate::console_rig::{Console, Visitor};
use crate::self_service_rig::account;
use crate::support::mongod::shared;

/// A few rows, and more than any page shows at once.
const FEW: usize = 5;
const MANY: usize = 110;

/// More than this, and a page is made of too many small questions. The overview, which looks at everything, and the page of a
/// host, which tells what removing it would mean, ask the most.
const MOST: usize = 24;

/// What asks. The batches in which a long answer comes are no questions; what a page writes (that its login was used)
/// depends on the time, not on rows.
const READS: [&str; 4] = ["find", "aggregate", "count", "distinct"];

/// What a cluster has many of.
struct Rows {
    console: Console,
    /// One of each noun, for the pages about one.
    ids: BTreeMap<&'static str, String>,
}

impl Rows {
    /// Adds rows of every noun until there are `to` of each, most of them about the same one of the others.
    async fn grow(&mut self, from: usize, to: usize) {
        let owner = self.console.rig.owner();
        for number in from..to {
            let organization = owner.post("/organizations", &json!({ "name": format!("Org {number}") }));
            let organization = self.keep("organizations", &organization["id"]);
            let user = json!({
                "organization_id": organization, "name": format!("User {number}"), "groups": [format!("g{number}")],
            });
            let user_id = owner.post("/users", &user)["id"].clone();
            self.keep("users", &user_id);
            let server = json!({
                "name": format!("server {number}"), "network": format!("10.{number}.0.0/24"), "port": 1194,
                "protocol": "udp", "organization_ids": [organization],
            });
            let server_id = owner.post("/servers", &server)["id"].clone();
            let server = self.keep("servers", &server_id);
            let host = self.console.rig.host().await;
            owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
            let host: HostId = self.keep("hosts", &json!(host)).parse().unwrap();
            let profile = json!({ "server_id": server, "name": "laptop" });
            let issued = owner.post(&format!("/users/{}/profiles", user_id.as_str().unwrap()), &profile);
            let profile = issued["profile"].clone();
            self.keep("profiles", &profile["id"]);
            let session = session(&self.console.rig, &profile, server.parse().unwrap(), host);
            self.console.rig.store.access().upsert_session(&session, None).await.unwrap();
        }
    }

    /// Remembers the first of each noun, and answers it.
    fn keep(&mut self, noun: &'static str, id: &serde_json::Value) -> String {
        self.ids.entry(noun).or_insert_with(|| id.as_str().unwrap().to_owned()).clone()
    }

    /// The path of a route with the ids that are known; `None` for a route about something else.
    fn path_of(&self, route: &str) -> Option<String> {
        let mut parts: Vec<String> = route.split('/').map(str::to_owned).collect();
        for at in 1..parts.len() {
            if parts[at] == "{id}" {
                let id = self.ids.get(parts[at - 1].as_str())?;
                parts[at].clone_from(id);
            }
        }
        let mut path = parts.join("/");
        if route == "/api/v1/explain" {
            write!(path, "?destination=10.8.0.5&user_id={}", self.ids.get("users")?).unwrap();
        }
        (!path.contains('{') && !["/live", "/events"].iter().any(|endless| path.ends_with(endless))).then_some(path)
    }

    /// What each page and list of the admin listener reads, sorted.
    async fn costs(&self, browser: &mut Visitor) -> BTreeMap<&'static str, Vec<String>> {
        let owner = self.console.rig.owner();
        let database = self.console.rig.database.open().await;
        let status = database.collection::<Document>("host_status");
        // However long all that takes, no host falls silent meanwhile.
        let heard = || status.update_many(doc! {}, vec![doc! { "$set": { "last_seen_at": "$$NOW" } }]);
        let mut costs = BTreeMap::new();
        for route in web::routes().admin.iter().filter(|route| route.method == "GET" && route.access != Access::Anyone)
        {
            let Some(path) = self.path_of(route.path) else { continue };
            let mut ask = || {
                let api = route.path.starts_with("/api/");
                let answer = if api { owner.send("GET", &path, &[], None) } else { browser.get(&path) };
                assert!(answer.status < 400, "{path}: {answer:?}");
            };
            heard().await.unwrap();
            // What is remembered for some seconds is remembered from now on: no clock moves here.
            ask();
            database.run_command(doc! { "profile": 0 }).await.unwrap();
            database.collection::<Document>("system.profile").drop().await.unwrap();
            database.run_command(doc! { "profile": 2 }).await.unwrap();
            ask();
            database.run_command(doc! { "profile": 0 }).await.unwrap();
            let seen = database.collection::<Document>("system.profile").find(doc! {}).await.unwrap();
            let seen: Vec<Document> = seen.try_collect().await.unwrap();
            let reads = seen.iter().filter_map(|entry| entry.get_document("command").ok());
            let named = |command: &Document| {
                let read = READS.iter().find(|read| command.contains_key(read))?;
                Some(format!("{read} {}", command.get(read).map(ToString::to_string).unwrap_or_default()))
            };
            let mut reads: Vec<String> = reads.filter_map(named).collect();
            reads.sort();
            costs.insert(route.path, reads);
        }
        costs
    }
}

fn session(rig: &Rig, profile: &serde_json::Value, server_id: ServerId, host_id: HostId) -> Session {
    Session {
        id: rig.services.new_id(),
        user_id: profile["user_id"].as_str().unwrap().parse::<UserId>().unwrap(),
        profile_id: profile["id"].as_str().unwrap().parse().unwrap(),
        server_id,
        host_id,
        address: profile["address"].as_str().unwrap().parse().unwrap(),
        remote_address: "198.51.100.7:1194".parse().unwrap(),
        connected_at: SystemClock.now(),
        bytes_received: 1,
        bytes_sent: 2,
        client_version: None,
        client_protocol: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_lists_cost_the_same_queries_for_few_rows_and_for_many() {
    let console = Console::timed(shared().database(), Arc::new(ManualClock::new(SystemClock.now()))).await;
    let mut browser = console.signed_in(Role::Owner);
    let mut rows = Rows { console, ids: BTreeMap::new() };
    rows.grow(0, FEW).await;
    let few = rows.costs(&mut browser).await;
    rows.grow(FEW, MANY).await;
    let many = rows.costs(&mut browser).await;
    assert!(few.len() > 12 && few.values().any(|cost| cost.len() > 1), "{few:?}");
    let grown: Vec<_> = few.iter().filter(|(route, cost)| many[*route].len() != cost.len()).collect();
    assert!(
        grown.is_empty(),
        "with {MANY} rows: {grown:?} became {:?}",
        grown.iter().map(|(r, _)| &many[*r]).collect::<Vec<_>>()
    );
    let dear: Vec<_> = many.iter().filter(|(_, cost)| cost.len() > MOST).collect();
    assert!(dear.is_empty(), "more than {MOST} queries: {dear:#?}");
}

/// How many documents the database looked at for the questions that `ask` leads to.
async fn examined(rig: &Rig, ask: impl Future<Output = ()>) -> i64 {
    let database = rig.database.open().await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    ask.await;
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let profile = database.collection::<Document>("system.profile");
    let seen = profile.find(doc! { "docsExamined": { "$exists": true } });
    let seen: Vec<Document> = seen.await.unwrap().try_collect().await.unwrap();
    let number = |entry: &Document| entry.get("docsExamined").and_then(|count| count.as_i32().map(i64::from));
    seen.iter().filter_map(number).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_found_without_a_look_at_everybody() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    for number in 0..50 {
        let user = json!({
            "organization_id": console.organization, "name": "User", "email": format!("user{number}@example.com"),
        });
        owner.post("/users", &user);
    }
    let mut browser = console.stranger();
    let looking = examined(&console.rig, async {
        assert_eq!(owner.get("/users?email=user49@example.com")["items"].as_array().unwrap().len(), 1);
        // The first sign-in finds the prepared user by the address, each later one by the account.
        for _ in 0..2 {
            assert_eq!(browser.sign_in(&console.issuer, &account("owner")).status, 200);
        }
    });
    let most = looking.await;
    assert!(most < 10, "{most} documents for one account");
}

/// A long trail, most of it by one actor.
async fn trail(rig: &Rig, entries: u32) {
    let now = SystemClock.now();
    let rows = (0..entries).map(|number| {
        let at = now - SignedDuration::from_mins(i64::from(entries - number));
        let often = |often: &str, seldom: &str| if number % 500 == 7 { seldom.to_owned() } else { often.to_owned() };
        doc! {
            "_id": AuditId::from_parts(at, u128::from(number)).to_string(),
            "at": bson::DateTime::from_millis(at.as_millisecond()), "actor": often("shell:often", "shell:seldom"),
            "action": often("user.update", "user.delete"), "object": format!("usr_{number}"),
            "outcome": often("success", "denied"), "request_id": bson::Bson::Null, "changes": {},
        }
    });
    rig.database.open().await.collection("audit").insert_many(rows).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_look_at_the_trail_reads_much_more_of_it_than_it_shows() {
    let rig = Rig::new().await;
    trail(&rig, 3000).await;
    let owner = rig.owner();
    let old = SystemClock.now() - SignedDuration::from_mins(2800);
    for (filter, rows) in [
        ("actor=shell:often".to_owned(), 50),
        ("actor=shell:seldom".to_owned(), 6),
        ("action=user.update".to_owned(), 50),
        ("action=user.delete".to_owned(), 6),
        ("object=usr_17".to_owned(), 1),
        ("outcome=denied".to_owned(), 6),
        (format!("before={old}"), 50),
        (format!("actor=shell:often&before={old}"), 50),
    ] {
        let most = examined(&rig, async {
            let page = owner.get(&format!("/audit?{filter}"));
            let items = page["items"].as_array().unwrap();
            assert!(items.iter().all(|entry| entry["id"].is_string()));
            assert_eq!(items.len(), rows, "{filter}");
        });
        let most = most.await;
        assert!(most <= 160, "{most} entries for {filter}");
    }
    let behind = owner.get(&format!("/audit?actor=shell:often&before={old}&limit=2"));
    let cursor = behind["next_cursor"].as_str().unwrap();
    let next = owner.get(&format!("/audit?actor=shell:often&before={old}&limit=2&cursor={cursor}"));
    assert!(next["items"][0]["at"].as_str() < behind["items"][1]["at"].as_str(), "{behind} {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_in_an_order_reads_much_more_rows_than_it_shows() {
    let console = Console::new().await;
    let (rig, owner) = (&console.rig, console.rig.owner());
    let csv =
        (0..600).fold("name,email\n".to_owned(), |csv, number| csv + &format!("User {number},u{number}@example.com\n"));
    let list = json!({ "csv": csv, "organization_id": console.organization });
    owner.expect(200, "POST", "/users/bulk", Some(&list));
    let host = rig.host().await;
    let ended = (0..600).map(|number| {
        let at = bson::DateTime::from_millis(1_700_000_000_000 + number * 1000);
        doc! {
            "_id": rig.services.new_id::<SessionId>().to_string(), "user_id": &console.people["user"],
            "profile_id": rig.services.new_id::<ProfileId>().to_string(),
            "server_id": rig.services.new_id::<ServerId>().to_string(), "host_id": host.to_string(),
            "address": "10.9.0.7", "remote_address": "198.51.100.7:1194", "connected_at": at,
            "bytes_received": 1_i64, "bytes_sent": 1_i64, "ended_at": at, "end_reason": "disconnected",
        }
    });
    rig.database.open().await.collection("sessions").insert_many(ended).await.unwrap();
    let user = &console.people["user"];
    for path in [
        "/users?sort=name&limit=10",
        "/users?sort=-name&limit=10",
        "/users?sort=email&limit=10",
        "/organizations?sort=name&limit=10",
        "/sessions?state=ended&limit=10",
        &format!("/sessions?state=ended&user_id={user}&limit=10"),
        &format!("/sessions?state=ended&host_id={host}&limit=10"),
    ] {
        let mut next = Some(String::new());
        for _ in 0..3 {
            let Some(cursor) = next.take() else { break };
            let most = examined(rig, async {
                let page = owner.get(&format!("{path}{cursor}"));
                next = page["next_cursor"].as_str().map(|cursor| format!("&cursor={cursor}"));
            });
            let most = most.await;
            assert!(most <= 60, "{most} rows for {path}");
        }
    }
}
