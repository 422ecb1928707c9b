//! Who reaches what, and why: by the API, the command line's road, and the console; and live sessions as the console lists
//! them.

use std::collections::BTreeSet;

use postern::domain::ids::HostId;
use postern::domain::role::Role;
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};
use crate::console_rig::Console;
use crate::users::connected;

struct Office {
    organization: Value,
    server: String,
    user: String,
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// A server that leads to an office, on a host that is alive, and somebody who may use it.
fn office(owner: &Caller, host: HostId) -> Office {
    let organization = owner.post("/organizations", &json!({ "name": "Globex" }))["id"].clone();
    let server = json!({
        "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
        "groups": ["ops"], "routes": [{ "network": "10.8.0.0/16", "comment": "the office network" }],
    });
    let server = id(&owner.post("/servers", &server));
    owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
    let user = json!({ "organization_id": organization, "name": "Ana", "email": "ana@example.com", "groups": ["ops"] });
    let user = id(&owner.post("/users", &user));
    Office { organization, server, user }
}

fn broken(answer: &Value) -> Vec<String> {
    let links = answer["ways"][0]["links"].as_array().unwrap();
    links.iter().filter(|link| link["holds"] == false).map(|link| link["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_follows_each_change_of_policy() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let host = rig.host().await;
    let Office { organization, server, user } = office(&owner, host);
    let ask = |destination: &str| owner.get(&format!("/explain?user_id={user}&destination={destination}"));

    let none = ask("10.8.0.5");
    assert_eq!((&none["allowed"], broken(&none)), (&json!(false), vec!["profile".to_owned()]));
    assert_eq!(none["changes"], json!(["Issue a new profile for office to Ana."]));
    let issued = owner.post(&format!("/users/{user}/profiles"), &json!({ "server_id": server, "name": "laptop" }));
    let profile = id(&issued["profile"]);
    let open = ask("10.8.0.5");
    assert_eq!((&open["allowed"], &open["changes"]), (&json!(true), &json!([])), "{open}");
    assert_eq!(open["ways"][0]["profile_id"], profile.as_str());
    assert!(open.to_string().contains("the office network"));
    assert_eq!(ask("10.8.4.0/24")["allowed"], true);
    let nowhere = ask("192.0.2.1");
    assert_eq!((&nowhere["allowed"], &nowhere["ways"]), (&json!(false), &json!([])));

    let path = format!("/users/{user}");
    for (change, back, link) in [
        (json!({ "disabled": true }), json!({ "disabled": false }), "user"),
        (json!({ "groups": [] }), json!({ "groups": ["ops"] }), "group"),
    ] {
        owner.patch(&path, &change);
        assert_eq!(broken(&ask("10.8.0.5")), [link]);
        owner.patch(&path, &back);
    }
    let open = |organizations: Value| {
        owner.patch(&format!("/servers/{server}"), &json!({ "organization_ids": organizations }))
    };
    open(json!([]));
    assert_eq!(broken(&ask("10.8.0.5")), ["organization"]);
    open(json!([organization]));
    owner.expect(202, "POST", &format!("/hosts/{host}/drain"), Some(&json!({ "budget_seconds": 0, "force": true })));
    assert_eq!(broken(&ask("10.8.0.5")), ["host"]);
    owner.expect(200, "POST", &format!("/hosts/{host}/resume"), None);

    let later = owner.get(&format!("/explain?profile_id={profile}&destination=10.8.0.5&at=2099-01-01T00:00:00Z"));
    assert_eq!(broken(&later), ["profile"]);
    let elsewhere = owner.get(&format!("/explain?profile_id={profile}&destination=192.0.2.1"));
    assert_eq!(broken(&elsewhere), ["route"], "a profile leads to its server, wherever that leads");
    owner.expect(200, "POST", &format!("/profiles/{profile}/revoke"), None);
    assert_eq!(broken(&ask("10.8.0.5")), ["profile"]);

    for (query, parameter) in [
        (format!("user_id={user}&destination=office.example.com"), "destination"),
        (format!("user_id={user}"), "destination"),
        (format!("user_id={user}&profile_id={profile}&destination=10.8.0.5"), "user_id"),
        ("destination=10.8.0.5".to_owned(), "user_id"),
        (format!("user_id={user}&destination=10.8.0.5&limit=1"), "limit"),
    ] {
        let refused = owner.ask("GET", &format!("/explain?{query}"), None);
        assert_eq!((refused.checked(), &refused.json()["errors"][0]["parameter"]), (400, &json!(parameter)), "{query}");
    }
    owner.expect(400, "GET", "/explain?user_id=usr_01ARZ3NDEKTSV4RRFFQ69G5FAV&destination=10.8.0.5", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_explains_to_whoever_may_read() {
    let console = Console::new().await;
    let owner = console.rig.owner();
    let host = console.rig.host().await;
    office(&owner, host);
    let mut auditor = console.signed_in(Role::Auditor);
    assert_eq!(auditor.get("/explain").status, 200);
    for who in ["ana%40example.com", "ana", &id(&owner.get("/users?q=ana")["items"][0])] {
        let page = auditor.get(&format!("/explain?user={who}&destination=10.8.0.5"));
        assert!(page.status == 200 && page.body.contains("Issue a new profile for office to Ana."), "{who}: {page:?}");
    }
    for (query, text) in [
        ("user=nobody&destination=10.8.0.5", "No user is called so."),
        ("user=&destination=10.8.0.5", "Say who wants to get there."),
        ("user=ana&destination=x", "The destination must be an IPv4 address"),
    ] {
        let page = auditor.get(&format!("/explain?{query}"));
        assert!(page.status == 422 && page.body.contains(text), "{query}: {page:?}");
    }
    let same = json!({ "organization_id": console.organization, "name": "Ana" });
    owner.post("/users", &same);
    let page = auditor.get("/explain?user=ana&destination=10.8.0.5");
    assert!(page.status == 422 && page.body.contains("Several users are called so"), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_sessions_of_all_hosts_are_listed_narrowed_and_ended() {
    let console = Console::new().await;
    let rig = &console.rig;
    let hosts = [rig.host().await, rig.host().await];
    let (ana, bo) = (&console.people["user"], &console.people["auditor"]);
    let sessions = [connected(rig, ana, hosts[0]).await, connected(rig, bo, hosts[1]).await];
    let mut operator = console.signed_in(Role::Operator);
    let all = operator.get("/sessions");
    let shown = |body: &str| -> BTreeSet<usize> {
        (0..2).filter(|number| body.contains(&format!("/sessions/{}/end", sessions[*number]))).collect()
    };
    assert_eq!(shown(&all.body), BTreeSet::from([0, 1]), "{}", all.body);
    assert!(all.body.contains(&format!("<a href=\"/users/{ana}\">user</a>")), "{}", all.body);
    let of_host = operator.get(&format!("/sessions?user_id=&server_id=&host_id={}", hosts[1]));
    assert_eq!(shown(&of_host.body), BTreeSet::from([1]));
    let of_user = operator.get(&format!("/sessions?user_id={ana}"));
    assert_eq!(shown(&of_user.body), BTreeSet::from([0]));
    assert!(of_user.body.contains("Show everybody"), "{}", of_user.body);
    let empty = operator.get(&format!("/sessions?user_id={ana}&host_id={}", hosts[1]));
    assert!(empty.body.contains("Nobody is connected that way"), "{}", empty.body);
    assert_eq!(operator.get("/sessions?user_id=nonsense").status, 400);

    let back = format!("/sessions?user_id={ana}");
    let ended = operator.post(&back, &format!("/sessions/{}/end", sessions[0]), &[("user_id", ana)]);
    assert_eq!((ended.status, ended.header("location")), (303, back.as_str()), "it leads back to the same choice");
    let asked = rig.services.access().ends_of(&sessions, &[]).await.unwrap();
    assert_eq!(asked.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [sessions[0]]);
    let mut auditor = console.signed_in(Role::Auditor);
    assert_eq!(shown(&auditor.get("/sessions").body), BTreeSet::new(), "what is not allowed is not offered");
}
