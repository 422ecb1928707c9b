//! The whole story, as an employee lives it: a bare laptop, a sign-in, a file, a tunnel; then it is taken away again.

use std::time::{Duration, Instant};

use crate::browser::{Browser, Options};
use crate::client::{Client, only};
use crate::portal::{ANA, ORIGIN, Portal};
use crate::rules::assert_keeps;
use crate::wait::wait_until;

/// How long the page may take to know of a connection, on a busy machine.
const KNOWN: Duration = Duration::from_secs(20);
/// How long a revoked profile may keep its tunnel (the page promises 10 s), on a busy machine.
const GONE: Duration = Duration::from_secs(20);

#[test]
fn employee_gets_from_nothing_to_a_tunnel_and_takes_it_away_again() {
    let portal = Portal::start(2);
    let browser = portal.browser();
    live_it(&portal, &browser, &|connected| {
        // The page is not touched: it finds out.
        let page = browser.run("return window.here = Math.random()");
        connected();
        assert_eq!(browser.run("return window.here"), page, "the page was loaded again");
    });
    // The issuer's pages are not ours.
    let console: Vec<_> = browser.console().into_iter().filter(|line| line.contains(ORIGIN)).collect();
    assert!(!console.iter().any(|line| line.starts_with("SEVERE")), "{console:#?}");
}

#[test]
fn employee_does_the_same_without_script() {
    let portal = Portal::start(2);
    let browser = portal.browser_with(&Options { without_script: true, ..Options::default() });
    live_it(&portal, &browser, &|connected| {
        browser.press("Check now");
        connected();
    });
}

/// `watch` is given what the page must come to say, and sees to it that it can.
fn live_it(portal: &Portal, browser: &Browser, watch: &dyn Fn(&dyn Fn())) {
    let lab = &portal.cluster.lab;
    browser.goto(ORIGIN);
    assert_keeps(browser, "story-1-sign-in");
    browser.press("Continue with your company account");
    portal.sign_in(browser, ANA);

    browser.wait_text("Set up your first device");
    assert_keeps(browser, "story-2-first-device");
    browser.press("Set up this device");
    browser.wait_text("It looks like Linux");
    assert_keeps(browser, "story-3-new");
    browser.fill("#name", "Ana's laptop");
    browser.press("Continue");

    browser.wait_text("Set up Ana's laptop");
    browser.press("Download the file");
    let (name, file) = browser.take_download();
    assert!(name.ends_with("Anas-laptop.ovpn"), "{name}");
    let profile = String::from_utf8(file).unwrap();
    browser.wait_text("Waiting for your first connection");
    assert_keeps(browser, "story-4-ready");

    // As it is, by whichever host it comes to first.
    let client = Client::connect(lab, 0, &profile);
    let first = portal.cluster.number_of(client.remote());
    watch(&|| browser.wait_text(&format!("Connected to {}", portal.cluster.hosts[first].name())));
    assert_keeps(browser, "story-5-connected");
    let probe = portal.cluster.probe(0);
    probe.wait_via(portal.cluster.hosts[first].lan(), Instant::now(), KNOWN);
    client.stop();

    // And by the other one.
    let other = &portal.cluster.hosts[1 - first];
    let mut client = Client::connect(lab, 0, &only(&profile, other.inet()));
    probe.wait_via(other.lan(), Instant::now(), KNOWN);
    browser.goto(ORIGIN);
    wait_until("the list to show the other host", KNOWN, || {
        browser.reload();
        browser.text().contains(&format!("Connected to {}", other.name()))
    });
    assert_keeps(browser, "story-6-devices");

    browser.press("Ana's laptop");
    browser.press("Revoke this device…");
    browser.press("Revoke device");
    let moment = Instant::now();
    browser.wait_text("The device is revoked. It cannot connect any more.");
    assert_keeps(browser, "story-7-revoked");
    probe.wait_gone(moment, GONE);
    wait_until("the client to be told that it is over", GONE, || !client.runs() || client.was_refused());
    let mut again = Client::start(lab, 0, &profile);
    wait_until("the revoked profile to be refused", GONE, || again.was_refused() || !again.runs());
    assert_eq!(again.connects(), 0);

    browser.press("Sign out");
    browser.wait_text("You are signed out.");
    browser.goto(&format!("{ORIGIN}/sessions"));
    browser.wait_text("Continue with your company account");
}
