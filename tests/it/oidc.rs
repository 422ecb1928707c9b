//! Sign-in against the hostile issuer: every broken token under its own name, rotation of keys, outages.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern::domain::clock::{Clock, ManualClock};
use postern::oidc::{AuthorizeRequest, BadToken, OidcError, OidcSettings, Provider, VerifiedIdentity};
use serde_json::{Value, json};

use crate::support::issuer::{Behaviour, Flaw, Issuer, Options, Person};

const REDIRECT: &str = "https://vpn.example.com/oauth/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const NONCE: &str = "n-0S6_WzA2Mj";

/// An issuer, and Postern's side of it, by one clock.
struct Rig {
    issuer: Issuer,
    provider: Provider,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-23T12:00:00Z".parse().unwrap()));
        let issuer = Issuer::start(Options { clock: clock.clone(), ..options });
        Self { issuer, provider: Provider::new(clock.clone()), clock }
    }

    fn settings(&self) -> OidcSettings {
        OidcSettings {
            issuer: self.issuer.url.clone(),
            client_id: self.issuer.options.client_id.clone(),
            client_secret: self.issuer.options.client_secret.clone().into(),
            redirect_url: REDIRECT.to_owned(),
        }
    }

    async fn authorize_url(&self) -> Result<String, OidcError> {
        let request = AuthorizeRequest {
            state: "af0ifjsldkj",
            nonce: NONCE,
            pkce_verifier: VERIFIER,
            hosted_domain_hint: Some("example.com"),
        };
        self.provider.authorize_url(&self.settings(), request).await
    }

    /// The parameters that the browser brings back.
    async fn response(&self) -> Vec<(String, String)> {
        let url = self.authorize_url().await.unwrap();
        let place = follow(&url);
        let query = place.strip_prefix(REDIRECT).unwrap().strip_prefix('?').unwrap();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    async fn exchange(&self, response: &[(String, String)]) -> Result<VerifiedIdentity, OidcError> {
        let (code, iss) = (find(response, "code").unwrap(), find(response, "iss"));
        self.provider.exchange(&self.settings(), code, VERIFIER, NONCE, iss).await
    }

    async fn sign_in(&self) -> Result<VerifiedIdentity, OidcError> {
        let response = self.response().await;
        self.exchange(&response).await
    }

    async fn defect(&self, flaw: Flaw) -> BadToken {
        self.issuer.flaw(flaw.clone());
        match self.sign_in().await {
            Err(OidcError::BadToken(defect)) => defect,
            other => panic!("{flaw:?}: {other:?}"),
        }
    }
}

