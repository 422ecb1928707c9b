//! Groups: names that users carry and servers ask for, through the API and the console.

use postern::domain::group::GroupId;
use postern::domain::role::Role;
use postern::domain::text::GroupName;
use serde_json::{Value, json};

use crate::api_rig::Rig;
use crate::console_rig::{Console, value_of};

fn path(name: &str) -> String {
    format!("/groups/{}", GroupId::from(name.parse::<GroupName>().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_there_as_long_as_somebody_or_something_names_it() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let [ana, bo] = ["Ana", "Bo"].map(|name| {
        owner.post("/users", &json!({ "organization_id": organization, "name": name, "groups": ["$dev"] }))["id"]
            .clone()
    });
    let server = json!({
        "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
        "groups": ["/vpn/ops"],
    });
    let server = owner.post("/servers", &server)["id"].clone();
    let listed = |groups: Value| -> Vec<(String, u64, usize)> {
        let row = |group: &Value| {
            let servers = group["servers"].as_array().unwrap().len();
            (group["name"].as_str().unwrap().to_owned(), group["users"].as_u64().unwrap(), servers)
        };
        groups["items"].as_array().unwrap().iter().map(row).collect()
    };
    let all = || listed(owner.get("/groups"));
    assert_eq!(all(), [("$dev".to_owned(), 2, 0), ("/vpn/ops".to_owned(), 0, 1)]);

    let helpdesk = rig.as_role(Role::Helpdesk);
    let change = json!({ "add": [ana, bo], "remove": [] });
    helpdesk.expect(204, "POST", &format!("{}/users", path("/vpn/ops")), Some(&change));
    helpdesk.expect(204, "POST", &format!("{}/users", path("/vpn/ops")), Some(&json!({ "remove": [bo] })));
    let group = owner.get(&path("/vpn/ops"));
    assert_eq!((&group["users"], &group["servers"][0]), (&json!(1), &server));
    let entries = owner.get(&format!("/audit?object={}&action=user.update", bo.as_str().unwrap()));
    assert_eq!(entries["items"].as_array().unwrap().len(), 2, "each membership is in the trail of its user");

    // Nobody changes whoever is above, and a wrong id changes nobody.
    let boss = json!({ "organization_id": organization, "name": "Boss", "role": "owner", "groups": ["board"] });
    let boss = owner.post("/users", &boss)["id"].clone();
    helpdesk.expect(403, "POST", &format!("{}/users", path("x")), Some(&json!({ "add": [ana, boss] })));
    helpdesk.expect(403, "DELETE", &path("board"), None);
    let unknown = json!({ "add": [ana, "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV"] });
    let refused = owner.ask("POST", &format!("{}/users", path("x")), Some(&unknown));
    assert_eq!((refused.checked(), &refused.json()["errors"][0]["pointer"]), (422, &json!("/add/1")));
    owner.expect(404, "GET", &path("x"), None);
    owner.expect(404, "POST", &format!("{}/users", path("x")), Some(&json!({ "remove": [ana] })));
    owner.expect(404, "GET", "/groups/nonsense", None);

    // A rename reaches users and servers, and nobody gains or loses anything.
    helpdesk.expect(403, "PATCH", &path("/vpn/ops"), Some(&json!({ "name": "ops" })));
    let renamed = owner.patch(&path("/vpn/ops"), &json!({ "name": "ops" }));
    assert_eq!((&renamed["name"], &renamed["users"]), (&json!("ops"), &json!(1)));
    let user = |id: &Value| owner.get(&format!("/users/{}", id.as_str().unwrap()));
    assert_eq!(user(&ana)["groups"], json!(["$dev", "ops"]));
    assert_eq!(owner.get(&format!("/servers/{}", server.as_str().unwrap()))["groups"], json!(["ops"]));
    owner.expect(409, "PATCH", &path("ops"), Some(&json!({ "name": "$dev" })));
    owner.expect(404, "PATCH", &path("/vpn/ops"), Some(&json!({ "name": "y" })));

    // Without its last group a server would be open to everybody.
    let refused = owner.ask("DELETE", &path("ops"), None);
    assert!(refused.checked() == 409 && refused.body.contains("the server main is open to this group"), "{refused:?}");
    let before = owner.ask("GET", &format!("/users/{}", ana.as_str().unwrap()), None).header("etag").to_owned();
    owner.expect(204, "DELETE", &path("$dev"), None);
    assert_eq!(user(&ana)["groups"], json!(["ops"]));
    let after = owner.ask("GET", &format!("/users/{}", ana.as_str().unwrap()), None).header("etag").to_owned();
    assert_ne!(before, after, "hosts learn of it by the revision");
    owner.expect(404, "DELETE", &path("$dev"), None);
    assert_eq!(all(), [("board".to_owned(), 1, 0), ("ops".to_owned(), 1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_made_filled_renamed_and_deleted_in_the_console() {
    let console = Console::new().await;
    let mut helpdesk = console.signed_in(Role::Helpdesk);
    let refused =
        helpdesk.post("/groups/new", "/groups", &[("name", "ops"), ("emails", "user@example.com\nx@example.com")]);
    assert!(refused.status == 422 && refused.body.contains("No user has the address x@example.com."), "{refused:?}");
    let empty = helpdesk.post("/groups/new", "/groups", &[("name", "ops"), ("emails", " ")]);
    assert!(empty.status == 422 && empty.body.contains("href=\"#emails\">Name at least one person."), "{empty:?}");
    let made = helpdesk.post("/groups/new", "/groups", &[("name", "ops"), ("emails", "user@example.com")]);
    let page = made.header("location").to_owned();
    assert_eq!(page, path("ops"));
    assert!(helpdesk.get(&page).body.contains("user@example.com"));
    assert!(helpdesk.get("/groups").body.contains(&format!("<a href=\"{page}\">ops</a>")));
    let renamed = helpdesk.post(&page, &page, &[("name", "operations")]);
    let page = renamed.header("location").to_owned();
    assert_eq!(page, path("operations"));
    let user = format!("/users/{}", console.people["user"]);
    assert!(helpdesk.get(&user).body.contains(&format!("<a href=\"{page}\">operations</a>")));

    let owner = console.rig.owner();
    let more = json!({ "organization_id": console.organization, "name": "Ana", "email": "ana@example.com" });
    owner.post("/users", &more);
    let added = helpdesk.post(&page, &format!("{page}/users"), &[("emails", "ana@example.com")]);
    assert_eq!(added.header("location"), page);
    let out = helpdesk.post(&page, &format!("{page}/users/{}/remove", console.people["user"]), &[]);
    assert_eq!(out.header("location"), page);
    assert!(!helpdesk.get(&page).body.contains("user@example.com"));
    assert_eq!(value_of(&helpdesk.get(&page).body, "name").as_deref(), Some("operations"));
    let gone = helpdesk.post(&page, &format!("{page}/delete"), &[]);
    assert_eq!(gone.header("location"), "/groups");
    assert!(helpdesk.get("/groups").body.contains("There is no group yet"));
    assert_eq!(helpdesk.get(&page).status, 404);
}
