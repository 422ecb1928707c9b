//! The console as a browser meets it: people of every role who signed in on the admin listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern::domain::clock::{Clock, SystemClock};
use postern::domain::host::ProcessRole;
use postern::domain::role::Role;
use postern::runtime::random;
use postern::services::hosts::database_users::HostDatabase;
use postern::web;
use serde_json::{Value, json};

use crate::api_rig::{Answer, Caller, Rig, settings};
use crate::self_service_rig::{Issuer, account};
use crate::support::mongod::{TestDatabase, shared};

pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub(crate) const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// A browser at one of the sites, with its cookies.
#[derive(Clone)]
pub(crate) struct Visitor {
    caller: Caller,
    pub(crate) cookies: BTreeMap<String, String>,
    address: String,
}

impl Visitor {
    pub(crate) fn new(address: std::net::SocketAddr) -> Self {
        let [a, b, c]: [u8; 3] = random::bytes();
        Self { caller: Caller::new(address, None), cookies: BTreeMap::new(), address: format!("10.{a}.{b}.{c}") }
    }

    /// Sends a request with the cookies, and keeps those of the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, more: &[(&str, &str)], form: Option<&str>) -> Answer {
        let line = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = vec![HTML, ("x-forwarded-for", self.address.as_str())];
        if !line.is_empty() {
            headers.push(("cookie", &line));
        }
        if form.is_some() {
            headers.push(FORM);
        }
        headers.extend(more.iter().copied());
        let answer = self.caller.send(method, path, &headers, form.map(str::as_bytes));
        for cookie in answer.headers.get_all("set-cookie") {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[SAME_ORIGIN], None)
    }

    /// Sends a form as the page at `from` would: with its token.
    pub(crate) fn post(&mut self, from: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token(from);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("form_token", &token).extend_pairs(fields);
        self.send("POST", path, &[SAME_ORIGIN], Some(&form.finish()))
    }

    /// The token that the forms of a page carry.
    #[track_caller]
    pub(crate) fn form_token(&mut self, page: &str) -> String {
        let answer = self.get(page);
        value_of(&answer.body, "form_token").unwrap_or_else(|| panic!("no form in {page}: {answer:?}"))
    }

    /// Signs in with an account; the answer is that of the callback.
    pub(crate) fn sign_in(&mut self, issuer: &Issuer, account: &Value) -> Answer {
        let back = self.begin(issuer, account);
        self.send("GET", &back, &[("sec-fetch-site", "cross-site")], None)
    }

    /// Begins a sign-in; answers where the provider sends the browser.
    #[track_caller]
    pub(crate) fn begin(&mut self, issuer: &Issuer, account: &Value) -> String {
        let start = self.send("POST", "/sign-in/start", &[SAME_ORIGIN], Some("return_to=/"));
        assert_eq!(start.status, 303, "{start:?}");
        let code = issuer.code(start.header("location"), account);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", &code.state.unwrap()).append_pair("code", &code.code.unwrap());
        format!("/oauth/callback?{}", query.finish())
    }
}

/// The value of a hidden field of a page.
pub(crate) fn value_of(html: &str, field: &str) -> Option<String> {
    let (_, rest) = html.split_once(&format!("name=\"{field}\" value=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// A process with both sites, an issuer, and one person for each role.
pub(crate) struct Console {
    pub(crate) rig: Rig,
    pub(crate) issuer: Issuer,
    pub(crate) organization: String,
    /// The ids of the people by their role.
    pub(crate) people: BTreeMap<&'static str, String>,
}

/// Both sites under `http://localhost`, where each request says from where it comes.
pub(crate) fn sites() -> web::Settings {
    let mut settings = settings();
    settings.public.url = Some("http://localhost".to_owned());
    settings.admin.url = Some("http://localhost".to_owned());
    settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    settings.roles = [ProcessRole::Portal, ProcessRole::Console].into();
    settings
}

impl Console {
    pub(crate) async fn new() -> Self {
        Self::over(shared().database()).await
    }

    pub(crate) async fn over(database: TestDatabase) -> Self {
        Self::timed(database, Arc::new(SystemClock)).await
    }

    /// One whose services take the time from `clock`.
    pub(crate) async fn timed(database: TestDatabase, clock: Arc<dyn Clock>) -> Self {
        Self::with(Rig::timed(database, sites(), clock).await).await
    }

    /// One whose hosts come to the database in this way.
    pub(crate) async fn for_hosts(hosts: HostDatabase) -> Self {
        Self::with(Rig::for_hosts(shared().database(), sites(), hosts).await).await
    }

    async fn with(rig: Rig) -> Self {
        let issuer = Issuer::start().await;
        let owner = rig.owner();
        let made = owner.post("/organizations", &json!({ "name": "Acme" }));
        let organization = made["id"].as_str().unwrap().to_owned();
        let oidc = json!({
            "issuer": issuer.url, "client_id": "postern", "client_secret": "x", "allowed_domains": ["example.com"],
            "default_organization_id": organization,
        });
        owner.patch("/settings", &json!({ "oidc": oidc }));
        let mut people = BTreeMap::new();
        for role in Role::ALL {
            let word = role.as_str();
            let user = json!({
                "organization_id": organization, "name": word, "email": format!("{word}@example.com"), "role": word,
            });
            let made = owner.post("/users", &user);
            people.insert(word, made["id"].as_str().unwrap().to_owned());
        }
        Self { rig, issuer, organization, people }
    }

    /// Somebody at the console who is nobody yet.
    pub(crate) fn stranger(&self) -> Visitor {
        Visitor::new(self.rig.addresses.admin.unwrap())
    }

    /// The person of a role, signed in to the console.
    #[track_caller]
    pub(crate) fn signed_in(&self, role: Role) -> Visitor {
        let mut visitor = self.stranger();
        let answer = visitor.sign_in(&self.issuer, &account(role.as_str()));
        assert_eq!(answer.status, 200, "{answer:?}");
        visitor
    }
}