/// Where a browser is sent by `url`.
fn follow(url: &str) -> String {
    let agent =
        ureq::Agent::config_builder().proxy(None).max_redirects(0).http_status_as_error(false).build().new_agent();
    let answer = agent.get(url).call().unwrap();
    assert_eq!(answer.status(), 302, "{url}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An error and all its causes, as it would be logged.
fn words(error: &OidcError) -> String {
    let mut words = vec![format!("{error:?}")];
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words.join(" | ")
}

#[tokio::test]
async fn an_honest_token_gives_the_whole_identity() {
    let rig = Rig::new();
    let identity = rig.sign_in().await.unwrap();
    assert_eq!(identity.issuer, rig.issuer.url);
    assert_eq!(identity.subject, "sub-ana@example.com");
    assert_eq!(identity.email.unwrap().as_str(), "ana@example.com");
    assert!(identity.email_verified);
    assert_eq!(identity.hosted_domain.as_deref(), Some("example.com"));
    assert_eq!(identity.name.unwrap().as_str(), "Ana");
    assert_eq!(rig.provider.away_since(&rig.issuer.url), None);
}

#[tokio::test]
async fn the_authorize_url_asks_for_a_code_with_pkce() {
    let rig = Rig::new();
    let url = rig.authorize_url().await.unwrap();
    let (place, query) = url.split_once('?').unwrap();
    assert_eq!(place, format!("{}/authorize", rig.issuer.url));
    let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "postern"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email profile"),
        ("state", "af0ifjsldkj"),
        ("nonce", NONCE),
        ("code_challenge_method", "S256"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), // RFC 7636 appendix B
        ("hd", "example.com"),
        ("prompt", "select_account"),
    ] {
        assert_eq!(find(&query, name), Some(value), "{name}");
    }
    assert!(!url.contains(VERIFIER) && !url.contains("s3cret"), "{url}");
}

#[tokio::test]
async fn a_short_verifier_is_refused_in_words() {
    let rig = Rig::new();
    let request = AuthorizeRequest { state: "s", nonce: "n", pkce_verifier: "short", hosted_domain_hint: None };
    let answer = rig.provider.authorize_url(&rig.settings(), request).await;
    assert!(matches!(answer, Err(OidcError::Misconfigured { .. })), "{answer:?}");
}

#[tokio::test]
async fn each_broken_token_is_refused_under_its_own_name() {
    let rig = Rig::new();
    let now = rig.clock.now().as_second();
    let claim = Flaw::Claim;
    let cases = [
        (Flaw::AlgNone, "algorithm"),
        (Flaw::Hs256, "algorithm"),
        (Flaw::ForeignKey, "signature"),
        (Flaw::Changed, "signature"),
        (Flaw::UnknownKey, "unknown_key"),
        (Flaw::WeakKey, "weak_key"),
        (Flaw::Critical, "critical"),
        (Flaw::Garbage, "malformed"),
        (Flaw::NoToken, "missing"),
        (Flaw::Answer("<html>sorry</html>"), "response"),
        (Flaw::Answer(r#"{"access_token":"x","token_type":"Bearer","id_token":7}"#), "response"),
        (Flaw::ResponseIssuer(Some("https://accounts.google.com")), "response_issuer"),
        (Flaw::ResponseIssuer(None), "response_issuer_missing"),
        (claim("iss", json!("https://accounts.google.com")), "issuer"),
        (claim("iss", json!(format!("{}/", rig.issuer.url))), "issuer"),
        (claim("iss", Value::Null), "issuer"),
        (claim("aud", json!("another-client")), "audience"),
        (claim("aud", json!(["postern", "another-client"])), "audience"),
        (claim("aud", json!([])), "audience"),
        (claim("aud", Value::Null), "audience"),
        (claim("azp", json!("another-client")), "authorized_party"),
        (claim("exp", json!(now - 60)), "expired"),
        (claim("exp", json!("tomorrow")), "expiry_missing"),
        (claim("exp", Value::Null), "expiry_missing"),
        (claim("iat", json!(now + 61)), "from_the_future"),
        (claim("iat", Value::Null), "issued_at_missing"),
        (claim("nbf", json!(now + 61)), "not_yet_valid"),
        (claim("nbf", json!("tomorrow")), "not_yet_valid"),
        (claim("nonce", json!("another")), "nonce"),
        (claim("nonce", Value::Null), "nonce_missing"),
        (claim("sub", Value::Null), "subject"),
        (claim("sub", json!("")), "subject"),
        (claim("sub", json!(7)), "subject"),
        (claim("sub", json!("a\nb")), "subject"),
        (claim("sub", json!("x".repeat(256))), "subject"),
        (claim("email", json!("ana@example.com@evil.example")), "email"),
        (claim("email", json!("ana\n@example.com")), "email"),
        (claim("email", json!(["ana@example.com"])), "email"),
        (claim("email_verified", json!("true")), "email_verified"),
        (claim("email_verified", json!(1)), "email_verified"),
        (claim("hd", json!(["example.com"])), "hosted_domain"),
    ];
    for (flaw, code) in cases {
        let what = format!("{flaw:?}");
        assert_eq!(rig.defect(flaw).await.code(), code, "{what}");
    }
    rig.issuer.flaw(Flaw::None);
    rig.sign_in().await.unwrap();
}

#[tokio::test]
async fn what_is_almost_wrong_is_accepted() {
    let rig = Rig::new();
    let now = rig.clock.now().as_second();
    for (name, value) in [
        ("exp", json!(now - 59)),
        ("iat", json!(now + 60)),
        ("nbf", json!(now + 60)),
        ("aud", json!(["postern"])),
        ("azp", Value::Null),
        ("exp", json!(1.5 + 4e9)),
        ("name", json!("\u{202e}not a name")),
    ] {
        rig.issuer.flaw(Flaw::Claim(name, value.clone()));
        let identity = rig.sign_in().await.unwrap_or_else(|error| panic!("{name} {value}: {error:?}"));
        assert_eq!(identity.name.is_none(), name == "name");
    }
}

#[tokio::test]
async fn the_hosted_domain_is_handed_on_as_it_stands() {
    let rig = Rig::new();
    for domain in
        [None, Some("evil.example"), Some("EXAMPLE.com"), Some("sub.example.com"), Some("example.com."), Some("")]
    {
        rig.issuer.person(Person { hosted_domain: json!(domain), ..Person::new("ana@example.com") });
        assert_eq!(rig.sign_in().await.unwrap().hosted_domain.as_deref(), domain);
    }
}

#[tokio::test]
async fn only_a_plain_true_verifies_an_e_mail_address() {
    let rig = Rig::new();
    for (verified, expected) in [(json!(true), true), (json!(false), false), (Value::Null, false)] {
        rig.issuer.person(Person { email_verified: verified, ..Person::new("ana@example.com") });
        assert_eq!(rig.sign_in().await.unwrap().email_verified, expected);
    }
    rig.issuer.person(Person { email: json!("Ana@Example.COM"), ..Person::new("ana@example.com") });
    assert_eq!(rig.sign_in().await.unwrap().email.unwrap().as_str(), "ana@example.com");
    rig.issuer.person(Person { email: Value::Null, ..Person::new("ana@example.com") });
    assert_eq!(rig.sign_in().await.unwrap().email, None);
}

#[tokio::test]
async fn a_code_works_once_and_only_with_its_verifier() {
    let rig = Rig::new();
    let response = rig.response().await;
    rig.exchange(&response).await.unwrap();
    let replayed = rig.exchange(&response).await;
    assert!(matches!(&replayed, Err(OidcError::Refused(code)) if code == "invalid_grant"), "{replayed:?}");

    let response = rig.response().await;
    let (code, iss) = (find(&response, "code").unwrap(), find(&response, "iss"));
    let other_verifier = "x".repeat(43);
    let stolen = rig.provider.exchange(&rig.settings(), code, &other_verifier, NONCE, iss).await;
    assert!(matches!(&stolen, Err(OidcError::Refused(code)) if code == "invalid_grant"), "{stolen:?}");
}

#[tokio::test]
async fn a_wrong_client_secret_is_said_to_the_admin() {
    let rig = Rig::new();
    let response = rig.response().await;
    let settings = OidcSettings { client_secret: "wrong".to_owned().into(), ..rig.settings() };
    let code = find(&response, "code").unwrap();
    let answer = rig.provider.exchange(&settings, code, VERIFIER, NONCE, find(&response, "iss")).await;
    assert!(
        matches!(&answer, Err(OidcError::Misconfigured { sentence, .. }) if sentence.contains("secret")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_response_without_issuer_is_fine_where_none_is_announced() {
    let rig = Rig::with(Options { response_issuer: false, ..Options::default() });
    rig.sign_in().await.unwrap();
    let defect = rig.defect(Flaw::ResponseIssuer(Some("https://evil.example"))).await;
    assert_eq!(defect, BadToken::ResponseIssuer);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_trusted_with_its_own_documents_is_an_admins_matter() {
    for (behaviour, word) in [
        (Behaviour::OtherIssuer, "another issuer"),
        (Behaviour::KeysElsewhere, "169.254.169.254"),
        (Behaviour::RedirectedKeys, "redirect"),
        (Behaviour::HugeKeys, "mebibyte"),
    ] {
        let rig = Rig::new();
        rig.issuer.behave(behaviour);
        let answer = rig.authorize_url().await;
        let Err(error @ OidcError::Misconfigured { .. }) = answer else { panic!("{behaviour:?}: {answer:?}") };
        assert!(words(&error).contains(word), "{behaviour:?}: {}", words(&error));
        assert_eq!(rig.provider.away_since(&rig.issuer.url), None);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_redirects_gets_the_secret_once() {
    let rig = Rig::new();
    let response = rig.response().await;
    rig.issuer.behave(Behaviour::RedirectedToken);
    let answer = rig.exchange(&response).await;
    assert!(matches!(answer, Err(OidcError::Misconfigured { .. })), "{answer:?}");
    assert_eq!((rig.issuer.asked("/token"), rig.issuer.asked("/token/real")), (1, 0));
}

#[tokio::test]
async fn addresses_without_https_are_refused_before_anybody_is_asked() {
    let rig = Rig::new();
    for issuer in ["http://sso.example.com", "ftp://127.0.0.1", "sso.example.com", "", "http://user:word@127.0.0.1:1"] {
        let settings = OidcSettings { issuer: issuer.to_owned(), ..rig.settings() };
        let request = AuthorizeRequest { state: "s", nonce: "n", pkce_verifier: VERIFIER, hosted_domain_hint: None };
        let answer = rig.provider.authorize_url(&settings, request).await;
        assert!(matches!(answer, Err(OidcError::Misconfigured { .. })), "{issuer}: {answer:?}");
    }
}

#[tokio::test]
async fn a_provider_that_was_never_reached_is_away_since_the_first_attempt() {
    for behaviour in [Behaviour::Away, Behaviour::Unwell, Behaviour::Silent] {
        let rig = Rig::new();
        rig.issuer.behave(behaviour);
        let first = rig.clock.now();
        let is_away = |answer: Result<String, OidcError>| match answer {
            Err(OidcError::Away { since, .. }) => since,
            other => panic!("{behaviour:?}: {other:?}"),
        };
        assert_eq!(is_away(rig.authorize_url().await), first);
        let asked = rig.issuer.asked("/.well-known/openid-configuration");
        assert_eq!(is_away(rig.authorize_url().await), first, "asked again at once");
        assert_eq!(rig.issuer.asked("/.well-known/openid-configuration"), asked);
        assert_eq!(rig.provider.away_since(&rig.issuer.url), Some(first));

        rig.issuer.behave(Behaviour::Well);
        rig.clock.advance(Duration::from_secs(3));
        rig.sign_in().await.unwrap();
        assert_eq!(rig.provider.away_since(&rig.issuer.url), None);
    }
}

#[tokio::test]
async fn what_was_known_last_serves_through_an_outage() {
    let rig = Rig::new();
    rig.sign_in().await.unwrap();
    rig.clock.advance(Duration::from_hours(48));
    let since: Timestamp = rig.clock.now();
    rig.issuer.behave(Behaviour::Away);
    rig.authorize_url().await.unwrap();
    assert_eq!(rig.provider.away_since(&rig.issuer.url), Some(since));

    // Its keys are out of reach, but codes are redeemed: the last good set checks the token.
    rig.issuer.behave(Behaviour::RedirectedKeys);
    rig.clock.advance(Duration::from_mins(2));
    rig.sign_in().await.unwrap();

    let response = rig.response().await;
    rig.issuer.behave(Behaviour::Unwell);
    let answer = rig.exchange(&response).await;
    assert!(matches!(answer, Err(OidcError::Away { .. })), "{answer:?}");
    rig.issuer.behave(Behaviour::Well);
    rig.clock.advance(Duration::from_mins(2));
    rig.sign_in().await.unwrap();
    assert_eq!(rig.provider.away_since(&rig.issuer.url), None);
}

#[tokio::test]
async fn keys_are_kept_for_an_hour() {
    let rig = Rig::new();
    for _ in 0..3 {
        rig.sign_in().await.unwrap();
    }
    assert_eq!(rig.issuer.asked("/keys"), 1);
    rig.clock.advance(Duration::from_mins(61));
    rig.sign_in().await.unwrap();
    assert_eq!(rig.issuer.asked("/keys"), 2);
}

#[tokio::test]
async fn an_unknown_key_leads_to_one_question_a_minute() {
    let rig = Rig::new();
    for _ in 0..3 {
        assert_eq!(rig.defect(Flaw::UnknownKey).await, BadToken::UnknownKey);
    }
    assert_eq!(rig.issuer.asked("/keys"), 2);
    rig.clock.advance(Duration::from_mins(1));
    rig.defect(Flaw::UnknownKey).await;
    assert_eq!(rig.issuer.asked("/keys"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_without_a_refusal() {
    const WORKERS: usize = 8;
    let rig = Arc::new(Rig::new());
    rig.sign_in().await.unwrap();
    for rotation in 1..=3 {
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..WORKERS {
            let rig = Arc::clone(&rig);
            workers.spawn(async move {
                for _ in 0..4 {
                    rig.sign_in().await.unwrap();
                    if worker == 0 && rig.issuer.asked("/keys") == rotation {
                        rig.issuer.rotate();
                    }
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            done.unwrap();
        }
        assert_eq!(rig.issuer.asked("/keys"), rotation + 1, "one question for all");
        rig.clock.advance(Duration::from_mins(1));
    }
}

#[tokio::test]
async fn no_error_holds_a_code_a_token_or_a_secret() {
    let rig = Rig::new();
    let flaws = [
        Flaw::AlgNone,
        Flaw::Changed,
        Flaw::Claim("email", json!("canary@@example.com")),
        Flaw::Claim("nonce", json!("canary")),
        Flaw::Answer(r#"{"access_token":"canary","token_type":"Bearer","id_token":"canary","expires_in":"canary"}"#),
        Flaw::Answer(r#"{"error":"canary canary"}"#),
    ];
    for flaw in flaws {
        rig.issuer.flaw(flaw);
        let response = rig.response().await;
        let error = rig.exchange(&response).await.unwrap_err();
        let words = words(&error);
        for secret in ["canary", "eyJ", VERIFIER, NONCE, "s3cret", find(&response, "code").unwrap()] {
            assert!(!words.contains(secret), "{secret} in {words}");
        }
    }
    let words = format!("{:?} {:?}", rig.settings(), rig.provider);
    assert!(!words.contains("s3cret"), "{words}");
}
