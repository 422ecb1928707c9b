//! What the pages of the console do: make, change, delete; two people at the same thing; and what others see of it.

use postern::domain::role::Role;

use crate::api_rig::Answer;
use crate::console_rig::{Console, value_of};

/// The page is whole, and shows this.
#[track_caller]
fn shows(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(text), "{text:?} is missing: {}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_made_renamed_and_deleted() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let refused = owner.post("/organizations/new", "/organizations", &[("name", " ")]);
    shows(&refused, 422, "href=\"#name\">The name must");
    let taken = owner.post("/organizations/new", "/organizations", &[("name", "Acme")]);
    shows(&taken, 409, "Another organization has this name.");
    assert!(taken.body.contains("value=\"Acme\""), "what was typed is kept: {}", taken.body);

    let made = owner.post("/organizations/new", "/organizations", &[("name", "Contractors <b>")]);
    let path = made.header("location").to_owned();
    let page = owner.get(&path);
    shows(&page, 200, "The organization is there.");
    shows(&page, 200, "Contractors &#60;b&#62;");
    assert!(!owner.get(&path).body.contains("The organization is there."), "it is said once");
    let revision = value_of(&page.body, "revision").unwrap();
    let renamed = owner.post(&path, &path, &[("name", "Partners"), ("revision", &revision)]);
    assert_eq!((renamed.status, renamed.header("location")), (303, path.as_str()));
    let page = owner.get(&path);
    shows(&page, 200, "Changed name");
    shows(&owner.get("/organizations"), 200, &format!("<a href=\"{path}\">Partners</a>"));

    let revision = value_of(&page.body, "revision").unwrap();
    let gone = owner.post(&path, &format!("{path}/delete"), &[("revision", &revision)]);
    assert_eq!((gone.status, gone.header("location")), (303, "/organizations"));
    shows(&owner.get("/organizations"), 200, "The organization is deleted.");
    shows(&owner.get(&path), 404, "There is nothing here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_deleted_and_says_why() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let path = format!("/organizations/{}", console.organization);
    let page = owner.get(&path);
    let revision = value_of(&page.body, "revision").unwrap();
    let refused = owner.post(&path, &format!("{path}/delete"), &[("revision", &revision)]);
    shows(&refused, 409, "The organization still has users; delete or move them first.");
    shows(&owner.get(&path), 200, "<dt>Users</dt><dd>6</dd>");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_edit_the_same_the_second_sees_both_versions() {
    let console = Console::new().await;
    let (mut first, mut second) = (console.signed_in(Role::Owner), console.signed_in(Role::Admin));
    let path = format!("/organizations/{}", console.organization);
    let revision = value_of(&first.get(&path).body, "revision").unwrap();
    let mine = [("name", "Acme Holding"), ("revision", revision.as_str())];
    assert_eq!(first.post(&path, &path, &mine).status, 303);
    let theirs = [("name", "Acme Group"), ("revision", revision.as_str())];
    let conflict = second.post(&path, &path, &theirs);
    shows(&conflict, 409, "owner changed this");
    let version = |which, words| format!("name=\"take-name\" value=\"{which}<span class=\"lines\">{words}</span>");
    shows(&conflict, 409, &version("yours\" checked>", "Acme Group"));
    shows(&conflict, 409, &version("theirs\">", "Acme Holding"));
    assert!(conflict.body.contains("name=\"name\" value=\"Acme Group\""), "what was typed is kept: {}", conflict.body);
    shows(&first.get(&path), 200, "<h1>Acme Holding</h1>");
    // Whoever has seen both may decide.
    let revision = value_of(&conflict.body, "revision").unwrap();
    assert_eq!(second.post(&path, &path, &[("name", "Acme Group"), ("revision", &revision)]).status, 303);
    shows(&first.get(&path), 200, "<h1>Acme Group</h1>");
    // Nobody can say that a form was filled from nothing.
    shows(&second.post(&path, &path, &[("name", "x")]), 400, "PST-HTTP-012");
}
