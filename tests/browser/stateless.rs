//! No host knows anything of a sign-in that the others do not.

use crate::portal::{ANA, ORIGIN, Portal};
use crate::wait::wait_until;

#[test]
fn sign_in_begun_on_one_host_ends_on_another_and_counts_on_a_third() {
    let portal = Portal::start(3);
    let browser = portal.browser();
    let to = |host: usize| portal.balancer.lead_to(vec![portal.host(host)]);
    to(0);
    browser.goto(ORIGIN);
    browser.press("Continue with your company account");
    portal.wait_issuer(&browser);
    to(1);
    portal.sign_in(&browser, ANA);
    browser.wait_text("Set up your first device");
    to(2);
    browser.press("Set up this device");
    browser.fill("#name", "laptop");
    browser.press("Continue");
    browser.wait_text("Set up laptop");
    to(0);
    browser.press("Download the file");
    let (_, file) = browser.take_download();
    assert!(String::from_utf8(file).unwrap().contains("\nremote "));

    // The three saw one step each.
    for (host, path) in [(0, "/sign-in/start"), (1, "/oauth/callback"), (2, "/profiles/ticket"), (0, "/profiles")] {
        assert!(portal.has_served(host, path), "h{} served {path}", host + 1);
    }

    // A login that is ended on one host ends on the others within a second, and a little for the busy machine.
    let mut elsewhere = portal.visitor_as(&browser);
    assert_eq!(elsewhere.get(portal.host(2), "/sessions").status, 200);
    to(1);
    browser.goto(&format!("{ORIGIN}/"));
    browser.press("Sign out");
    browser.wait_text("You are signed out.");
    wait_until("the login to be over on every host", std::time::Duration::from_secs(3), || {
        (0..3).all(|host| elsewhere.get(portal.host(host), "/sessions").status == 303)
    });
}
