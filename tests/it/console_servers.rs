//! Servers in the console: made, changed after a look at what that does, by two people at once, and on which hosts.

use postern::domain::ids::HostId;
use postern::domain::role::Role;
use serde_json::json;

use crate::api_rig::Answer;
use crate::console_rig::{Console, Visitor, value_of};

const FIELDS: [(&str, &str); 9] = [
    ("name", "office"),
    ("network", "10.9.0.0/24"),
    ("port", "1194"),
    ("protocol", "udp"),
    ("enabled", "yes"),
    ("interval", "2"),
    ("timeout", "6"),
    ("routes", "10.0.0.0/8 the office\r\n10.1.0.0/16 no-nat"),
    ("groups", ""),
];

/// The fields of the form, some of them with other values.
fn fields<'a>(console: &'a Console, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> =
        FIELDS.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name)).collect();
    fields.push(("organization_ids", &console.organization));
    fields.extend_from_slice(changes);
    fields
}

#[track_caller]
fn shows(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(text), "{text:?} is missing: {}", answer.body);
}

/// Makes the server of [`FIELDS`]; answers its path.
#[track_caller]
fn make(console: &Console, owner: &mut Visitor) -> String {
    let asked = owner.post("/servers/new", "/servers", &fields(console, &[]));
    shows(&asked, 200, "Create office?");
    shows(&asked, 200, "6 gain access");
    let made = owner.post("/servers/new", "/servers", &fields(console, &[("confirmed", "yes")]));
    assert_eq!(made.status, 303, "{made:?}");
    made.header("location").to_owned()
}

