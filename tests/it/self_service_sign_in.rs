//! Signing in: whose user an account becomes, over two processes and the real database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postern::config::Config;
use postern::domain::audit::AuditEntry;
use postern::domain::clock::{Clock, ManualClock, SystemClock};
use postern::domain::ids::UserId;
use postern::domain::login::Surface;
use postern::keys::master::MasterKey;
use postern::services::identity::outcome::{CallbackAnswer, SignInRefusal};
use postern::services::{AuditFilter, PageRequest, Services, UserFilter};
use postern::store::Emitter;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::self_service_rig::{Rig, account, browser, from_json, owner};

fn page() -> PageRequest {
    PageRequest::first(100)
}

impl Rig {
    async fn users(&self) -> Vec<postern::domain::user::User> {
        let found = self.here().people().users(&owner(), &UserFilter::default(), &page()).await.unwrap();
        found.items.into_iter().map(|user| user.value).collect()
    }

    pub(crate) async fn trail(&self, action: &str) -> Vec<AuditEntry> {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        self.here().evidence().audit_trail(&owner(), &filter, &page()).await.unwrap().items
    }

    async fn prepare(&self, name: &str) -> UserId {
        let email = format!("{}@example.com", name.to_lowercase());
        let new = from_json(json!({ "organization_id": self.organization, "name": name, "email": email }));
        self.here().people().create_user(&owner(), new).await.unwrap().value.id
    }

    async fn patch_user(&self, id: UserId, patch: Value) {
        self.here().people().update_user(&owner(), id, from_json(patch), None).await.unwrap();
    }
}

