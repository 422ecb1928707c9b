//! The database is away: pages answer in words, soon, and work again by themselves when it is back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::portal::{ANA, ORIGIN, Portal};
use crate::rules::assert_keeps;
use crate::visitor::Visitor;
use crate::wait::wait_until;

/// What the issue promises.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the database's driver may take to find its primary again, on a busy machine.
const BACK: Duration = Duration::from_secs(40);
/// Pages that need the database: each says so. With a login of which no host can know whether it still holds.
const NEEDY: [&str; 6] = ["/", "/profiles/new", "/sessions", "/my-data", "/my-data.json", TICKET];
/// A link that looks like one.
const TICKET: &str = "/p/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Pages that do not.
const INDEPENDENT: [&str; 3] = ["/help", "/help/linux", "/status"];

#[test]
fn pages_say_that_the_database_is_away_and_work_when_it_is_back() {
    let portal = Portal::start(1);
    let browser = portal.browser();
    browser.goto(ORIGIN);
    browser.press("Continue with your company account");
    portal.sign_in(&browser, ANA);
    browser.wait_text("Set up your first device");
    let mut ana = portal.visitor_as(&browser);
    let mut stranger = portal.visitor();
    let host = portal.host(0);
    let mongod = portal.cluster.lab.mongod();

    // Gone, as by a crash; and frozen, so that connections stay open and nothing answers.
    for frozen in [false, true] {
        if frozen {
            mongod.stop(0);
        } else {
            mongod.kill(0);
        }
        for path in NEEDY {
            answers_in_words(&mut ana, host, path);
        }
        for path in INDEPENDENT {
            let from = Instant::now();
            let answer = stranger.get(host, path);
            assert!(from.elapsed() < PATIENCE, "{path} took {:?}", from.elapsed());
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
        let from = Instant::now();
        let answer = stranger.post(host, "/sign-in/start", &[("return_to", "/")]);
        assert!(from.elapsed() < PATIENCE, "sign-in took {:?}", from.elapsed());
        assert!(answer.body.contains("cannot reach its database"), "{answer:?}");
        browser.goto(ORIGIN);
        browser.wait_text("cannot reach its database");
        assert_keeps(&browser, if frozen { "outage-frozen" } else { "outage-gone" });

        if frozen {
            mongod.cont(0);
        } else {
            mongod.restart(0);
        }
        wait_until("the pages to work again", BACK, || ana.get(host, "/").status == 200);
        // The same login, the same process.
        browser.goto(ORIGIN);
        browser.wait_text("Set up your first device");
    }
}

#[track_caller]
fn answers_in_words(visitor: &mut Visitor, host: SocketAddr, path: &str) {
    let from = Instant::now();
    let answer = visitor.get(host, path);
    assert!(from.elapsed() < PATIENCE, "{path} took {:?}", from.elapsed());
    assert_eq!(answer.status, 503, "{path}: {}", answer.body);
    assert!(answer.body.contains("cannot reach its database"), "{path}: {}", answer.body);
}
