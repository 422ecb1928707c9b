//! The pages of users: search, make, edit by two at once, shut out, and what is shown once.

use postern::domain::role::Role;
use serde_json::json;

use crate::api_rig::Answer;
use crate::console_rig::{Console, Visitor, value_of};
use crate::users::connected;

/// The page is whole, and shows this.
#[track_caller]
fn shows(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(text), "{text:?} is missing: {}", answer.body);
}

fn revision(visitor: &mut Visitor, path: &str) -> String {
    value_of(&visitor.get(path).body, "revision").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_is_in_the_address_and_says_what_is_wrong_with_it() {
    let console = Console::new().await;
    let mut auditor = console.signed_in(Role::Auditor);
    let all = auditor.get("/users?limit=4");
    shows(&all, 200, "rel=\"next\"");
    assert!(!all.body.contains("New user"), "what is not allowed is not offered");
    let next = all.body.split("\" rel=\"next\"").next().unwrap().rsplit('"').next().unwrap().replace("&#38;", "&");
    let second = auditor.get(&next);
    shows(&second, 200, "First page");
    let some = auditor.get("/users?q=role%3Ahelpdesk");
    shows(&some, 200, &format!("<a href=\"/users/{}\">helpdesk</a>", console.people["helpdesk"]));
    shows(&some, 200, "name=\"q\" value=\"role:helpdesk\"");
    assert!(!some.body.contains(&console.people["owner"]), "{}", some.body);
    shows(&auditor.get("/users?q=nobody"), 200, "No user matches");
    shows(&auditor.get("/users?q="), 200, &console.people["owner"]);
    let wrong = auditor.get("/users?q=grup%3Ax");
    shows(&wrong, 422, "The search has no key “grup”");
    shows(&wrong, 422, "value=\"grup:x\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_edited_disabled_and_deleted() {
    let console = Console::new().await;
    let mut helpdesk = console.signed_in(Role::Helpdesk);
    let refused = helpdesk.post("/users/new", "/users", &[("name", ""), ("email", "nonsense"), ("groups", "a\nb")]);
    shows(&refused, 422, "href=\"#name\">The name must");
    shows(&refused, 422, "href=\"#email\">");
    shows(&refused, 422, "Choose an organization.");
    shows(&refused, 422, "a\nb</textarea>");
    assert!(!refused.body.contains("value=\"admin\""), "nobody gives a role like one's own or above");

    let org = console.organization.as_str();
    let ana = [
        ("name", "Ana <b>"),
        ("email", "ana@example.com"),
        ("groups", "dev\nops"),
        ("organization_id", org),
        ("role", "user"),
    ];
    let made = helpdesk.post("/users/new", "/users", &ana);
    assert_eq!(made.status, 303, "{made:?}");
    let path = made.header("location").to_owned();
    let page = helpdesk.get(&path);
    shows(&page, 200, "The user is there.");
    shows(&page, 200, "<h1>Ana &#60;b&#62;</h1>");
    shows(&page, 200, ">dev</a>, <a href=");
    let taken = helpdesk.post("/users/new", "/users", &ana);
    shows(&taken, 409, "href=\"#email\">Another user has this email.");

    let rev = revision(&mut helpdesk, &path);
    let edit = [
        ("name", "Ana"),
        ("email", ""),
        ("groups", "ops"),
        ("organization_id", org),
        ("role", "user"),
        ("revision", &rev),
    ];
    assert_eq!(helpdesk.post(&path, &path, &edit).status, 303);
    shows(&helpdesk.get(&path), 200, ">ops</a></dd>");
    let conflict = helpdesk.post(
        &path,
        &path,
        &[
            ("name", "Anna"),
            ("email", "ana@example.com"),
            ("groups", "ops, dev"),
            ("organization_id", org),
            ("role", "user"),
            ("revision", &rev),
        ],
    );
    shows(&conflict, 409, "helpdesk changed this");
    let version = |which, words| format!("name=\"take-groups\" value=\"{which}<span class=\"lines\">{words}</span>");
    shows(&conflict, 409, &version("yours\" checked>", "ops, dev"));
    shows(&conflict, 409, &version("theirs\">", "ops"));
    shows(&conflict, 409, "name=\"name\" value=\"Anna\"");

    assert_eq!(helpdesk.post(&path, &format!("{path}/disable"), &[]).status, 303);
    let page = helpdesk.get(&path);
    shows(&page, 200, "The user is disabled.");
    shows(&page, 200, "Enable user");
    assert!(!page.body.contains("profile-links"), "a disabled user gets no link");
    assert_eq!(helpdesk.post(&path, &format!("{path}/enable"), &[]).status, 303);
    let rev = revision(&mut helpdesk, &path);
    assert_eq!(helpdesk.post(&path, &format!("{path}/delete"), &[("revision", &rev)]).header("location"), "/users");
    shows(&helpdesk.get(&path), 404, "There is nothing here");

    // Whoever is above is looked at, and no more.
    let owner = format!("/users/{}", console.people["owner"]);
    let page = helpdesk.get(&owner);
    shows(&page, 200, "Your role may not change users of this role.");
    assert!(!page.body.contains("Delete user") && !page.body.contains("Disable user"));
    let forced = helpdesk.post("/users/new", &format!("{owner}/disable"), &[]);
    shows(&forced, 403, "PST-AUTH-003");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_has_open_is_ended_from_the_users_page() {
    let console = Console::new().await;
    let rig = &console.rig;
    let mut owner = console.signed_in(Role::Owner);
    let api = rig.owner();
    let host = rig.host().await;
    let ana = &console.people["user"];
    let path = format!("/users/{ana}");
    let server = json!({
        "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
        "organization_ids": [console.organization],
    });
    let server = api.post("/servers", &server)["id"].as_str().unwrap().to_owned();
    api.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);

    let link = owner.post(&path, &format!("{path}/profile-links"), &[("device", "Laptop"), ("server_id", &server)]);
    shows(&link, 200, "This link is shown once");
    let url = link.body.split("value=\"http://localhost/p/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(!owner.get(&path).body.contains(&url), "and only once");
    let mut holder = Visitor::new(rig.addresses.public.unwrap());
    let file = holder.send("POST", &format!("/p/{url}"), &[crate::console_rig::SAME_ORIGIN], Some(""));
    assert_eq!((file.status, file.header("content-type")), (200, "application/x-openvpn-profile"), "{file:?}");
    let missing = owner.post(&path, &format!("{path}/profile-links"), &[("device", ""), ("server_id", &server)]);
    shows(&missing, 422, "href=\"#device\">The name of the device must not be empty.");

    let page = owner.get(&path);
    let profile = page.body.split("/profiles/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(owner.post(&path, &format!("{path}/profiles/{profile}/revoke"), &[]).status, 303);
    let page = owner.get(&path);
    shows(&page, 200, "The profile is revoked.");
    assert!(!page.body.contains("Revoke for good"));

    let sessions = [connected(rig, ana, host).await, connected(rig, ana, host).await];
    assert_eq!(owner.post(&path, &format!("{path}/sessions/{}/end", sessions[0]), &[]).status, 303);
    assert_eq!(rig.services.access().ends_of(&sessions, &[]).await.unwrap().len(), 1);
    shows(&owner.get("/users?q=user"), 200, "Connected");
    assert_eq!(owner.post(&path, &format!("{path}/sessions/end"), &[]).status, 303);
    assert_eq!(rig.services.access().ends_of(&sessions, &[]).await.unwrap().len(), 2);

    let admin = format!("/users/{}", console.people["admin"]);
    let mut signed_in = console.signed_in(Role::Admin);
    shows(&owner.get(&admin), 200, "Sign out everywhere");
    assert_eq!(owner.post(&admin, &format!("{admin}/logins/end"), &[]).status, 303);
    assert_eq!(signed_in.get("/users").status, 303);
    shows(&owner.get(&admin), 200, "Ended all sign-ins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_looked_at_corrected_and_added() {
    let console = Console::new().await;
    let mut helpdesk = console.signed_in(Role::Helpdesk);
    let (path, org) = ("/users/import", console.organization.as_str());
    let none = helpdesk.post(path, path, &[("csv", "Ana,ana@example.com")]);
    shows(&none, 422, "href=\"#csv\">Must begin with a line that names the columns");

    let csv = "name\temail\tgroups\nAna <b>\tana@example.com\tdev;ops\n\tx\t\nOwner\towner@example.com\t\n";
    let preview = helpdesk.post(path, path, &[("csv", csv), ("organization_id", org)]);
    shows(&preview, 200, "Nothing is done yet");
    shows(&preview, 200, "Add 1 user</button>");
    shows(&preview, 200, "name must not be empty");
    shows(&preview, 200, "There already");
    shows(&preview, 200, "Ana &#60;b&#62;");
    assert!(!helpdesk.get("/users").body.contains("ana@example.com"), "nothing is done yet");

    let done = helpdesk.post(path, path, &[("csv", csv), ("organization_id", org), ("confirmed", "yes")]);
    shows(&done, 200, "Added 1 user");
    shows(&done, 200, "Left out because of mistakes: 1");
    shows(&helpdesk.get("/users?q=ana"), 200, "ana@example.com");

    let file = helpdesk.get("/users/export?q=role%3Auser");
    assert_eq!((file.status, file.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert!(file.body.starts_with("name,email,groups,role,organization,state\n"), "{}", file.body);
    assert!(file.body.contains("Ana <b>,ana@example.com,dev;ops,user,Acme,enabled\n"), "{}", file.body);
    assert!(!file.body.contains("owner@example.com"), "{}", file.body);
    console.rig.owner().post("/users", &json!({ "organization_id": org, "name": "=1+1" }));
    assert!(helpdesk.get("/users/export").body.contains("\n'=1+1,"), "no formula");
}