fn word<T>(outcome: Result<T, SignInRefusal>) -> &'static str {
    outcome.err().map_or("signed in", |refusal| refusal.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_begins_on_one_host_ends_on_another_and_counts_on_both() {
    let rig = Rig::new().await;
    let signed_in = rig.sign_in(&account("ana")).await.unwrap();
    assert_eq!(signed_in.return_to.as_str(), "/profiles");
    for host in &rig.hosts {
        let person = host.identity().person(signed_in.cookie.expose()).await.unwrap().unwrap();
        assert_eq!(person.user.email.unwrap().as_str(), "ana@example.com");
        assert_eq!(person.user.organization_id, rig.organization);
    }
    assert_eq!(rig.trail("user.create").await.len(), 1);
    let started = rig.trail("login.start").await;
    assert_eq!((started.len(), started[0].outcome.as_str()), (1, "success"));
    assert!(rig.here().identity().person("").await.unwrap().is_none());
    assert!(rig.here().identity().person(&"0".repeat(64)).await.unwrap().is_none());
    let facts = rig.here().identity().sign_in_facts(Surface::Portal).await.unwrap();
    assert_eq!(facts.contact.unwrap().as_str(), "Ask Bo, room 7.");
    assert_eq!(facts.issuer, Some(rig.issuer.url.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_first_sign_ins_at_once_claim_the_prepared_user_once() {
    let rig = &Rig::new().await;
    let prepared = rig.prepare("Ana").await;
    let first = join_all((0..20).map(|_| async { rig.sign_in(&account("ana")).await })).await;
    for signed_in in first {
        let person = rig.here().identity().person(signed_in.unwrap().cookie.expose()).await.unwrap().unwrap();
        assert_eq!(person.user.id, prepared);
    }
    assert_eq!(rig.users().await.len(), 1);
    let claims = rig.trail("user.claim").await;
    assert_eq!((claims.len(), claims[0].object.clone()), (1, prepared.to_string()));
    assert_eq!(rig.trail("login.start").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_first_sign_ins_at_once_make_one_user() {
    let rig = &Rig::new().await;
    let first = join_all((0..20).map(|_| async { rig.sign_in(&account("bo")).await.map(drop) })).await;
    assert!(first.iter().all(Result::is_ok));
    assert_eq!((rig.users().await.len(), rig.trail("user.create").await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_passed_to_another_account_opens_nothing() {
    let rig = Rig::new().await;
    rig.sign_in(&account("ana")).await.unwrap();
    let mut other = account("ana");
    other["sub"] = json!("another-person");
    assert_eq!(word(rig.sign_in(&other).await), "other_person");
    let denied: Vec<_> = rig.trail("login.start").await.into_iter().filter(|entry| entry.outcome == "denied").collect();
    assert_eq!(denied.len(), 1);
    assert_eq!((denied[0].object.as_str(), denied[0].actor.as_str()), ("ana@example.com", "system:sign_in"));
    assert_eq!(denied[0].changes["reason"][1], "other_person");
    assert_eq!(denied[0].changes["identity"][1]["sub"], "another-person");

    // The account, not the address, is the person: a new address changes nothing.
    let mut renamed = account("ana");
    renamed["email"] = json!("ana.new@example.com");
    rig.sign_in(&renamed).await.unwrap();
    let [user] = rig.users().await.try_into().unwrap();
    assert_eq!(user.email.unwrap().as_str(), "ana@example.com");

    // An administrator unlinks on purpose; the logins of the account before end with it.
    let login = rig.sign_in(&account("ana")).await.unwrap();
    rig.patch_user(user.id, json!({ "identity": null })).await;
    assert!(rig.hosts[1].identity().person(login.cookie.expose()).await.unwrap().is_none());
    rig.sign_in(&other).await.unwrap();
    assert_eq!(word(rig.sign_in(&account("ana")).await), "other_person");
    assert_eq!(rig.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_is_refused_with_the_reason_and_leaves_an_entry() {
    let rig = Rig::new().await;
    rig.patch_user(rig.prepare("Off").await, json!({ "disabled": true })).await;
    let changed = |name: &str, field: &str, value: Value| {
        let mut account = account(name);
        account[field] = value;
        account
    };
    let cases = [
        ("wrong_company", changed("a", "hd", json!("evil.example"))),
        ("wrong_company", changed("b", "hd", json!("EXAMPLE.com"))),
        ("no_hosted_domain", changed("c", "hd", Value::Null)),
        ("not_verified", changed("d", "email_verified", json!(false))),
        ("disabled", account("off")),
    ];
    for (reason, account) in &cases {
        let mut account = account.clone();
        account.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(word(rig.sign_in(&account).await), *reason, "{account}");
    }
    let trail = rig.trail("login.start").await;
    let reasons: Vec<_> = trail.iter().rev().map(|entry| entry.changes["reason"][1].as_str().unwrap()).collect();
    assert_eq!(reasons, cases.iter().map(|(reason, _)| *reason).collect::<Vec<_>>());
    assert!(trail.iter().all(|entry| entry.outcome == "denied"));
    assert_eq!(rig.users().await.len(), 1, "nobody was made");

    let patch = from_json(json!({ "oidc": { "default_organization_id": null } }));
    rig.here().cluster().update_settings(&owner(), patch, None).await.unwrap();
    assert_eq!(word(rig.sign_in(&account("new")).await), "not_invited");
    let invited = rig.prepare("Invited").await;
    assert_eq!(rig.person("invited").await.user.id, invited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_counts_once_and_only_with_the_cookie_of_its_browser() {
    let rig = Rig::new().await;
    let [mine, theirs] =
        [rig.hosts[0].identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await.unwrap(), {
            rig.hosts[1].identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await.unwrap()
        }];
    let answer = rig.issuer.code(&mine.redirect, &account("ana"));
    for cookie in [None, Some(theirs.cookie.expose().as_str()), Some("x"), Some(answer.state.as_ref().unwrap())] {
        assert_eq!(
            word(rig.here().identity().complete_sign_in(Surface::Portal, &answer, cookie, &browser()).await),
            "expired"
        );
    }
    // None of these spoiled it.
    let cookie = Some(mine.cookie.expose().as_str());
    let both = join_all(rig.hosts.iter().map(|host| async {
        word(host.identity().complete_sign_in(Surface::Portal, &answer, cookie, &browser()).await)
    }));
    let words: HashSet<_> = both.await.into_iter().collect();
    assert_eq!(words, HashSet::from(["signed in", "expired"]));
    assert_eq!(
        word(
            rig.here()
                .identity()
                .complete_sign_in(Surface::Portal, &CallbackAnswer::default(), cookie, &browser())
                .await
        ),
        "expired"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_left_lying_or_cancelled_leads_nowhere() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let rig = Rig::at(Arc::clone(&clock) as Arc<dyn Clock>).await;
    let start = rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await.unwrap();
    let answer = rig.issuer.code(&start.redirect, &account("ana"));
    clock.advance(Duration::from_secs(601));
    let outcome =
        rig.here().identity().complete_sign_in(Surface::Portal, &answer, Some(start.cookie.expose()), &browser()).await;
    assert_eq!(word(outcome), "expired");

    let start = rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await.unwrap();
    let state = rig.issuer.code(&start.redirect, &account("ana")).state;
    let answer = CallbackAnswer { state, error: Some("access_denied".to_owned()), ..CallbackAnswer::default() };
    assert_eq!(
        word(
            rig.here()
                .identity()
                .complete_sign_in(Surface::Portal, &answer, Some(start.cookie.expose()), &browser())
                .await
        ),
        "cancelled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_after_an_hour_unused_and_after_twelve_in_any_case() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let rig = Rig::at(Arc::clone(&clock) as Arc<dyn Clock>).await;
    let cookie = rig.sign_in(&account("ana")).await.unwrap().cookie;
    let is_in = async |host: usize| rig.hosts[host].identity().person(cookie.expose()).await.unwrap().is_some();
    for turn in 0..14 {
        clock.advance(Duration::from_mins(50));
        assert!(is_in(turn % 2).await, "after {} minutes", 50 * (turn + 1));
    }
    clock.advance(Duration::from_mins(20));
    assert!(!is_in(0).await && !is_in(1).await);

    // The provider's tokens are as old as the real clock says, so a new sign-in needs a new rig.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let rig = Rig::at(Arc::clone(&clock) as Arc<dyn Clock>).await;
    let cookie = rig.sign_in(&account("ana")).await.unwrap().cookie;
    clock.advance(Duration::from_mins(61));
    assert!(rig.here().identity().person(cookie.expose()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_login_and_a_disabled_user_are_out_on_every_host_at_once() {
    let rig = Rig::new().await;
    let [a, b, c] = [(); 3].map(|()| ());
    let mut cookies = Vec::new();
    for () in [a, b, c] {
        cookies.push(rig.sign_in(&account("ana")).await.unwrap().cookie);
    }
    let other_host = async |n: usize| rig.hosts[1].identity().person(cookies[n].expose()).await.unwrap();
    let me = rig.here().identity().person(cookies[0].expose()).await.unwrap().unwrap();
    let logins = rig.here().identity().logins_of(&me).await.unwrap();
    assert_eq!(logins.iter().filter(|login| login.current).count(), 1);
    assert_eq!((logins.len(), logins[0].label.as_str()), (3, "Firefox 140"));

    let second = other_host(1).await.unwrap();
    rig.here().identity().end_login(&me, second.login).await.unwrap();
    assert!(other_host(1).await.is_none() && other_host(2).await.is_some());
    assert_eq!(rig.here().identity().end_other_logins(&me).await.unwrap(), 1);
    assert!(other_host(2).await.is_none() && other_host(0).await.is_some());
    assert_eq!(rig.trail("login.end").await.len(), 2);

    rig.patch_user(me.user.id, json!({ "disabled": true })).await;
    assert!(other_host(0).await.is_none());
    rig.patch_user(me.user.id, json!({ "disabled": false })).await;
    assert!(other_host(0).await.is_none(), "enabling somebody brings no login back");

    let again = rig.person("ana").await;
    rig.hosts[1].identity().sign_out(&again).await.unwrap();
    rig.hosts[0].identity().sign_out(&again).await.unwrap();
    assert!(rig.here().identity().logins_of(&again).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_said_and_so_is_a_missing_set_up() {
    let rig = Rig::new().await;
    let patch = |patch: Value| {
        let services = rig.here();
        async move { services.cluster().update_settings(&owner(), from_json(patch), None).await }
    };
    // Another issuer never gets the secret that was meant for the one before.
    let settings = patch(json!({ "oidc": { "issuer": "http://127.0.0.1:9" } })).await.unwrap().value;
    assert!(settings.oidc.client_secret.is_none());
    assert_eq!(
        word(rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await),
        "not_configured"
    );
    assert_eq!(rig.here().identity().sign_in_facts(Surface::Portal).await.unwrap().issuer, None);

    patch(json!({ "oidc": { "client_secret": "x" } })).await.unwrap();
    let began = Instant::now();
    assert_eq!(
        word(rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await),
        "provider_away"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(rig.here().identity().sign_in_facts(Surface::Portal).await.unwrap().away_since.is_some());

    for bad in [
        json!({ "oidc": { "default_organization_id": "org_01ARZ3NDEKTSV4RRFFQ69G5FAV" } }),
        json!({ "oidc": { "issuer": "https://accounts.google.com", "trust_email_domain": true } }),
    ] {
        assert!(patch(bad.clone()).await.is_err(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_asked_through_the_proxy_of_the_configuration() {
    let rig = Rig::new().await;
    let oidc = json!({ "issuer": "https://sso.example.com", "client_secret": "x" });
    rig.here().cluster().update_settings(&owner(), from_json(json!({ "oidc": oidc })), None).await.unwrap();

    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let environment = ("HTTPS_PROXY".to_owned(), format!("http://{}", proxy.local_addr().unwrap()));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let config = Config::load(Some(empty.path()), [environment]).unwrap();
    let emitter = Emitter::start(&rig.store, Duration::from_secs(8), &TaskTracker::new(), &CancellationToken::new());
    let services = Services::builder(rig.store.clone(), emitter, Arc::new(SystemClock))
        .master_key(Some(MasterKey::from_bytes(&[7; 32])))
        .url(Surface::Portal, "https://vpn.example.com/")
        .provider_proxies(config.provider_proxies)
        .build();

    let (identity, client) = (services.identity(), browser());
    let asked = async {
        let mut stream = proxy.accept().await.unwrap().0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    };
    let (outcome, asked) = tokio::join!(identity.start_sign_in(Surface::Portal, "/".parse().unwrap(), &client), asked);
    assert!(asked.starts_with("CONNECT sso.example.com:443 "), "{asked}");
    assert_eq!(word(outcome), "provider_away");
}
