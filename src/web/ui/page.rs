//! Pages of a site: who looks at one, what surrounds it, and the headers that go with it.
//!
//! A page is a struct with a template. It holds a [`Chrome`], which [`Visit`] makes anew for each request, with the
//! nonce that lets the one script of that very answer run (SEC-HDR-01).

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;

use crate::http::client::ClientAddress;
use crate::http::problem::{Code, Problem};
use crate::ui::browsing::Browsing;
use crate::ui::cookies::Cookie;
use crate::ui::site::{Site, origin_of};
use crate::ui::token::Token;
use domain::ids::RequestId;
use domain::login::Surface;
use runtime::random;
use services::Services;
use services::identity::logins::{Browser, Person};
use services::identity::outcome::SignInFacts;

/// What surrounds every page.
#[derive(Debug, Clone)]
pub(crate) struct Chrome {
    /// Whose pages they are.
    pub(crate) surface: Surface,
    /// What this answer's script is known by.
    pub(crate) nonce: String,
    /// The company, as people read it.
    pub(crate) company: Option<String>,
    /// Whom to ask.
    pub(crate) contact: Option<String>,
    /// Who is signed in, if somebody is.
    pub(crate) account: Option<Account>,
    /// What the page before wants to have said.
    pub(crate) flash: Option<Flash>,
    /// Which of the pages in the navigation this one belongs to.
    pub(crate) here: &'static str,
    /// Where sign-in forms lead to, besides to us.
    pub(crate) issuer_origin: Option<String>,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The mailbox, or the name where there is none.
    pub(crate) label: String,
    /// What this login's forms carry.
    pub(crate) form_token: String,
}

impl Chrome {
    /// What surrounds a page of the portal, with a nonce of its own.
    pub(crate) fn new(facts: &SignInFacts, person: Option<&Person>, flash: Option<Flash>) -> Self {
        let account = person.map(|person| Account {
            label: person.user.email.as_ref().map_or_else(|| person.user.name.to_string(), ToString::to_string),
            form_token: person.form_token.0.clone(),
        });
        Self::on(Surface::Portal, facts, account, flash)
    }

    /// What surrounds a page of a surface, with a nonce of its own.
    pub(crate) fn on(surface: Surface, facts: &SignInFacts, account: Option<Account>, flash: Option<Flash>) -> Self {
        Self {
            surface,
            nonce: BASE64URL_NOPAD.encode(&random::bytes::<18>()),
            company: facts.company_name.as_ref().map(ToString::to_string),
            contact: facts.contact.as_ref().map(ToString::to_string),
            account,
            flash,
            here: "",
            issuer_origin: facts.issuer.as_deref().map(origin_of),
        }
    }

    /// Whether the page is one of the console.
    pub(crate) fn is_console(&self) -> bool {
        self.surface == Surface::Console
    }

    /// The form token; empty where nobody is signed in.
    pub(crate) fn form_token(&self) -> &str {
        self.account.as_ref().map_or("", |account| &account.form_token)
    }

    /// The form token, as every form has it.
    pub(crate) fn token(&self) -> Token<'_> {
        Token { token: self.form_token() }
    }

    fn policy(&self) -> String {
        let issuer = self.issuer_origin.as_ref().map(|origin| format!(" {origin}")).unwrap_or_default();
        format!(
            "default-src 'none'; script-src 'nonce-{}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'{issuer}; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'",
            self.nonce
        )
    }
}

/// Writes a page.
pub(crate) fn show(chrome: &Chrome, status: StatusCode, page: &impl Template) -> Response {
    let (Ok(html), Ok(policy)) = (page.render(), HeaderValue::try_from(chrome.policy())) else {
        return Problem::new(Code::Internal, "the page could not be written").into_response();
    };
    let headers: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_SECURITY_POLICY, policy)];
    (status, headers, Html(html)).into_response()
}

