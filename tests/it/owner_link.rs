//! The link that opens the console as owner, on a cluster where nobody is yet.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use postern::domain::audit::Actor;
use postern::domain::clock::ManualClock;
use postern::domain::role::Role;
use postern::services::identity::logins::{Browser, Use};
use postern::services::{Act, AuditFilter, PageRequest, ServiceError};

use crate::api_rig::Rig as Sites;
use crate::console_rig::{SAME_ORIGIN, Visitor, sites};
use crate::self_service_rig::{Rig, browser, owner};

fn shell() -> Act {
    Act::of(Actor::Shell("owner-link"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_the_console_of_an_empty_cluster_once() {
    let rig = Sites::with(sites()).await;
    let link = rig.services.identity().make_owner_link(&shell()).await.unwrap();
    let path = format!("/owner-link/{}", link.secret.expose());
    let mut visitor = Visitor::new(rig.addresses.admin.unwrap());
    // Looking ahead spends nothing.
    for method in ["GET", "HEAD", "GET"] {
        let page = visitor.send(method, &path, &[("sec-fetch-site", "none")], None);
        assert_eq!((page.status, page.header("referrer-policy")), (200, "no-referrer"), "{page:?}");
        assert!(visitor.cookies.is_empty());
    }
    let foreign = visitor.send("POST", &path, &[("sec-fetch-site", "cross-site")], Some(""));
    assert_eq!(foreign.status, 403, "{foreign:?}");
    let opened = visitor.send("POST", &path, &[SAME_ORIGIN], Some(""));
    assert_eq!((opened.status, opened.header("location")), (303, "/"), "{opened:?}");
    let page = visitor.get("/organizations");
    assert!(page.status == 200 && page.body.contains("Owner link"), "{page:?}");
    let made = visitor.post("/organizations/new", "/organizations", &[("name", "Acme")]);
    assert_eq!(made.status, 303, "{made:?}");

    let mut late = Visitor::new(rig.addresses.admin.unwrap());
    assert_eq!(late.get(&path).status, 404);
    assert_eq!(late.send("POST", &path, &[SAME_ORIGIN], Some("")).status, 404);
    let mut portal = Visitor::new(rig.addresses.public.unwrap());
    assert_eq!(portal.get(&path).status, 404);

    let trail = rig.owner().get("/audit?limit=5")["items"].clone();
    let acts: Vec<_> = trail.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(acts, ["organization.create", "login.start", "access.deny", "owner_link.create", "token.create"]);
    for entry in [&trail[0], &trail[1]] {
        assert!(entry["actor"].as_str().unwrap().starts_with("owner_link:lgn_"), "{entry}");
    }
    assert_eq!(trail[2]["object"], "/owner-link/{secret}");
    assert_eq!(trail[3]["actor"], "shell:owner-link");
    assert!(!trail.to_string().contains(link.secret.expose()), "the secret is nowhere: {trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_try_at_once_on_two_hosts_one_gets_in() {
    let rig = &Rig::new().await;
    let link = &rig.here().identity().make_owner_link(&shell()).await.unwrap();
    let attempts = (0..20)
        .map(|n| async move { rig.hosts[n % 2].identity().redeem_owner_link(link.secret.expose(), &browser()).await });
    let (in_, out): (Vec<_>, Vec<_>) = join_all(attempts).await.into_iter().partition(Result::is_ok);
    assert_eq!(in_.len(), 1);
    assert!(out.iter().all(|refused| matches!(refused, Err(ServiceError::NotFound(_)))), "{out:?}");
    let admin = rig.here().identity().admin(in_[0].as_ref().unwrap().expose(), Use::Page).await.unwrap().unwrap();
    assert_eq!((admin.user.is_none(), admin.role), (true, Role::Owner));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_shell_makes_one() {
    let rig = Rig::new().await;
    let refused = rig.here().identity().make_owner_link(&owner()).await;
    assert!(matches!(refused, Err(ServiceError::Forbidden(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_logins_of_the_console_end_in_time() {
    // Ahead of the real time, by which the database deletes what is over.
    let clock = Arc::new(ManualClock::new("2036-11-23T12:00:00Z".parse().unwrap()));
    let rig = Rig::at(Arc::clone(&clock) as _).await;
    let pass = |minutes| clock.advance(Duration::from_mins(minutes));
    let browser: Browser = browser();
    let late = rig.here().identity().make_owner_link(&shell()).await.unwrap();
    pass(11);
    let refused = rig.here().identity().redeem_owner_link(late.secret.expose(), &browser).await;
    assert!(matches!(refused, Err(ServiceError::NotFound(_))), "{refused:?}");

    let enter = || async {
        let link = rig.here().identity().make_owner_link(&shell()).await.unwrap();
        rig.here().identity().redeem_owner_link(link.secret.expose(), &browser).await.unwrap()
    };
    let is_in = |cookie: String, by| {
        let services = rig.hosts[1].clone();
        async move { services.identity().admin(&cookie, by).await.unwrap().is_some() }
    };
    let idle = enter().await.expose().clone();
    pass(14);
    assert!(is_in(idle.clone(), Use::Page).await);
    pass(2);
    assert!(!is_in(idle, Use::Page).await, "what a page does by itself keeps no login alive");

    let busy = enter().await.expose().clone();
    for _ in 0..(8 * 60 / 10 - 1) {
        pass(10);
        assert!(is_in(busy.clone(), Use::Person).await);
    }
    pass(10);
    assert!(!is_in(busy, Use::Person).await, "eight hours are the most");

    let filter = AuditFilter { action: Some("owner_link.create".to_owned()), ..AuditFilter::default() };
    let trail = rig.here().evidence().audit_trail(&owner(), &filter, &PageRequest::first(10)).await.unwrap();
    assert_eq!(trail.items.len(), 3);
}
