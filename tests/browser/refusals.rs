//! An identity provider that says what it should not, and browsers that bring what is not theirs: each has its page, and
//! nobody is signed in.

use serde_json::{Value, json};

use crate::browser::{Browser, PATIENCE};
use crate::issuer::{Behaviour, Flaw, Issuer, Options, Person};
use crate::portal::{ORIGIN, Portal};
use crate::rules::assert_keeps;
use crate::visitor::{LOGIN, Visitor};
use crate::wait::wait_until;

const BUTTON: &str = "Continue with your company account";

#[test]
fn accounts_that_are_not_the_companys_get_their_page_and_nobody_is_signed_in() {
    let (issuer, portal) = hostile();
    let browser = portal.browser();
    // Ana has signed in, and out again: her address is taken.
    begin(&browser);
    browser.wait_text("Set up your first device");
    browser.press("Sign out");
    browser.wait_text("You are signed out.");

    let ana = || Person::new("ana@example.com");
    let cases = [
        (
            "another company",
            Person { hosted_domain: json!("other.example"), ..ana() },
            "This account belongs to another company",
        ),
        (
            "a sub-domain",
            Person { hosted_domain: json!("it.example.com"), ..ana() },
            "This account belongs to another company",
        ),
        ("a private account", Person { hosted_domain: Value::Null, ..ana() }, "This is a private account"),
        ("unverified", Person { email_verified: json!(false), ..ana() }, "Your e-mail address is not verified"),
        ("unverified in words", Person { email_verified: json!("true"), ..ana() }, "not"),
        (
            "another person",
            Person { subject: json!("somebody else"), ..ana() },
            "This address belongs to another account",
        ),
    ];
    for (number, (what, person, title)) in cases.into_iter().enumerate() {
        issuer.person(person);
        begin(&browser);
        browser.wait_url("/oauth/callback");
        browser.wait_text(title);
        assert!(browser.text().contains("Request"), "{what}: {}", browser.text());
        assert_keeps(&browser, &format!("refusal-{number}-{}", what.replace(' ', "-")));
        assert_nobody(&browser, what);
    }

    // Disabled by an admin, of which the trail knows.
    issuer.person(ana());
    let api = portal.cluster.any_api();
    let user = api.list("/users?email=ana@example.com").remove(0);
    api.patch(&format!("/users/{}", user["id"].as_str().unwrap()), &json!({ "disabled": true }));
    begin(&browser);
    browser.wait_text("Your access is switched off");
    assert_nobody(&browser, "disabled");
}

#[test]
fn tokens_that_do_not_hold_get_their_page_and_nobody_is_signed_in() {
    let (issuer, portal) = hostile();
    let browser = portal.browser();
    let flaws = [
        ("alg none", Flaw::AlgNone),
        ("HS256 with the public key", Flaw::Hs256),
        ("a foreign key", Flaw::ForeignKey),
        ("a changed payload", Flaw::Changed),
        ("another audience", Flaw::Claim("aud", json!("another-client"))),
        ("another issuer", Flaw::Claim("iss", json!("https://evil.example"))),
        ("another nonce", Flaw::Claim("nonce", json!("planted"))),
        ("expired", Flaw::Claim("exp", json!(1_000_000_000))),
        ("no token", Flaw::NoToken),
    ];
    for (what, flaw) in flaws {
        issuer.flaw(flaw);
        begin(&browser);
        browser.wait_text("The sign-in could not be checked");
        assert_nobody(&browser, what);
    }
}

// An address may begin ten sign-ins a minute, so these have a portal of their own.
#[test]
fn responses_that_are_not_the_providers_sign_nobody_in_and_its_absence_is_said_in_words() {
    let (issuer, portal) = hostile();
    let browser = portal.browser();
    // A response for another sign-in, and one that another provider gave.
    issuer.flaw(Flaw::State("planted"));
    begin(&browser);
    browser.wait_text("This sign-in is over");
    assert_nobody(&browser, "a planted state");
    issuer.flaw(Flaw::ResponseIssuer(Some("https://evil.example")));
    begin(&browser);
    browser.wait_text("The sign-in could not be checked");
    assert_nobody(&browser, "another provider's response");

    // The provider goes away while somebody is there: said in words, and it works again by itself.
    issuer.flaw(Flaw::None);
    let mut ana = portal.visitor();
    let back = go_to_issuer(&portal, &mut ana);
    issuer.behave(Behaviour::Away);
    let answer = ana.get(portal.host(0), &back);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("Signing in is not possible right now"), "{answer:?}");
    assert!(!ana.is_signed_in());
    // The host that met it says so before anybody else tries; what it knows may be some seconds old.
    portal.balancer.lead_to(vec![portal.host(0)]);
    browser.goto(&format!("{ORIGIN}/sign-in"));
    wait_until("the sign-in page to say that the provider is away", PATIENCE, || {
        browser.reload();
        browser.text().contains("cannot be reached right now")
    });
    assert_keeps(&browser, "refusal-provider-away");
    issuer.behave(Behaviour::Well);
    browser.press(BUTTON);
    browser.wait_text("Set up your first device");
}

