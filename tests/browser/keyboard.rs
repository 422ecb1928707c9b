//! The console without a mouse: everything is reached by keys, what has the focus is seen, and the focus is never lost.

use serde_json::{Value, json};

use crate::browser::{Browser, PATIENCE};
use crate::first_run::{begin, beside, console};
use crate::wait::wait_until;

// Keys without a character, by WebDriver's codes (section 17.4.2).
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const SPACE: &str = " ";

/// No page of the tests has so many places to stop at.
const MOST: usize = 80;

/// What has the focus: how a person knows it, and whether it shows.
const HELD: &str = "
    const held = document.activeElement;
    if (!held || held === document.body) return null;
    const shown = held.closest('.choice') ?? held;
    const style = getComputedStyle(shown);
    const box = held.getBoundingClientRect();
    const label = held.labels?.[0]?.textContent ?? '';
    return {
        name: (held.getAttribute('aria-label') ?? (label || held.textContent)).trim().replace(/\\s+/g, ' '),
        id: held.id, kind: held.localName,
        outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
        inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    };";

/// Somebody at a keyboard.
struct Typist {
    browser: Browser,
}

impl Typist {
    /// What has the focus; it must be somewhere, and seen.
    #[track_caller]
    fn held(&self) -> Value {
        let held = self.browser.run(HELD);
        assert!(!held.is_null(), "the focus is lost at {}", self.browser.url());
        if held["kind"] != "main" {
            assert!(held["outline"].as_f64().unwrap() >= 2.0, "the focus does not show: {held}");
            assert_eq!(held["inside"], true, "what has the focus is out of sight: {held}");
        }
        held
    }

    /// Goes on by the tab key until something of this name, or of this id, has the focus.
    #[track_caller]
    fn tab_to(&self, wanted: &str) {
        let mut passed = Vec::new();
        for _ in 0..MOST {
            self.browser.keys(TAB);
            let held = self.held();
            if held["name"] == wanted || held["id"] == wanted {
                return;
            }
            passed.push(held["name"].to_string());
        }
        panic!("{wanted} is not reached: {passed:?}");
    }

    /// Goes to it and presses it.
    #[track_caller]
    fn follow(&self, wanted: &str, then: &str) {
        self.tab_to(wanted);
        self.browser.keys(ENTER);
        self.browser.wait_text(then);
    }

    /// Whether a `details` that holds the focus is open.
    fn is_open(&self) -> bool {
        self.browser.run("return document.activeElement.closest('details').open") == true
    }
}

#[test]
fn the_console_is_used_by_keys_alone_and_the_focus_is_always_seen() {
    let (_lab, host) = begin();
    let token = host.run(&["token", "create", "--name", "walk", "--role", "owner"]).trim().to_owned();
    let api = host.api(&token);
    let organization = api.post("/organizations", &json!({ "name": "Example" }))["id"].clone();
    let server = |name: &str, port: u16| {
        let network = format!("10.{}.0.0/24", port % 256);
        let server = json!({ "name": name, "network": network, "port": port, "protocol": "udp",
            "organization_ids": [organization] });
        api.post("/servers", &server)["id"].as_str().unwrap().to_owned()
    };
    let (office, laboratory) = (server("office", 1194), server("laboratory", 1196));
    let host_id = api.get("/hosts")["items"][0]["id"].as_str().unwrap().to_owned();
    api.put(&format!("/servers/{office}/hosts/{host_id}"));

    let typist = Typist { browser: beside(&host) };
    let browser = &typist.browser;
    browser.goto(host.run(&["owner-link"]).trim());
    typist.follow("Open the console", "Overview");

    // Past the navigation, and through it.
    browser.goto(&console(&host, "/"));
    browser.keys(TAB);
    assert_eq!(typist.held()["name"], "Skip to the content");
    browser.keys(ENTER);
    assert_eq!(typist.held()["id"], "main");
    browser.keys(TAB);
    assert_eq!(typist.held()["name"], "Refresh", "the content goes on where it begins");
    browser.goto(&console(&host, "/"));
    typist.follow("Users", "New user");

    // A search by its key.
    browser.keys("/");
    assert_eq!(typist.held()["id"], "q");
    browser.keys("state:disabled");
    browser.keys(ENTER);
    browser.wait_text("No user matches");
    assert!(browser.url().contains("q=state%3Adisabled"), "{}", browser.url());

    // Somebody new.
    typist.follow("New user", "Create user");
    typist.tab_to("name");
    browser.keys("Ana Ng");
    typist.follow("Create user", "The user is there.");

    // What opens and closes.
    typist.tab_to("Copy as CLI or curl");
    browser.keys(SPACE);
    assert!(typist.is_open());
    browser.keys(TAB);
    assert!(typist.held()["name"].as_str().unwrap().contains("make one"), "{}", typist.held());
    browser.keys("?");
    browser.wait_text("Go to the search of the page");
    assert_eq!(browser.run("return document.getElementById('keys').contains(document.activeElement)"), true);
    browser.keys(ESCAPE);
    assert!(typist.held()["name"].as_str().unwrap().contains("make one"), "the focus is where it was");

    // A server, up to what the change does and beyond.
    browser.goto(&console(&host, "/servers"));
    typist.follow("office", "Edit server");
    typist.follow("Edit server", "Review changes");
    typist.tab_to("port");
    browser.run("document.activeElement.select()");
    browser.keys("1195");
    typist.follow("Review changes", "Save the changes to office?");
    typist.follow("Save changes", "The server is saved.");
    assert_eq!(api.get(&format!("/servers/{office}"))["port"], 1195);

    // The page renews itself around whoever is at a button.
    browser.goto(&console(&host, &format!("/hosts/{host_id}")));
    typist.tab_to("Detach server office");
    api.put(&format!("/servers/{laboratory}/hosts/{host_id}"));
    let rows = "return document.querySelectorAll('#daemons tbody tr').length";
    wait_until("the page to show both servers", PATIENCE, || browser.run(rows) == 2);
    assert_eq!(typist.held()["name"], "Detach server office");

    // On a narrow screen the navigation folds away.
    browser.resize(390, 800);
    browser.goto(&console(&host, "/groups"));
    typist.tab_to("Menu");
    browser.keys(ENTER);
    assert!(typist.is_open());
    typist.follow("Sessions", "Nobody is connected");
}