macro_rules! flashes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $sentence:literal;)*) => {
        /// What a page says about what was just done; it outlives the redirect in a cookie.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Flash {
            $($(#[$doc])* $name,)*
        }

        impl Flash {
            /// In the cookie.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// On the page.
            pub(crate) fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}

flashes! {
    /// A device has another name.
    Renamed = "renamed", "The device has its new name.";
    /// A profile was revoked.
    Revoked = "revoked", "The device is revoked. It cannot connect any more.";
    /// A VPN session was ended.
    SessionEnded = "session-ended", "The VPN connection is being ended.";
    /// A login was ended.
    LoginEnded = "login-ended", "That browser is signed out.";
    /// The other logins were ended.
    LoginsEnded = "logins-ended", "All other browsers are signed out.";
    /// Somebody left the console.
    ConsoleLeft = "console-left", "You are signed out of the console.";
    /// The person left.
    SignedOut = "signed-out", "You are signed out. Your VPN connections go on.";
    /// An organization was made.
    OrganizationCreated = "organization-created", "The organization is there. Nobody belongs to it yet.";
    /// An organization was changed.
    OrganizationSaved = "organization-saved", "The organization is saved.";
    /// An organization was deleted.
    OrganizationDeleted = "organization-deleted", "The organization is deleted.";
    /// An API token was revoked.
    TokenRevoked = "token-revoked", "The API token is revoked. The next request with it is refused.";
    /// A host has another name.
    HostRenamed = "host-renamed", "The host has its new name. Its own configuration must follow before its next start.";
    /// A host leaves service.
    HostDraining = "host-draining", "The host leaves service. Its sessions go to the other hosts.";
    /// A host is back.
    HostResumed = "host-resumed", "The host accepts new sessions again.";
    /// A host got a server.
    HostAttached = "host-attached", "Attached. The host takes the server up within a moment.";
    /// A host lost a server.
    HostDetached = "host-detached", "Detached. The sessions of that server on that host end.";
    /// A host was removed.
    HostRemoved = "host-removed", "The host is removed. Its key makes no host again.";
    /// A join token was withdrawn.
    JoinTokenWithdrawn = "join-token-withdrawn", "The join token is withdrawn. No machine can use it any more.";
    /// A server was made.
    ServerCreated = "server-created", "The server is there. It runs as soon as a host is attached to it.";
    /// A server was changed.
    ServerSaved = "server-saved", "The server is saved. Its hosts follow within a moment.";
    /// A server was deleted.
    ServerDeleted = "server-deleted", "The server is deleted.";
    /// The settings were changed.
    SettingsSaved = "settings-saved", "The settings are saved.";
    /// A step of the set-up was taken.
    StepDone = "step-done", "That step is done.";
    /// A form was sent as it had been filled.
    NothingChanged = "nothing-changed", "Nothing was different, so nothing was changed.";
    /// A run of a job was asked for.
    JobWanted = "job-wanted", "The job runs as soon as a process with the role jobs takes it up.";
    /// A user was made.
    UserCreated = "user-created", "The user is there. To connect, the person signs in, or gets a one-time link from you.";
    /// A user was changed.
    UserSaved = "user-saved", "The user is saved.";
    /// A user was disabled.
    UserDisabled = "user-disabled", "The user is disabled. VPN sessions and sign-ins end at once, on every host.";
    /// A user was enabled.
    UserEnabled = "user-enabled", "The user is enabled and can connect and sign in again.";
    /// A user was deleted.
    UserDeleted = "user-deleted", "The user is deleted, with all profiles.";
    /// A group was changed.
    GroupSaved = "group-saved", "The group is saved.";
    /// A group was deleted.
    GroupDeleted = "group-deleted", "The group is deleted. Nobody is in it any more.";
    /// All browsers of a user were signed out.
    UserSignedOut = "user-signed-out", "The user is signed out in every browser.";
    /// All VPN sessions of a user were ended.
    SessionsEnded = "sessions-ended", "The VPN sessions are being ended.";
    /// A profile of somebody was revoked.
    ProfileRevoked = "profile-revoked", "The profile is revoked. It cannot connect any more.";
    /// A form came from somebody who is not signed in any more.
    SignInAgain = "sign-in-again", "You were signed out in the meantime. Nothing was changed. Please sign in again.";
}

/// A look at a page, by whomever.
pub(crate) struct Visit {
    pub(crate) services: Services,
    /// The site.
    pub(crate) site: Arc<Site>,
    /// What surrounds the page.
    pub(crate) chrome: Chrome,
    headers: HeaderMap,
    /// What is known about the company.
    pub(crate) facts: SignInFacts,
    /// Whether anything is.
    pub(crate) facts_known: bool,
    /// The moment that the page is of.
    pub(crate) now: Timestamp,
    /// With what browser, and from where.
    pub(crate) browsing: Browsing,
    person: Result<Option<Person>, Problem>,
    request_id: Option<RequestId>,
    address: ClientAddress,
}

impl FromRequestParts<Services> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Problem> {
        let site = site_of(parts)?;
        let request_id = parts.extensions.get().copied();
        let address = parts.extensions.get::<ClientAddress>().copied().unwrap_or_default();
        let (facts, facts_known) = site.facts(services).await;
        let person = match parts.extensions.get::<Person>() {
            Some(person) => Ok(Some(person.clone())),
            None => find_person(services, &site, parts).await,
        };
        let flash = Cookie::Flash.read(&site, &parts.headers).and_then(|word| Flash::from_word(&word));
        let mut chrome = match site.surface() {
            Surface::Portal => Chrome::new(&facts, person.as_ref().ok().and_then(Option::as_ref), flash),
            Surface::Console => Chrome::on(Surface::Console, &facts, None, flash),
        };
        chrome.here = here(parts.uri.path());
        let browsing = Browsing::of(&parts.headers);
        let (services, headers, now) = (services.clone(), parts.headers.clone(), services.now());
        Ok(Self { services, site, chrome, headers, facts, facts_known, now, browsing, person, request_id, address })
    }
}

fn here(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("" | "profiles") => "/",
        Some("sessions") => "/sessions",
        Some("my-data") => "/my-data",
        Some("help") => "/help",
        _ => "",
    }
}

