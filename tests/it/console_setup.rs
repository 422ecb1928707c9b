//! The settings, the set-up path and the overview, as a browser meets them.

use postern::domain::role::Role;
use postern::domain::server::DaemonState;
use postern::services::{AttachmentKey, DaemonStatus};

use crate::api_rig::Answer;
use crate::console_rig::{Console, SAME_ORIGIN, Visitor, value_of};
use crate::self_service_rig::account;

#[track_caller]
fn shows(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(text), "{text:?} is missing: {}", answer.body);
}

/// The fields of the settings that the console's rig has.
fn fields<'a>(console: &'a Console, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("company_name", "Acme"),
        ("contact", ""),
        ("issuer", console.issuer.url.as_str()),
        ("client_id", "postern"),
        ("client_secret", ""),
        ("allowed_domains", "example.com"),
        ("default_organization_id", console.organization.as_str()),
        ("profile_lifetime_days", "90"),
        ("profiles_per_user", "10"),
        ("outage_admission_hours", "4"),
        ("address_days", "30"),
        ("session_days", "90"),
        ("departed_days", "30"),
        ("audit_days", "400"),
    ];
    let mut fields: Vec<_> =
        usual.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name)).collect();
    fields.extend_from_slice(changes);
    fields
}

fn send(console: &Console, who: &mut Visitor, filled: &Answer, changes: &[(&str, &str)]) -> Answer {
    let revision = value_of(&filled.body, "revision").unwrap();
    let base = value_of(&filled.body, "base").unwrap().replace("&#34;", "\"");
    let mut fields = fields(console, changes);
    fields.extend([("revision", revision.as_str()), ("base", base.as_str())]);
    who.post("/settings", "/settings", &fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_changed_and_the_secret_is_written_and_never_shown() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let page = owner.get("/settings");
    shows(&page, 200, "<code>http://localhost/oauth/callback</code>");
    shows(&page, 200, "One is set. It is never shown");
    let wrong = send(&console, &mut owner, &page, &[("profile_lifetime_days", "400"), ("contact", "IT")]);
    shows(&wrong, 422, "href=\"#profile_lifetime_days\">The number of days must be between 1 and 397 days.");
    shows(&wrong, 422, "name=\"contact\" value=\"IT\"");
    let secret = "a-secret-of-ours";
    let saved = send(&console, &mut owner, &page, &[("client_secret", secret), ("contact", "the IT desk")]);
    assert_eq!((saved.status, saved.header("location")), (303, "/settings"), "{saved:?}");
    let page = owner.get("/settings");
    shows(&page, 200, "The settings are saved.");
    assert!(!page.body.contains(secret));
    let settings = console.rig.owner().get("/settings");
    assert_eq!((&settings["company_name"], &settings["contact"]), (&"Acme".into(), &"the IT desk".into()));
    assert_eq!(settings["oidc"]["credentials_set"], true);
    let gone = send(&console, &mut owner, &page, &[("forget_secret", "yes"), ("contact", "the IT desk")]);
    assert_eq!(gone.status, 303);
    assert_eq!(console.rig.owner().get("/settings")["oidc"]["credentials_set"], false);
    shows(&owner.get("/settings"), 200, "Save a client id, a client secret and an allowed domain first.");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_the_settings_the_second_chooses_field_by_field() {
    let console = Console::new().await;
    let (mut first, mut second) = (console.signed_in(Role::Owner), console.signed_in(Role::Admin));
    let page = first.get("/settings");
    assert_eq!(send(&console, &mut first, &page, &[("profiles_per_user", "3")]).status, 303);
    let conflict = send(&console, &mut second, &page, &[("contact", "the IT desk")]);
    shows(&conflict, 409, "owner changed this");
    shows(&conflict, 409, "name=\"take-profiles_per_user\" value=\"theirs\" checked");
    let choice = [("contact", "the IT desk"), ("take-profiles_per_user", "theirs"), ("take-contact", "yours")];
    assert_eq!(send(&console, &mut second, &conflict, &choice).status, 303);
    let settings = console.rig.owner().get("/settings");
    assert_eq!((&settings["profiles_per_user"], &settings["contact"]), (&3.into(), &"the IT desk".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_sign_in_goes_to_the_provider_and_back_and_signs_nobody_in() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let mut test = |who: &str| {
        let start = owner.post("/settings", "/settings/test", &[]);
        assert_eq!(start.status, 303, "{start:?}");
        let code = console.issuer.code(start.header("location"), &account(who));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", &code.state.unwrap()).append_pair("code", &code.code.unwrap());
        let before = owner.cookies["postern-console-login"].clone();
        let back = format!("/oauth/callback?{}", query.finish());
        let answer = owner.send("GET", &back, &[("sec-fetch-site", "cross-site")], None);
        assert_eq!(owner.cookies["postern-console-login"], before);
        answer
    };
    shows(&test("admin"), 200, "as admin, who was prepared for this address, with the role admin");
    shows(&test("owner"), 200, "as owner, with the role owner");
    shows(&test("user"), 200, "This account has no role in the administration.");
    let newcomer = test("newcomer");
    shows(&newcomer, 200, "as a new user of Acme");
    shows(&newcomer, 200, "Nobody has invited this account.");
    let users = console.rig.owner().get("/users?q=newcomer");
    assert_eq!(users["items"], serde_json::json!([]), "nobody is made by a test");
}

/// Takes a step of the set-up.
#[track_caller]
fn step(owner: &mut Visitor, step: &str, fields: &[(&str, &str)]) -> Answer {
    let fields: Vec<_> = [("step", step)].into_iter().chain(fields.iter().copied()).collect();
    owner.post("/setup", "/setup", &fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_the_set_up_is_judged_by_what_is_there() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    shows(&owner.get("/"), 200, "2 of 6 steps of the set-up are done");
    shows(&step(&mut owner, "company", &[("name", " ")]), 422, "The name must not be empty.");
    assert_eq!(step(&mut owner, "company", &[("name", "Acme Ltd")]).header("location"), "/setup");
    shows(&owner.get("/setup"), 200, "That step is done.");
    let server = [("name", "main"), ("network", "10.200.0.0/16"), ("port", "1194"), ("routes", "10.0.0.0/8 office")];
    assert_eq!(step(&mut owner, "server", &server).status, 303);
    let servers = console.rig.owner().get("/servers");
    assert_eq!(servers["items"][0]["organization_ids"], serde_json::json!([console.organization]));
    assert_eq!(servers["items"][0]["routes"][0]["comment"], "office");

    shows(&owner.get("/setup"), 200, "No machine with the role");
    let host = console.rig.host().await;
    shows(&owner.get("/setup"), 200, &format!("<option value=\"{host}\">"));
    assert_eq!(step(&mut owner, "host", &[("host_id", &host.to_string())]).status, 303);
    shows(&owner.get("/setup"), 200, "Attached, not running yet");
    let key = AttachmentKey { server_id: servers["items"][0]["id"].as_str().unwrap().parse().unwrap(), host_id: host };
    let running = DaemonStatus { key, state: DaemonState::Running, detail: None };
    console.rig.services.network().report_daemon(&running).await.unwrap();
    assert!(!owner.get("/setup").body.contains("not running yet"));

    let link = step(&mut owner, "profile", &[("name", "Ana Ng"), ("device", "Laptop")]);
    shows(&link, 200, "<code>http://localhost/p/");
    // Whoever lost the link makes another one, for the same person.
    shows(&step(&mut owner, "profile", &[("name", "Ana Ng"), ("device", "Laptop")]), 200, "The link is made");
    assert_eq!(console.rig.owner().get("/users?q=Ana")["items"].as_array().unwrap().len(), 1);
    shows(&owner.get("/setup"), 200, "Create one-time link");
    let ticket = link.body.split("http://localhost/p/").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let mut ana = Visitor::new(console.rig.addresses.public.unwrap());
    let profile = ana.send("POST", &format!("/p/{ticket}"), &[SAME_ORIGIN], Some(""));
    shows(&profile, 200, "BEGIN PRIVATE KEY");
    shows(&owner.get("/setup"), 200, "Waiting for the first connection");
    assert!(!owner.get("/").body.contains("steps of the set-up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_names_the_ill_and_what_ends_and_offers_what_the_role_may() {
    let console = Console::new().await;
    let host = console.rig.host().await;
    let mut owner = console.signed_in(Role::Owner);
    shows(&owner.get("/"), 200, "All are well");
    shows(&owner.get("/"), 200, "The API token test");
    console.rig.services.hosts().beat_last(host).await.unwrap();
    shows(&owner.get("/"), 200, "was stopped");
    let mut auditor = console.signed_in(Role::Auditor);
    shows(&auditor.get("/"), 200, "An owner or admin has to go on with it.");
    assert_eq!(auditor.get("/setup").status, 403);
}
