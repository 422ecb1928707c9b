//! The console, as whoever runs the cluster lives it: two hundred people come by one list, one of them connects, and is
//! shut out on one host while somebody watches on another.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::browser::{Browser, Options};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::rules::assert_keeps;
use crate::wait::wait_until;

/// How long an open page may take to follow the facts, on a busy machine.
const FOLLOWED: Duration = Duration::from_secs(20);

/// A browser at the console of a host, as its owner.
fn console(cluster: &Cluster, host: usize) -> (Browser, String) {
    let host = &cluster.hosts[host];
    let link = host.run(&["owner-link"]).trim().to_owned();
    let base = link.split("/owner-link/").next().unwrap().to_owned();
    let namespace = Some(Arc::clone(&host.machine().namespace));
    let browser = Browser::start(&Options { namespace, secure: Some(base.clone()), ..Options::default() });
    browser.goto(&link);
    browser.press("Open the console");
    browser.wait_text("Organizations");
    (browser, base)
}

#[test]
fn two_hundred_people_come_by_a_list_and_one_who_is_disabled_vanishes_from_another_hosts_console() {
    let cluster = Cluster::of_two_hosts();
    let (admin, base) = console(&cluster, 0);
    let (watcher, elsewhere) = console(&cluster, 1);

    admin.goto(&format!("{base}/users"));
    admin.press("Add from a list");
    let people = (1..=200).map(|number| format!("Person {number:03},person-{number:03}@example.com,dev;ops\n"));
    let list = format!("name,email,groups\n{},nonsense,\n", people.collect::<Vec<_>>().concat());
    let file = cluster.lab.folder().join("people.csv");
    fs::write(&file, list).unwrap();
    admin.fill("#file", file.to_str().unwrap());
    wait_until("the file to be in the field", FOLLOWED, || admin.run("return csv.value.length > 1000") == true);
    admin.press("Check the list");
    admin.wait_text("This list makes 200 users. Lines with mistakes, which are left out: 1.");
    admin.wait_text("name must not be empty; email must be an e-mail address");
    assert_keeps(&admin, "people-1-preview");
    admin.press("Add 200 users");
    admin.wait_text("Added 200 users");
    assert_keeps(&admin, "people-2-added");

    admin.goto(&format!("{base}/users"));
    admin.fill("#q", "person-007");
    admin.press("Search");
    admin.wait_text("person-007@example.com");
    admin.press("Person 007");
    admin.wait_text("Live VPN sessions");
    let user = admin.url().rsplit('/').next().unwrap().to_owned();
    let profile = cluster.profile(&user, "laptop");

    watcher.goto(&format!("{elsewhere}/sessions"));
    watcher.wait_text("Nobody is connected");
    let page = watcher.run("return window.here = Math.random()");
    let mut client = Client::connect(&cluster.lab, 0, &profile.text);
    watcher.wait_text("Person 007");
    assert_keeps(&watcher, "people-3-watched");
    admin.wait_text("Connected");
    assert_keeps(&admin, "people-4-connected");

    admin.press("Disable user");
    let moment = Instant::now();
    watcher.wait_text("Nobody is connected");
    eprintln!("  gone from the other host's page after {:?}", moment.elapsed());
    assert_eq!(watcher.run("return window.here"), page, "the page was loaded again");
    admin.wait_text("The user is disabled.");
    wait_until("the client to be turned away", FOLLOWED, || !client.runs() || client.was_refused());
    assert_keeps(&admin, "people-5-disabled");
    for browser in [&admin, &watcher] {
        let said = browser.console();
        assert!(!said.iter().any(|line| line.starts_with("SEVERE")), "{said:#?}");
    }
}