/// Sends the form of a server that is there, as it was filled at a revision.
fn send(console: &Console, who: &mut Visitor, path: &str, filled: &Answer, changes: &[(&str, &str)]) -> Answer {
    let revision = value_of(&filled.body, "revision").unwrap();
    let base = value_of(&filled.body, "base").unwrap().replace("&#34;", "\"");
    let mut fields = fields(console, changes);
    fields.extend([("revision", revision.as_str()), ("base", base.as_str())]);
    who.post(path, path, &fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_made_and_changed_after_a_look_at_what_that_does() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let wrong = owner.post("/servers/new", "/servers", &fields(&console, &[("routes", "10.0.0.1/8"), ("port", "0")]));
    shows(&wrong, 422, "<a href=\"#routes\">“10.0.0.1/8” has bits set behind its prefix");
    shows(&wrong, 422, "href=\"#port\">The port must be a port between 1 and 65535.");
    shows(&wrong, 422, "10.0.0.1/8</textarea>");
    let path = make(&console, &mut owner);
    shows(&owner.get("/servers"), 200, &format!("<a href=\"{path}\">office</a>"));
    shows(&owner.get(&path), 200, "No host attached");

    let form = owner.get(&format!("{path}/edit"));
    shows(&form, 200, "10.1.0.0/16 no-nat</textarea>");
    let same = send(&console, &mut owner, &path, &form, &[]);
    assert_eq!((same.status, same.header("location")), (303, path.as_str()));
    shows(&owner.get(&path), 200, "Nothing was different");

    // What it does is the same that the API says, and nothing is done yet.
    let asked = send(&console, &mut owner, &path, &form, &[("organization_ids", ""), ("groups", "nobody")]);
    shows(&asked, 200, "6 lose access");
    shows(&asked, 200, "<span class=\"lines\">nobody</span>");
    let api = console.rig.owner();
    let effect = api.expect(200, "PATCH", &format!("{path}?dry_run=true"), Some(&json!({ "groups": ["nobody"] })));
    assert_eq!(effect["users_losing_access"], 6);
    assert_eq!(api.get(&path)["groups"], json!([]));
    let done = send(&console, &mut owner, &path, &form, &[("groups", "nobody"), ("confirmed", "yes")]);
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(api.get(&path)["groups"], json!(["nobody"]));
    // Another name is nothing to look at first.
    let form = owner.get(&format!("{path}/edit"));
    let renamed = send(&console, &mut owner, &path, &form, &[("groups", "nobody"), ("name", "head office")]);
    assert_eq!((renamed.status, renamed.header("location")), (303, path.as_str()));

    let page = owner.get(&path);
    let revision = value_of(&page.body, "revision").unwrap();
    let asked = owner.post(&path, &format!("{path}/delete"), &[("revision", &revision)]);
    shows(&asked, 200, "Delete head office?");
    assert_eq!(owner.get(&path).status, 200);
    let gone = owner.post(&path, &format!("{path}/delete"), &[("revision", &revision), ("confirmed", "yes")]);
    assert_eq!((gone.status, gone.header("location")), (303, "/servers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_edit_a_server_the_second_chooses_field_by_field() {
    let console = Console::new().await;
    let (mut first, mut second) = (console.signed_in(Role::Owner), console.signed_in(Role::Admin));
    let path = make(&console, &mut first);
    let form = first.get(&format!("{path}/edit"));
    let mine = [("port", "1195"), ("routes", "10.0.0.0/8"), ("confirmed", "yes")];
    assert_eq!(send(&console, &mut first, &path, &form, &mine).status, 303);

    // The second one typed another route, and left the port alone.
    let theirs = [("routes", "10.0.0.0/8\n10.2.0.0/16")];
    let conflict = send(&console, &mut second, &path, &form, &theirs);
    shows(&conflict, 409, "owner changed this");
    shows(&conflict, 409, "name=\"take-port\" value=\"theirs\" checked");
    shows(&conflict, 409, "name=\"take-routes\" value=\"yours\" checked");
    assert_eq!(console.rig.owner().get(&path)["port"], 1195);
    let choice = [theirs[0], ("take-port", "theirs"), ("take-routes", "yours")];
    let asked = send(&console, &mut second, &path, &conflict, &choice);
    shows(&asked, 200, "Save the changes to office?");
    assert!(asked.body.contains("name=\"port\" value=\"1195\""), "{}", asked.body);
    let chosen = [theirs[0], ("port", "1195"), ("confirmed", "yes")];
    assert_eq!(send(&console, &mut second, &path, &conflict, &chosen).status, 303);
    let now = console.rig.owner().get(&path);
    assert_eq!((&now["port"], now["routes"].as_array().unwrap().len()), (&json!(1195), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_attached_and_detached_with_a_look_at_whom_it_is_about() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let path = make(&console, &mut owner);
    let (one, two): (HostId, HostId) = (console.rig.host().await, console.rig.host().await);
    let attach = |owner: &mut Visitor, host: HostId, more: &[(&str, &str)]| {
        let id = host.to_string();
        let fields: Vec<_> = [("host_id", id.as_str())].into_iter().chain(more.iter().copied()).collect();
        owner.post(&path, &format!("{path}/hosts"), &fields)
    };
    shows(&owner.post(&path, &format!("{path}/hosts"), &[("host_id", "")]), 422, "Choose a host first.");
    // Nobody has a profile, so there is nobody to tell of.
    assert_eq!(attach(&mut owner, one, &[]).status, 303);
    shows(&owner.get(&path), 200, "Waiting for its host");

    let api = console.rig.owner();
    let server = path.strip_prefix("/servers/").unwrap();
    let ana = &console.people["user"];
    api.post(&format!("/users/{ana}/profiles"), &json!({ "server_id": server, "name": "laptop" }));
    shows(&attach(&mut owner, two, &[]), 200, "1 becomes outdated");
    assert_eq!(api.get(&format!("{path}/hosts"))["items"].as_array().unwrap().len(), 1);
    assert_eq!(attach(&mut owner, two, &[("confirmed", "yes")]).status, 303);
    shows(&owner.get(&path), 200, "1, 1 of them outdated");

    let detach = format!("{path}/hosts/{one}/detach");
    // The profile is outdated already, and nobody is connected.
    assert_eq!(owner.post(&path, &detach, &[]).status, 303);
    assert_eq!(api.get(&format!("{path}/hosts"))["items"].as_array().unwrap().len(), 1);
}
