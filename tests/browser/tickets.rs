//! The import link: spent by the app that asks for the file, and by nobody who only looks.

use std::net::SocketAddr;

use serde_json::json;

use crate::client::Client;
use crate::manager::Manager;
use crate::portal::{ANA, ORIGIN, Portal};
use crate::visitor::{Answer, Visitor};

const PROFILE: &str = "application/x-openvpn-profile";
/// What opens links that a person only sent to somebody: previews, scanners, browsers that load ahead.
const LOOKERS: [(&str, &str, &str); 8] = [
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
        "text/html,*/*;q=0.8",
        "",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15",
        "text/html,*/*;q=0.8",
        "prefetch",
    ),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "*/*", ""),
    ("facebookexternalhit/1.1", "*/*", ""),
    ("WhatsApp/2.23.20.0", "*/*", ""),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "text/html", ""),
    ("SkypeUriPreview Preview/0.5", "*/*", ""),
    ("curl/8.5.0", "*/*", ""),
];

#[test]
fn link_is_spent_by_the_app_alone_and_once() {
    let portal = Portal::start(2);
    let user = portal.cluster.user("carla");
    let api = portal.cluster.any_api();
    let link = || {
        let body = json!({ "server_id": portal.cluster.server, "name": "build machine" });
        let made = api.post(&format!("/users/{user}/profile-links"), &body);
        assert!(made["expires_at"].is_string(), "{made}");
        let url = made["url"].as_str().unwrap().to_owned();
        url.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("{url} is under {ORIGIN}")).to_owned()
    };

    let path = link();
    for (number, (agent, accept, purpose)) in LOOKERS.into_iter().enumerate() {
        let mut looker = program(&portal, agent, accept);
        if !purpose.is_empty() {
            looker.headers.push(("sec-purpose", purpose.to_owned()));
        }
        // Each looks from elsewhere: an address may only look so often.
        looker.headers.push(("x-forwarded-for", format!("198.51.100.{number}")));
        let host = portal.host(number % 2);
        for method in ["HEAD", "GET"] {
            let answer = looker.send(method, host, &path, None).unwrap();
            assert!(answer.header("content-type").starts_with("text/html"), "{method} by {agent}: {answer:?}");
            assert_eq!(answer.header("cache-control"), "no-store", "{agent}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{agent}");
        }
    }

    // The app asks another host than the one that made the link.
    let mut app = program(&portal, "OpenVPN Connect/3.5.0 (android)", "*/*");
    let answer = app.send("HEAD", portal.host(1), &path, None).unwrap();
    assert!(answer.body.is_empty());
    let answer = app.get(portal.host(1), &path);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_is_file(&answer);
    let profile = answer.body;
    for host in [portal.host(0), portal.host(1)] {
        let answer = app.get(host, &path);
        assert_ne!(answer.status, 200);
        assert!(!answer.body.contains("PRIVATE KEY"));
    }
    Client::connect(&portal.cluster.lab, 0, &profile).stop();

    // A person who opens the link in a browser gets a page, and its button the file.
    let browser = portal.browser();
    let path = link();
    browser.goto(&format!("{ORIGIN}{path}"));
    browser.wait_text("build machine");
    crate::rules::assert_keeps(&browser, "ticket-1-open");
    browser.press("Download the file");
    let (name, file) = browser.take_download();
    let folder = portal.cluster.lab.folder().join("downloads");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(&name), &file).unwrap();
    browser.goto(&format!("{ORIGIN}{path}"));
    browser.wait_text("This link does not work any more");
    crate::rules::assert_keeps(&browser, "ticket-2-spent");

    // NetworkManager takes the file as it is, with both hosts in it.
    let manager = Manager::start(portal.employee(), &portal.cluster.lab.folder().join("manager"));
    let options = manager.import(&folder.join(&name));
    for host in &portal.cluster.hosts {
        assert!(options.contains(&format!("{}:1194:udp", host.inet())), "{options}");
    }
}

#[test]
fn import_link_of_the_ready_page_leads_to_the_file() {
    let portal = Portal::start(1);
    let browser = portal.browser();
    browser.goto(ORIGIN);
    browser.press("Continue with your company account");
    portal.sign_in(&browser, ANA);
    browser.press("Set up this device");
    browser.fill("#name", "phone");
    browser.click("input[value=android]");
    browser.press("Continue");
    browser.wait_text("Set up phone");
    crate::rules::assert_keeps(&browser, "ready-android");
    let link = browser.attribute("a[href^='openvpn:']", "href").expect("a link for the app");
    let path = link.strip_prefix("openvpn://import-profile/").and_then(|url| url.strip_prefix(ORIGIN));
    let path = path.unwrap_or_else(|| panic!("{link}"));
    let host: SocketAddr = portal.host(0);
    let answer = program(&portal, "OpenVPN Connect/3.5.0 (android)", PROFILE).get(host, path);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_is_file(&answer);
}

/// A program that is not a browser, on the employee's machine.
fn program(portal: &Portal, agent: &str, accept: &str) -> Visitor {
    let mut visitor = portal.visitor();
    visitor.headers = vec![("user-agent", agent.to_owned()), ("accept", accept.to_owned())];
    visitor
}

#[track_caller]
fn assert_is_file(answer: &Answer) {
    assert_eq!(answer.header("content-type"), PROFILE);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let disposition = answer.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"") && disposition.ends_with(".ovpn\""), "{disposition}");
    assert!(answer.body.contains("\nremote ") && answer.body.contains("PRIVATE KEY"));
}