/// The site that a request is for; there always is one on listeners that have pages.
pub(crate) fn site_of(parts: &Parts) -> Result<Arc<Site>, Problem> {
    let site = parts.extensions.get::<Arc<Site>>().cloned();
    site.ok_or_else(|| Problem::new(Code::Internal, "this listener has no pages"))
}

/// Who is signed in to the portal, by the login cookie and nothing else.
pub(crate) async fn find_person(services: &Services, site: &Site, parts: &Parts) -> Result<Option<Person>, Problem> {
    if site.surface() != Surface::Portal {
        return Ok(None);
    }
    let Some(cookie) = Cookie::Login.read(site, &parts.headers) else { return Ok(None) };
    let mut person = services.identity().person(&cookie).await?;
    if let Some(person) = &mut person {
        person.request_id = parts.extensions.get().copied();
    }
    Ok(person)
}

impl Visit {
    /// Who is signed in.
    pub(crate) fn person(&self) -> Result<Option<&Person>, Problem> {
        self.person.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// What the browser holds in a cookie.
    pub(crate) fn cookie(&self, cookie: Cookie) -> Option<String> {
        cookie.read(&self.site, &self.headers)
    }

    /// The browser, as sign-ins are shown by.
    pub(crate) fn browser(&self) -> Browser {
        Browser { label: self.browsing.label(), address: self.address.0, request_id: self.request_id }
    }

    /// The id of the request, as people quote it.
    pub(crate) fn request_id(&self) -> String {
        self.request_id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// Answers with a page.
    pub(crate) fn show(&self, page: &impl Template) -> Response {
        self.show_as(StatusCode::OK, page)
    }

    /// Answers with a page and a status.
    pub(crate) fn show_as(&self, status: StatusCode, page: &impl Template) -> Response {
        show_once(&self.site, &self.chrome, status, page)
    }

    /// Sends the browser on, by GET, to one of our paths.
    pub(crate) fn go(&self, path: &str, flash: Option<Flash>) -> Response {
        go(&self.site, path, flash)
    }

    /// What the company is called, for file names.
    pub(crate) fn company(&self) -> Option<&str> {
        self.chrome.company.as_deref()
    }
}

/// Sends a browser on, by GET.
pub(crate) fn go(site: &Site, path: &str, flash: Option<Flash>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    if let Some(flash) = flash {
        set_cookie(&mut response, Cookie::Flash.set(site, flash.as_str()));
    }
    response
}

/// An answer to an address that holds a secret: the browser tells that address to nobody.
pub(crate) fn unreferred(mut response: Response) -> Response {
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Adds a cookie to an answer.
pub(crate) fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Answers with a page, and forgets the sentence about what was done just before.
pub(crate) fn show_once(site: &Site, chrome: &Chrome, status: StatusCode, page: &impl Template) -> Response {
    let mut response = show(chrome, status, page);
    if chrome.flash.is_some() {
        set_cookie(&mut response, Cookie::Flash.clear(site));
    }
    response
}

/// What a page answers.
pub(crate) type Answer = Result<Response, Problem>;

/// A look at a page by somebody who is signed in, as the guard of the route found out.
pub(crate) struct Employee {
    pub(crate) services: Services,
    /// Who.
    pub(crate) person: Person,
    /// The look.
    pub(crate) visit: Visit,
}

impl FromRequestParts<Services> for Employee {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Problem> {
        // Without a guard there is no person: a route that is open to anyone cannot have an employee.
        let person = parts.extensions.get::<Person>().cloned();
        let person = person.ok_or_else(|| Problem::new(Code::Internal, "this route has no guard"))?;
        Ok(Self { services: services.clone(), person, visit: Visit::from_request_parts(parts, services).await? })
    }
}