#[test]
fn codes_and_states_count_once_and_only_in_the_browser_that_began() {
    let (_issuer, portal) = hostile();
    let (a, b) = (portal.host(0), portal.host(1));
    let mut ana = portal.visitor();
    let mut other = portal.visitor();
    // Somebody plants the end of his own sign-in in another browser, which began one too, or did not.
    let his = go_to_issuer(&portal, &mut other);
    let stranger = &mut portal.visitor();
    for victim in [&mut ana, stranger] {
        let answer = victim.get(b, &his);
        assert!(answer.body.contains("This sign-in is over"), "{answer:?}");
        assert!(!victim.is_signed_in());
    }
    // One browser's state with another one's code.
    let hers = go_to_issuer(&portal, &mut ana);
    let mixed = swap_state(&hers, &his);
    let answer = ana.get(b, &mixed);
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    assert!(!ana.is_signed_in());

    // A state counts once, whatever came of it.
    let hers = go_to_issuer(&portal, &mut ana);
    let answer = ana.get(a, &hers);
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(ana.is_signed_in());
    let mut thief = portal.visitor();
    let again = thief.get(b, &hers);
    assert!(again.body.contains("This sign-in is over"), "{again:?}");
    assert!(!thief.is_signed_in());
}

/// Begins a sign-in on the first host and lets the issuer answer it; returns the path with which it sends the visitor
/// back.
#[track_caller]
fn go_to_issuer(portal: &Portal, visitor: &mut Visitor) -> String {
    let begun = visitor.post(portal.host(0), "/sign-in/start", &[("return_to", "/")]);
    let answer = visitor.elsewhere(begun.location().expect("a redirect to the provider"));
    let back = answer.location().expect("a redirect back");
    back.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("{back} is under {ORIGIN}")).to_owned()
}

#[test]
fn a_new_sign_in_ends_the_one_before_it_in_the_same_browser() {
    let (_issuer, portal) = hostile();
    let mut ana = portal.visitor();
    let sign_in = |ana: &mut Visitor| {
        let back = go_to_issuer(&portal, ana);
        assert_eq!(ana.get(portal.host(0), &back).status, 303);
        ana.cookie(LOGIN).expect("a login").to_owned()
    };
    let first = sign_in(&mut ana);
    let mut before = portal.visitor();
    before.take_cookie(LOGIN.to_owned(), first.clone());
    assert_eq!(before.get(portal.host(1), "/sessions").status, 200);
    assert_ne!(sign_in(&mut ana), first);
    assert_eq!(before.get(portal.host(1), "/sessions").status, 303, "the replaced login is over");
    assert_eq!(ana.get(portal.host(1), "/sessions").status, 200);
}

fn hostile() -> (Issuer, Portal) {
    let issuer = Issuer::start(Options::default());
    let options = Options::default();
    let portal = Portal::trusting(2, &issuer.url, &options.client_id, &options.client_secret);
    (issuer, portal)
}

/// Begins a sign-in, which the hostile issuer ends without asking anybody.
fn begin(browser: &Browser) {
    browser.goto(&format!("{ORIGIN}/sign-in"));
    browser.press(BUTTON);
}

#[track_caller]
fn assert_nobody(browser: &Browser, what: &str) {
    assert!(!browser.cookies().iter().any(|(name, _)| name == LOGIN), "{what}: somebody is signed in");
    browser.goto(&format!("{ORIGIN}/sessions"));
    browser.wait_text(BUTTON);
}

/// The first address with the `state` of the second.
fn swap_state(address: &str, other: &str) -> String {
    let state = |address: &str| {
        let query = address.split_once('?').unwrap().1;
        query.split('&').find(|pair| pair.starts_with("state=")).unwrap().to_owned()
    };
    address.replace(&state(address), &state(other))
}
