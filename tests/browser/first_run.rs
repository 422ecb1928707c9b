//! From an empty database to the first connected client by the console's pages alone, and two people at one server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, Options};
use crate::client::Client;
use crate::host::{Host, write_master_key};
use crate::lab::Lab;
use crate::rules::assert_keeps;
use crate::wait::wait_until;

/// How long a host may take to run a server that it was attached to, and a page to know of a connection.
const PATIENCE: Duration = Duration::from_mins(1);

/// One machine on an empty database.
pub(crate) fn begin() -> (Lab, Host) {
    let mut lab = Lab::new(None);
    lab.start_database(1);
    let key = lab.folder().join("master.key");
    write_master_key(&key);
    let mut host = Host::configure(&lab, &lab.machines()[0], &key);
    host.run(&["migrate", "apply"]);
    host.start();
    host.wait_ready();
    (lab, host)
}

/// A browser on the machine.
pub(crate) fn beside(host: &Host) -> Browser {
    let namespace = Some(Arc::clone(&host.machine().namespace));
    let secure = Some(format!("{},http://{}:8443", console(host, ""), host.machine().inet));
    Browser::start(&Options { namespace, secure, ..Options::default() })
}

/// The same, in the console as owner.
fn owner(host: &Host) -> Browser {
    let browser = beside(host);
    browser.goto(host.run(&["owner-link"]).trim());
    browser.press("Open the console");
    browser.wait_text("Overview");
    browser
}

pub(crate) fn console(host: &Host, path: &str) -> String {
    format!("http://{}:9443{path}", host.machine().core)
}

#[test]
fn an_empty_database_becomes_a_first_connection_by_the_pages_alone() {
    let (lab, host) = begin();
    let browser = owner(&host);
    browser.wait_text("0 of 6 steps of the set-up are done");
    assert_keeps(&browser, "first-run-1-overview");
    browser.press("Go on with the set-up");
    browser.wait_text("Company and public address");
    assert_keeps(&browser, "first-run-2-nothing");
    browser.fill("#name", "Example");
    browser.press("Save name");
    browser.wait_text("That step is done.");
    browser.press("Create organization");
    browser.wait_text("What can be reached through it");
    browser.fill("#name", "office");
    browser.fill("#routes", "10.92.0.0/24 the private network");
    browser.press("Create server");
    browser.wait_text("The machine that runs it");
    assert_keeps(&browser, "first-run-3-host");
    browser.press("Attach host");
    browser.wait_text("Who connects first");
    // The page follows the host by itself.
    wait_until("the host to run the server", PATIENCE, || !browser.text().contains("Attached, not running yet"));
    browser.fill("#name", "Ana");
    browser.press("Create one-time link");
    browser.wait_text("The link is made");
    assert_keeps(&browser, "first-run-4-link");
    let link = browser.run("return document.querySelector('.note code').textContent");

    browser.goto(link.as_str().unwrap());
    browser.press("Download the file");
    let (_, file) = browser.take_download();
    browser.goto(&console(&host, "/setup"));
    browser.wait_text("Waiting for the first connection");
    let page = browser.run("return window.here = Math.random()");
    let client = Client::connect(&lab, 0, &String::from_utf8(file).unwrap());
    wait_until("the page to know of the connection", PATIENCE, || browser.text().contains("Somebody is through"));
    assert_eq!(browser.run("return window.here"), page, "the page was loaded again");
    assert_keeps(&browser, "first-run-5-connected");
    browser.goto(&console(&host, "/"));
    browser.wait_text("1 session");
    assert_keeps(&browser, "first-run-6-overview");
    client.stop();
    let said: Vec<_> = browser.console().into_iter().filter(|line| line.starts_with("SEVERE")).collect();
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn of_two_at_the_same_server_the_second_sees_both_versions_and_loses_neither() {
    let (_lab, host) = begin();
    let token = host.run(&["token", "create", "--name", "walk", "--role", "owner"]).trim().to_owned();
    let api = host.api(&token);
    let organization = api.post("/organizations", &json!({ "name": "Example" }))["id"].clone();
    let server = json!({
        "name": "office", "network": "10.200.0.0/16", "port": 1194, "protocol": "udp",
        "organization_ids": [organization],
    });
    let id = api.post("/servers", &server)["id"].as_str().unwrap().to_owned();
    let (first, second) = (owner(&host), owner(&host));
    for browser in [&first, &second] {
        browser.goto(&console(&host, "/servers"));
        browser.press("office");
        browser.press("Edit server");
        browser.wait_text("Edit office");
    }
    first.fill("#port", "1195");
    first.press("Review changes");
    first.wait_text("Save the changes to office?");
    assert_keeps(&first, "two-1-preview");
    first.press("Save changes");
    first.wait_text("The server is saved.");

    second.fill("#dns_servers", "10.0.0.53");
    second.press("Review changes");
    second.wait_text("An owner link changed this");
    assert_keeps(&second, "two-2-conflict");
    // Their port and one's own resolver are proposed.
    second.press("Review changes");
    second.wait_text("Save the changes to office?");
    second.press("Save changes");
    second.wait_text("The server is saved.");
    let now = api.get(&format!("/servers/{id}"));
    assert_eq!((&now["port"], &now["dns_servers"]), (&json!(1195), &json!(["10.0.0.53"])));
}
