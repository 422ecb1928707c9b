//! Sign-in against the certified provider `oidc-provider`: a whole code flow, with its pages and cookies.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern::domain::clock::SystemClock;
use postern::oidc::{AuthorizeRequest, OidcError, OidcSettings, Provider};
use serde_json::{Map, json};
use ureq::http::StatusCode;

use crate::support::oidc_provider::{OidcProvider, Options};

const REDIRECT: &str = "http://127.0.0.1:9/oauth/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// As much of a browser as a sign-in takes: it keeps cookies, follows redirects, and sends one form.
struct Browser {
    agent: ureq::Agent,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let config = ureq::Agent::config_builder().proxy(None).max_redirects(0).http_status_as_error(false);
        Self { agent: config.build().new_agent(), cookies: BTreeMap::new() }
    }

    /// Goes to `url` and on, until a page, or until the way leads back to Postern; the place it ended at.
    fn go(&mut self, url: &str, mut form: Option<&[(&str, &str)]>) -> String {
        let mut place = url.to_owned();
        for _ in 0..10 {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let cookies = cookies.join("; ");
            let answer = match form.take() {
                Some(form) => self.agent.post(&place).header("cookie", &cookies).send_form(form.iter().copied()),
                None => self.agent.get(&place).header("cookie", &cookies).call(),
            };
            let mut answer = answer.unwrap();
            for cookie in answer.headers().get_all("set-cookie") {
                let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            if answer.status() == StatusCode::OK {
                return place;
            }
            let body = answer.body_mut().read_to_string().unwrap();
            assert!(answer.status().is_redirection(), "{place}: {} {body}", answer.status());
            let next = answer.headers()["location"].to_str().unwrap();
            let origin: String = place.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            place = if next.starts_with('/') { format!("{origin}{next}") } else { next.to_owned() };
            if place.starts_with(REDIRECT) {
                return place;
            }
        }
        panic!("sent around in circles, last to {place}");
    }

    /// Signs in as `login` at the page that `url` leads to; the parameters of the response.
    fn sign_in(&mut self, url: &str, login: &str) -> BTreeMap<String, String> {
        let page = self.go(url, None);
        assert!(page.contains("/interaction/"), "{page}");
        let back = self.go(&page, Some(&[("login", login)]));
        form_urlencoded::parse(back.split_once('?').unwrap().1.as_bytes()).into_owned().collect()
    }
}

#[tokio::test]
async fn a_person_signs_in_at_a_certified_provider() {
    let mut people = Map::new();
    people.insert("ana@example.com".to_owned(), json!({ "name": "Ana Öst" }));
    people.insert("guest@example.org".to_owned(), json!({ "hd": null, "email_verified": false }));
    let certified = OidcProvider::start(Options { redirect_uris: &[REDIRECT], people, elsewhere: None });
    let settings = OidcSettings {
        issuer: certified.issuer.clone(),
        client_id: certified.client_id.clone(),
        client_secret: certified.client_secret.clone().into(),
        redirect_url: REDIRECT.to_owned(),
    };
    let provider = Provider::new(Arc::new(SystemClock));

    let mut subjects = Vec::new();
    for (login, name, verified, domain) in
        [("ana@example.com", "Ana Öst", true, Some("example.com")), ("guest@example.org", "Guest", false, None)]
    {
        let nonce = format!("nonce-of-{login}");
        let request = AuthorizeRequest {
            state: "af0ifjsldkj",
            nonce: &nonce,
            pkce_verifier: VERIFIER,
            hosted_domain_hint: Some("example.com"),
        };
        let url = provider.authorize_url(&settings, request).await.unwrap();
        let response = Browser::new().sign_in(&url, login);
        assert_eq!(response["state"], "af0ifjsldkj");
        assert_eq!(response["iss"], certified.issuer);

        let exchange =
            async || provider.exchange(&settings, &response["code"], VERIFIER, &nonce, Some(&response["iss"])).await;
        let identity = exchange().await.unwrap();
        assert_eq!(identity.issuer, certified.issuer);
        assert_eq!(identity.email.unwrap().as_str(), login);
        assert_eq!(identity.email_verified, verified);
        assert_eq!(identity.hosted_domain.as_deref(), domain);
        assert_eq!(identity.name.unwrap().as_str(), name);
        subjects.push(identity.subject);

        let again = exchange().await;
        assert!(matches!(&again, Err(OidcError::Refused(code)) if code == "invalid_grant"), "{again:?}");
    }
    assert_ne!(subjects[0], subjects[1]);
}
