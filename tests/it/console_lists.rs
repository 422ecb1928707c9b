//! Lists of the console: ordered by their columns, searched, and taken along as files; what ended, and who looked.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use mongodb::bson::{Document, doc};
use postern::domain::audit::Actor;
use postern::domain::clock::{Clock, ManualClock, SystemClock};
use postern::domain::role::Role;
use postern::domain::session::EndReason;
use postern::services::Act;
use postern::services::access::sessions::SessionRecord;
use serde_json::{Value, json};

use crate::api_rig::Answer;
use crate::console_rig::{Console, Visitor};
use crate::support::mongod::shared;
use crate::users::connected;

/// The names in the first column of a list, in their order.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let rows = answer.body.split("<tr><th scope=\"row\"><a href=").skip(1);
    rows.map(|row| row.split_once('>').unwrap().1.split_once('<').unwrap().0.to_owned()).collect()
}

/// The names on all pages of a list.
fn walked(visitor: &mut Visitor, first: &str) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let answer = visitor.get(&path);
        all.extend(names(&answer));
        let link = answer.body.split_once("\" rel=\"next\"");
        next = link.map(|(before, _)| before.rsplit_once('"').unwrap().1.replace("&#38;", "&"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_ordered_by_a_column_over_all_pages() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    let user = |name: &str, email: Option<&str>| {
        let user = json!({ "organization_id": console.organization, "name": name, "email": email });
        owner.post("/users", &user);
    };
    for (name, email) in [
        ("zoë", Some("a@example.com")),
        ("Ana", Some("z@example.com")),
        ("ana", None),
        ("Öl", None),
        ("Zebra", Some("m@example.com")),
    ] {
        user(name, email);
    }
    let mut auditor = console.signed_in(Role::Auditor);
    let by_name = ["admin", "Ana", "ana", "auditor", "helpdesk", "operator", "owner", "user", "Zebra", "zoë", "Öl"];
    assert_eq!(walked(&mut auditor, "/users?limit=2"), by_name, "by name unless somebody wants it otherwise");
    let mut down = walked(&mut auditor, "/users?limit=3&sort=-name");
    down.reverse();
    assert_eq!(down, by_name);
    let by_email = walked(&mut auditor, "/users?limit=2&sort=email");
    assert_eq!(by_email[..2], ["ana", "Öl"], "who has none comes first");
    assert_eq!(by_email[2..], ["zoë", "admin", "auditor", "helpdesk", "Zebra", "operator", "owner", "user", "Ana"]);
    assert_eq!(walked(&mut auditor, "/users?limit=2&sort=-email")[9..], ["Öl", "ana"]);
    assert_eq!(walked(&mut auditor, "/users?limit=4&sort=created")[..2], ["owner", "admin"]);
    assert_eq!(walked(&mut auditor, "/users?limit=1&sort=-name&q=z"), ["zoë", "Zebra", "Ana"]);

    let page = auditor.get("/users?q=a&sort=-name");
    assert!(
        page.body.contains("aria-sort=\"descending\"><a class=\"sort\" href=\"/users?q=a&amp;limit=50&amp;sort=name\"")
    );
    assert!(page.body.contains("name=\"sort\" value=\"-name\""), "the search keeps the order");
    assert_eq!(auditor.get("/users?sort=role").status, 400);
    assert_eq!(owner.get("/users?sort=-name&limit=1")["items"][0]["name"], "Öl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_the_release_before_wrote_takes_its_place_in_the_order() {
    let console = Console::new().await;
    let users = console.rig.database.open().await.collection::<Document>("users");
    users.update_one(doc! { "name": "operator" }, doc! { "$unset": { "folded_name": "" } }).await.unwrap();
    let mut auditor = console.signed_in(Role::Auditor);
    let mut expected = vec!["operator", "admin", "auditor", "helpdesk", "owner", "user"];
    assert_eq!(walked(&mut auditor, "/users?limit=1"), expected, "nobody is lost");
    assert_eq!(console.rig.services.people().index_users().await.unwrap(), 1);
    expected.sort_unstable();
    assert_eq!(walked(&mut auditor, "/users?limit=1"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_name_is_ordered_by_it_in_any_case() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    for (number, name) in ["beta", "Alpha", "alpha two", "Gamma"].iter().enumerate() {
        owner.post("/organizations", &json!({ "name": name }));
        owner.post(
            "/servers",
            &json!({ "name": name, "network": format!("10.{number}.0.0/24"), "port": 1194, "protocol": "udp" }),
        );
    }
    let mut auditor = console.signed_in(Role::Auditor);
    assert_eq!(walked(&mut auditor, "/servers?limit=1"), ["Alpha", "alpha two", "beta", "Gamma"]);
    assert_eq!(walked(&mut auditor, "/servers?limit=3&sort=-name"), ["Gamma", "beta", "alpha two", "Alpha"]);
    assert_eq!(walked(&mut auditor, "/servers?limit=3&sort=created"), ["beta", "Alpha", "alpha two", "Gamma"]);
    assert_eq!(walked(&mut auditor, "/organizations?limit=2")[..3], ["Acme", "Alpha", "alpha two"]);
    let groups = |name: &str, groups: Value| {
        let user = json!({ "organization_id": console.organization, "name": name, "groups": groups });
        owner.post("/users", &user);
    };
    groups("a", json!(["beta", "Alpha"]));
    groups("b", json!(["beta"]));
    assert_eq!(names(&auditor.get("/groups")), ["Alpha", "beta"]);
    assert_eq!(names(&auditor.get("/groups?sort=-users")), ["beta", "Alpha"]);
    assert_eq!(auditor.get("/groups?sort=colour").status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_list_is_taken_along_for_spreadsheets_and_for_programs() {
    let console = Console::new().await;
    let rig = &console.rig;
    let owner = rig.owner();
    let host = rig.host().await;
    let server = json!({
        "name": "=main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "groups": ["dev"],
    });
    let server = owner.post("/servers", &server)["id"].as_str().unwrap().to_owned();
    owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
    connected(rig, &console.people["user"], host).await;
    let mut auditor = console.signed_in(Role::Auditor);
    for (list, rows) in [("users", 6), ("hosts", 1), ("servers", 1), ("groups", 1), ("sessions", 1)] {
        let page = auditor.get(&format!("/{list}"));
        assert!(page.body.contains(&format!("href=\"/{list}/export.json")), "{list}: {page:?}");
        let csv = auditor.get(&format!("/{list}/export"));
        assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8"), "{csv:?}");
        assert_eq!(csv.header("content-disposition"), format!("attachment; filename=\"{list}.csv\""));
        assert_eq!(csv.body.lines().count(), rows + 1, "{csv:?}");
        let json = auditor.get(&format!("/{list}/export.json"));
        assert_eq!((json.status, json.header("content-type")), (200, "application/json"), "{json:?}");
        let found = json.json();
        assert_eq!(found.as_array().unwrap().len(), rows, "{json:?}");
        let columns: Vec<&str> = csv.body.lines().next().unwrap().split(',').collect();
        assert_eq!(found[0].as_object().unwrap().len(), columns.len());
        assert!(columns.iter().all(|column| found[0].get(column).is_some()), "{columns:?}: {found}");
    }
    assert_eq!(auditor.get("/servers/export.json").json()[0]["name"], "=main");
    assert!(auditor.get("/servers/export").body.contains("\n'=main,true,10.9.0.0/24,udp,1194,1,0,0\n"));
    let found = auditor.get("/users/export.json?q=role%3Ahelpdesk&sort=-name").json();
    assert_eq!(
        found,
        json!([{
            "name": "helpdesk", "email": "helpdesk@example.com", "groups": [], "role": "helpdesk",
            "organization": "Acme", "state": "enabled",
        }])
    );
    assert_eq!(auditor.get("/sessions/export?state=ended").status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_searched_by_what_people_call_things() {
    let console = Console::new().await;
    let rig = &console.rig;
    let owner = rig.owner();
    let hosts = [rig.host().await, rig.host().await];
    let name = owner.get(&format!("/hosts/{}", hosts[0]))["name"].as_str().unwrap().to_uppercase();
    connected(rig, &console.people["user"], hosts[0]).await;
    connected(rig, &console.people["helpdesk"], hosts[1]).await;
    let mut auditor = console.signed_in(Role::Auditor);
    for (q, expected) in [
        ("", &["helpdesk", "user"][..]),
        ("user:user", &["user"]),
        ("HELP", &["helpdesk"]),
        (&format!("host:{name}"), &["user"]),
        (&format!("host:{}", hosts[1]), &["helpdesk"]),
        (&format!("user:{}", console.people["helpdesk"]), &["helpdesk"]),
        (&format!("user:helpdesk host:{name}"), &[]),
        ("server:nowhere", &[]),
        ("user:nobody", &[]),
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("q", q).finish();
        let page = auditor.get(&format!("/sessions?{query}"));
        assert_eq!(names(&page), expected, "{q}");
        let items = owner.get(&format!("/sessions?{query}"))["items"].as_array().unwrap().len();
        assert_eq!(items, expected.len(), "{q}");
    }
    let wrong = auditor.get("/sessions?q=group%3Aops");
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert!(wrong.body.contains("The search has no key “group”"), "{wrong:?}");
    let page = auditor.get(&format!("/hosts/{}", hosts[0]));
    assert!(page.body.contains("<section class=\"part tight\" id=\"carried\" data-part>"), "{page:?}");
    assert!(page.body.contains(&format!("/sessions?host_id={}", hosts[0])), "{page:?}");
    assert!(page.body.contains(&console.people["user"]) && !page.body.contains(&console.people["helpdesk"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_ended_are_shown_and_whoever_looks_is_recorded() {
    let console = Console::new().await;
    let rig = &console.rig;
    let owner = rig.owner();
    let host = rig.host().await;
    let user = console.people["user"].clone();
    let started = SystemClock.now();
    for number in 0..3 {
        let session = connected(rig, &user, host).await;
        let session = rig.store.access().find_session(session).await.unwrap().unwrap();
        let at = started + SignedDuration::from_secs(number);
        let reason = if number == 2 { EndReason::Superseded } else { EndReason::Disconnected };
        rig.services
            .access()
            .record_session(&SessionRecord::Ended { session, at, reason, moment: None })
            .await
            .unwrap();
    }
    connected(rig, &console.people["helpdesk"], host).await;
    let read = || -> Vec<Value> { owner.get("/audit?action=session.read")["items"].as_array().unwrap().clone() };
    let mut helpdesk = console.signed_in(Role::Helpdesk);
    let sheet = helpdesk.get(&format!("/users/{user}"));
    let link = format!("/sessions?user_id={user}&state=ended");
    assert!(sheet.body.contains(&link.replace('&', "&#38;")), "{sheet:?}");
    assert!(sheet.body.contains("Looking at them is recorded"), "{sheet:?}");
    assert_eq!(read(), Vec::<Value>::new(), "looking at the person is not looking at the sessions");

    let page = helpdesk.get(&link);
    assert_eq!(names(&page), ["user"; 3]);
    assert!(page.body.contains("The device connected anew") && page.body.contains("The client left"), "{page:?}");
    assert!(!page.body.contains("data-stream"), "it does not look again by itself");
    let entries = read();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((&entries[0]["actor"], &entries[0]["object"]), (&json!(console.people["helpdesk"]), &json!(user)));
    let one = helpdesk.get(&format!("{link}&limit=1"));
    assert!(one.body.contains("The device connected anew") && !one.body.contains("The client left"), "{one:?}");
    let mut walked_ids = walked(&mut helpdesk, "/sessions?state=ended&limit=2");
    walked_ids.dedup();
    assert_eq!(walked_ids, ["user"]);
    assert_eq!(walked(&mut helpdesk, "/sessions?state=ended&limit=2").len(), 3);

    let ended = owner.get("/sessions?state=ended&limit=1");
    assert_eq!(ended["items"][0]["end_reason"], "superseded");
    assert_eq!(ended["items"][0]["user_id"], json!(user));
    assert!(ended["items"][0]["ended_at"].is_string() && ended["next_cursor"].is_string());
    let live = owner.get("/sessions");
    assert_eq!((live["items"].as_array().unwrap().len(), &live["items"][0]["ended_at"]), (1, &Value::Null));
    assert!(read().iter().any(|entry| entry["object"] == "sessions"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_filtered_by_names() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    let host = console.rig.host().await;
    let name = owner.get(&format!("/hosts/{host}"))["name"].as_str().unwrap().to_owned();
    let [first, second] = ["Ana Lind", "Ana Berg"].map(|name| {
        let user = json!({ "organization_id": console.organization, "name": name });
        owner.post("/users", &user)["id"].as_str().unwrap().to_owned()
    });
    let mut auditor = console.signed_in(Role::Auditor);
    let by_mail = auditor.get("/audit?actor=owner%40example.com&object=&action=&outcome=");
    assert_eq!(by_mail.header("location"), format!("/audit?actor={}", console.people["owner"]), "{by_mail:?}");
    let by_name = auditor.get("/audit?object=ana+lind&action=user.create");
    assert_eq!(by_name.header("location"), format!("/audit?object={first}&action=user.create"), "{by_name:?}");
    let page = auditor.get(by_name.header("location"));
    assert!(page.body.contains("id=\"object-hint\">Ana Lind<") && page.body.contains("Created user"), "{page:?}");
    assert_eq!(auditor.get(&format!("/audit?object={name}")).header("location"), format!("/audit?object={host}"));
    let several = auditor.get("/audit?object=ana");
    assert!(several.status == 200 && several.body.contains("“ana” can mean several"), "{several:?}");
    for id in [&first, &second] {
        assert!(several.body.contains(&format!("href=\"/audit?object={id}\"")), "{several:?}");
    }
    let nothing = auditor.get("/audit?object=nothing-of-that-name");
    assert!(nothing.status == 200 && nothing.body.contains("No entry fits this filter"), "{nothing:?}");
    assert!(auditor.get("/audit?actor=shell%3Atest").body.contains("postern test"));

    let oldest = auditor.get("/audit?sort=at");
    assert!(oldest.body.contains("aria-sort=\"ascending\""), "{oldest:?}");
    let first = |answer: &Answer| answer.body.split("<tr><th scope=\"row\">").nth(1).unwrap()[..20].to_owned();
    assert_ne!(first(&oldest), first(&auditor.get("/audit")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_says_that_the_cluster_is_paused() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let console = Console::timed(shared().database(), clock.clone()).await;
    let mut auditor = console.signed_in(Role::Auditor);
    assert!(!auditor.get("/hosts").body.contains("The cluster is paused"));
    console.rig.services.cluster().pause(&Act::of(Actor::Shell("pause"))).await.unwrap();
    clock.advance(Duration::from_secs(6));
    for page in ["/", "/users", "/sessions", "/authorities"] {
        let answer = auditor.get(page);
        assert!(answer.body.contains("<strong>The cluster is paused</strong>"), "{page}: {answer:?}");
        assert!(answer.body.contains(", by postern pause. Nothing can be changed"), "{page}: {answer:?}");
    }
    console.rig.services.cluster().resume(&Act::of(Actor::Shell("resume"))).await.unwrap();
    clock.advance(Duration::from_secs(6));
    assert!(!auditor.get("/hosts").body.contains("The cluster is paused"));
}

/// The commands that a page offers, by their ids.
fn command(page: &Answer, id: &str) -> String {
    let (_, rest) = page.body.split_once(&format!("<code id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}: {page:?}"));
    let text = rest.split_once("</code>").unwrap().0;
    let signs = [("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&"), ("&#60;", "<"), ("&#62;", ">")];
    signs.iter().fold(text.to_owned(), |text, (sign, plain)| text.replace(sign, plain))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_page_do_what_they_say_in_a_shell() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    let name = "it's \"$(touch x)\" & co";
    let user = json!({ "organization_id": console.organization, "name": "Ana", "groups": [name] });
    let ana = owner.post("/users", &user)["id"].as_str().unwrap().to_owned();
    let group = owner.get("/groups")["items"][0]["id"].as_str().unwrap().to_owned();
    let mut browser = console.signed_in(Role::Owner);
    let run = |line: &str| -> Value {
        // The pages know the address of the site; here it is another one.
        let there = format!("http://{}", console.rig.addresses.admin.unwrap());
        let line = line.replace("http://localhost", &there);
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_postern")).parent().unwrap().to_owned();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", program.display());
        let line = if line.starts_with("postern ") { format!("{line} --json") } else { line };
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line]).env_clear().env("PATH", path).env("POSTERN_TOKEN", &console.rig.tokens["owner"]);
        let ran = shell.output().unwrap();
        assert!(ran.status.success(), "{line}: {ran:?}");
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {ran:?}"))
    };
    let page = browser.get(&format!("/users/{ana}"));
    assert_eq!(run(&command(&page, "cli-1")), run(&command(&page, "curl-1")));
    assert_eq!(run(&command(&page, "cli-2"))["disabled"], true);
    let page = browser.get(&format!("/users/{ana}"));
    assert_eq!(run(&command(&page, "curl-2"))["disabled"], false);
    let page = browser.get(&format!("/groups/{group}"));
    assert_eq!(run(&command(&page, "cli-1"))["name"], name);
    for id in ["cli-1", "curl-1"] {
        assert_eq!(run(&command(&page, id))["users"], 1);
    }
    for id in ["cli-2", "curl-2"] {
        assert_eq!(run(&command(&page, id))["items"][0]["id"], ana);
    }
    let page = browser.get(&format!("/organizations/{}", console.organization));
    assert_eq!(run(&command(&page, "cli-1")), run(&command(&page, "curl-1")));
    assert_eq!(run(&command(&page, "curl-2"))["items"].as_array().unwrap().len(), 7);
    let mut auditor = console.signed_in(Role::Auditor);
    let page = auditor.get(&format!("/users/{ana}"));
    assert!(!page.body.contains("cli-2"), "what is not allowed is not offered: {page:?}");
}
