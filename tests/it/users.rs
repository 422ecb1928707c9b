//! Users as programs see them: what a search finds and what it costs, and everything of one user ended at once.

use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::ids::{HostId, ProfileId, ServerId, SessionId, UserId};
use postern::domain::role::Role;
use postern::domain::session::Session;
use postern::services::access::sessions::SessionRecord;
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};
use crate::console_rig::Console;

/// The names that a search finds, in the order of the list.
#[track_caller]
fn found(api: &Caller, q: &str) -> Vec<String> {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("q", q).finish();
    let items = api.get(&format!("/users?{query}"))["items"].take();
    items.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect()
}

/// A session of a user that a host carries, as it would record it.
pub(crate) async fn connected(rig: &Rig, user: &str, host: HostId) -> SessionId {
    let session = Session {
        id: rig.services.new_id(),
        user_id: user.parse().unwrap(),
        profile_id: rig.services.new_id::<ProfileId>(),
        server_id: rig.services.new_id::<ServerId>(),
        host_id: host,
        address: Ipv4Addr::new(10, 9, 0, 7),
        remote_address: (Ipv4Addr::new(198, 51, 100, 7), 50123).into(),
        connected_at: SystemClock.now(),
        bytes_received: 1,
        bytes_sent: 2,
        client_version: None,
        client_protocol: None,
    };
    rig.services.access().record_session(&SessionRecord::began(session.clone(), None)).await.unwrap();
    session.id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_who_fits_all_its_parts() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let [acme, other] =
        ["Acme", "Acme \"North\""].map(|name| owner.post("/organizations", &json!({ "name": name }))["id"].clone());
    let user = |organization: &Value, name: &str, more: Value| {
        let mut body = json!({ "organization_id": organization, "name": name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        owner.post("/users", &body)
    };
    user(&acme, "Ana Lindström", json!({ "email": "ana@example.com", "groups": ["dev", "VPN users"] }));
    user(&acme, "Bo LIND-Berg", json!({ "email": "b.lind@example.com", "groups": ["dev"], "role": "admin" }));
    let gone = user(&other, "Zoë", json!({ "email": "zoe@example.org", "disabled": true, "groups": ["VPN users"] }));
    for (q, expected) in [
        ("", &["Ana Lindström", "Bo LIND-Berg", "Zoë"][..]),
        ("lind", &["Ana Lindström", "Bo LIND-Berg"]),
        ("LINDSTRÖM", &["Ana Lindström"]),
        ("berg", &["Bo LIND-Berg"]),
        ("zoe@", &["Zoë"]),
        ("ind", &[]),
        ("ana lind", &["Ana Lindström"]),
        ("ana berg", &[]),
        ("group:dev", &["Ana Lindström", "Bo LIND-Berg"]),
        ("group:dev group:\"VPN users\"", &["Ana Lindström"]),
        ("group:de", &[]),
        ("lind role:admin", &["Bo LIND-Berg"]),
        ("state:disabled", &["Zoë"]),
        ("state:enabled org:Acme", &["Ana Lindström", "Bo LIND-Berg"]),
        (r#"org:"Acme \"North\"""#, &["Zoë"]),
        ("org:nobody", &[]),
        (".*", &[]),
    ] {
        assert_eq!(found(&owner, q), expected, "{q}");
    }
    assert_eq!(found(&owner, &format!("org:{}", other.as_str().unwrap())), ["Zoë"]);
    let both = format!("/users?organization_id={}&q=org%3AAcme", other.as_str().unwrap());
    assert_eq!(owner.get(&both)["items"], json!([]), "both hold");

    owner.patch(&format!("/users/{}", gone["id"].as_str().unwrap()), &json!({ "name": "Chloé", "email": null }));
    assert_eq!(
        (found(&owner, "zoe"), found(&owner, "chl")),
        (vec![], vec!["Chloé".to_owned()]),
        "what is changed is found anew"
    );
    for (q, part) in [("grup%3Aops", "no key “grup”"), ("%22", "not closed"), ("role%3Aboss", "must be one of")] {
        let refused = owner.ask("GET", &format!("/users?q={q}"), None);
        assert_eq!(refused.checked(), 400, "{q}");
        assert_eq!(refused.json()["errors"][0]["parameter"], "q");
        assert!(refused.body.contains(part), "{refused:?}");
    }
}

/// Users as the previous release would have written them.
async fn many(rig: &Rig, organization: &str, other: &str) {
    let users = rig.database.open().await.collection::<Document>("users");
    let row = |number: u32| {
        doc! {
            "_id": rig.services.new_id::<UserId>().to_string(), "rev": 1_i64,
            "organization_id": if number % 100 == 7 { other } else { organization },
            "name": format!("Person Number{number}"), "email": format!("p{number}@example.com"),
            "groups": [format!("group-{}", number % 100)], "disabled": number % 100 == 3,
            "role": if number % 100 == 5 { "auditor" } else { "user" },
        }
    };
    users.insert_many((0..2000).map(row)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_or_search_looks_at_more_users_than_it_shows() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let [acme, other] =
        ["Acme", "Other"].map(|name| owner.post("/organizations", &json!({ "name": name }))["id"].clone());
    many(&rig, acme.as_str().unwrap(), other.as_str().unwrap()).await;
    assert_eq!(found(&owner, "number77"), [""; 0], "the previous release wrote no words");
    assert_eq!(rig.services.people().index_users().await.unwrap(), 2000);
    assert_eq!(rig.services.people().index_users().await.unwrap(), 0);

    let database = rig.database.open().await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    for (q, rows) in [
        ("", 50),
        ("person", 50),
        ("number777", 1),
        ("p1234@example.com", 1),
        ("group:group-42", 20),
        ("state:disabled", 20),
        ("state:enabled", 50),
        ("role:auditor", 20),
        ("org:Other", 20),
        ("person group:group-9 state:enabled", 20),
    ] {
        assert_eq!(found(&owner, q).len(), rows, "{q}");
    }
    let by_address = owner.get("/users?email=p99%40example.com");
    assert_eq!(by_address["items"][0]["name"], "Person Number99");
    database.run_command(doc! { "profile": 0 }).await.unwrap();

    let ours = doc! { "ns": format!("{}.users", rig.database.name), "command.find": "users" };
    let asked = database.collection::<Document>("system.profile").find(ours).await.unwrap();
    let asked: Vec<Document> = asked.try_collect().await.unwrap();
    assert_eq!(asked.len(), 11, "{asked:?}");
    for query in asked {
        let plan = query.get_str("planSummary").unwrap();
        assert!(!plan.contains("COLLSCAN"), "{query}");
        let examined = query.get_i32("docsExamined").unwrap();
        assert!(examined <= 110, "{examined} users for {query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_a_user_are_ended_by_one_call() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let [ana, bo] = ["Ana", "Bo"].map(|name| {
        let made = owner.post("/users", &json!({ "organization_id": organization, "name": name }));
        made["id"].as_str().unwrap().to_owned()
    });
    let host = rig.host().await;
    let mut hers = [connected(&rig, &ana, host).await, connected(&rig, &ana, host).await];
    let his = connected(&rig, &bo, host).await;
    let end = format!("/users/{ana}/sessions/end");
    rig.as_role(Role::Helpdesk).expect(202, "POST", &end, None);
    let mut asked: Vec<SessionId> = rig.store.access().ordered_ends(&[hers[0], hers[1], his]).await.unwrap();
    asked.sort_unstable();
    hers.sort_unstable();
    assert_eq!(asked, hers);
    let entry = owner.get(&format!("/audit?object={ana}&action=session.end"))["items"][0].take();
    assert_eq!(entry["changes"]["sessions"][0].as_array().unwrap().len(), 2, "{entry}");
    owner.expect(202, "POST", &format!("/users/{bo}/sessions/end"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_out_everywhere_is_so_at_once() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    let mut admin = console.signed_in(Role::Admin);
    assert_eq!(admin.get("/users").status, 200);
    let path = |role: &str| format!("/users/{}/logins/end", console.people[role]);
    let helpdesk = console.rig.as_role(Role::Helpdesk);
    helpdesk.expect(403, "POST", &path("admin"), None);
    assert_eq!(admin.get("/users").status, 200, "who is above is not for the helpdesk to sign out");
    owner.expect(204, "POST", &path("admin"), None);
    assert_eq!(admin.get("/users").status, 303);
    owner.expect(204, "POST", &path("admin"), None);
    let ends = owner.get(&format!("/audit?object={}&action=login.end", console.people["admin"]));
    assert_eq!(ends["items"].as_array().unwrap().len(), 1, "only what happened is recorded: {ends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_told_line_by_line_before_it_is_done_and_may_be_sent_again() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let [acme, other] =
        ["Acme", "Other"].map(|name| owner.post("/organizations", &json!({ "name": name }))["id"].clone());
    owner.post("/users", &json!({ "organization_id": acme, "name": "Ana", "email": "ana@example.com" }));
    owner.post("/users", &json!({ "organization_id": acme, "name": "Printer" }));
    let csv = "name,email,groups,role,organization\n\
        Ana Again,ana@example.com,,,\n\
        Bo,bo@example.com,dev;ops,helpdesk,Other\n\
        Printer,,,,\n\
        Printer,,,,Other\n\
        Cy,CY@example.com,,boss,\n\
        Di,di@example.com,,,Nowhere\n\
        Ed,bo@example.com,,,\n";
    let send = |caller: &Caller, dry_run: bool| {
        let body = json!({ "csv": csv, "organization_id": acme, "dry_run": dry_run });
        caller.expect(200, "POST", "/users/bulk", Some(&body))
    };
    let outcomes = |report: &Value| -> Vec<String> {
        report["lines"].as_array().unwrap().iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
    };
    let before = rig.dump().await;
    let plan = send(&owner, true);
    assert_eq!(outcomes(&plan), ["existing", "new", "existing", "new", "refused", "refused", "refused"]);
    assert_eq!((&plan["new"], &plan["existing"], &plan["refused"]), (&json!(2), &json!(2), &json!(3)));
    let errors = |line: usize| plan["lines"][line]["errors"].to_string();
    assert!(errors(4).contains("\"email\"") && errors(4).contains("\"role\""), "{}", errors(4));
    assert!(errors(5).contains("no organization with this name") && errors(6).contains("stands in line 3 already"));
    assert!(rig.dump().await == before, "a look changes nothing");

    let done = send(&owner, false);
    assert_eq!(outcomes(&done), outcomes(&plan));
    let made: Vec<&str> = [1, 3].map(|line: usize| done["lines"][line]["user_id"].as_str().unwrap()).to_vec();
    let bo = owner.get(&format!("/users/{}", made[0]));
    assert_eq!(
        (&bo["role"], &bo["groups"], &bo["organization_id"]),
        (&json!("helpdesk"), &json!(["dev", "ops"]), &other)
    );
    let tag = |id: &str| owner.ask("GET", &format!("/users/{id}"), None).header("etag").to_owned();
    assert_eq!(tag(made[0]), tag(made[1]), "one revision for all");
    for id in made {
        assert_eq!(owner.get(&format!("/audit?object={id}&action=user.create"))["items"].as_array().unwrap().len(), 1);
    }
    assert_eq!(send(&owner, false)["new"], 0, "the same list makes nobody twice");

    // Nobody gives others a role like their own.
    let list = json!({ "csv": "name,role\nGil,admin\nHo,user\n", "organization_id": acme });
    let by_helpdesk = rig.as_role(Role::Helpdesk).expect(200, "POST", "/users/bulk", Some(&list));
    assert_eq!(outcomes(&by_helpdesk), ["refused", "new"]);
    for (csv, part) in [("", "names the columns"), ("name,x\na,b", "a column “x”"), ("name\n", "has no users")] {
        let refused = owner.ask("POST", "/users/bulk", Some(&json!({ "csv": csv })));
        assert_eq!(refused.checked(), 422);
        assert_eq!(refused.json()["errors"][0]["pointer"], "/csv");
        assert!(refused.body.contains(part), "{refused:?}");
    }
}
