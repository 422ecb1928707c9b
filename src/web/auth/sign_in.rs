//! Signing in, to either site, and out of the portal.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;

use crate::admin::cluster::settings::answer_test;
use crate::auth::guard::hop;
use crate::auth::refused;
use crate::auth::refused::provider_name;
use crate::ui::page::{Answer, set_cookie, unreferred};
use crate::ui::{Chrome, Cookie, Flash, Form, Pressed, Visit, When};
use domain::command_line::CommandLine;
use domain::login::{ReturnPath, Surface};
use services::identity::outcome::{CallbackAnswer, CameBack};

/// The sign-in page.
#[derive(Template)]
#[template(path = "portal/sign_in.html")]
pub(crate) struct SignInPage {
    pub(crate) chrome: Chrome,
    pub(crate) state: SignInState,
    pub(crate) provider: &'static str,
    pub(crate) is_google: bool,
    pub(crate) return_to: String,
    /// How commands are called on this machine.
    pub(crate) command_line: CommandLine,
}

/// Whether people can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignInState {
    /// They can; or could, if the provider were not away since then.
    Open(Option<When>),
    /// Nobody has set it up.
    NotSetUp,
    /// That is not known: the database is away.
    Unknown,
}

impl SignInPage {
    /// The page as things are.
    pub(crate) fn new(visit: &Visit, return_to: &ReturnPath) -> Self {
        let facts = &visit.facts;
        let state = match (&facts.issuer, visit.facts_known) {
            (Some(_), _) => SignInState::Open(facts.away_since.map(|since| When::new(since, visit.now))),
            (None, true) => SignInState::NotSetUp,
            (None, false) => SignInState::Unknown,
        };
        Self {
            chrome: visit.chrome.clone(),
            state,
            provider: provider_name(facts.is_google),
            is_google: facts.is_google,
            return_to: return_to.as_str().to_owned(),
            command_line: visit.site.command_line().clone(),
        }
    }

    fn again(&self) -> String {
        format!("/sign-in?return_to={}", self.return_to)
    }

    /// The status that goes with it.
    pub(crate) fn status(&self) -> StatusCode {
        if self.state == SignInState::Unknown { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }
}

/// The value of a parameter that is there once.
fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned());
    values.next().filter(|_| values.next().is_none())
}

pub(crate) async fn page(visit: Visit, uri: Uri) -> Response {
    let return_to: ReturnPath = parameter(&uri, "return_to").and_then(|path| path.parse().ok()).unwrap_or_default();
    if let Ok(Some(_)) = visit.person() {
        return visit.go(return_to.as_str(), None);
    }
    let page = SignInPage::new(&visit, &return_to);
    visit.show_as(page.status(), &page)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartForm {
    #[serde(default)]
    return_to: String,
}

pub(crate) async fn start(visit: Visit, Form(form): Form<StartForm>) -> Answer {
    let return_to = form.return_to.parse().unwrap_or_default();
    match visit.services.identity().start_sign_in(visit.site.surface(), return_to, &visit.browser()).await {
        Ok(begun) => {
            let mut response = visit.go(&begun.redirect, None);
            set_cookie(&mut response, Cookie::SignIn.set(&visit.site, begun.cookie.expose()));
            Ok(response)
        }
        Err(refusal) => refused::answer(&visit, refusal),
    }
}

pub(crate) async fn callback(visit: Visit, uri: Uri) -> Answer {
    let answer = CallbackAnswer {
        state: parameter(&uri, "state"),
        code: parameter(&uri, "code"),
        iss: parameter(&uri, "iss"),
        error: parameter(&uri, "error"),
    };
    let (identity, surface, cookie) = (visit.services.identity(), visit.site.surface(), visit.cookie(Cookie::SignIn));
    let came_back = identity.complete_sign_in(surface, &answer, cookie.as_deref(), &visit.browser()).await;
    let mut response = match came_back {
        Ok(CameBack::Tested(test)) => answer_test(&visit, *test),
        Ok(CameBack::SignedIn(done)) => {
            let mut response = match surface {
                Surface::Portal => {
                    end_replaced(&visit).await;
                    visit.go(done.return_to.as_str(), None)
                }
                // The browser comes from another site, so it would not send the cookie along a redirect.
                Surface::Console => hop(&visit.chrome, done.return_to.as_str()),
            };
            set_cookie(&mut response, Cookie::Login.set(&visit.site, done.cookie.expose()));
            response
        }
        Err(refusal) => refused::answer(&visit, refusal)?,
    };
    set_cookie(&mut response, Cookie::SignIn.clear(&visit.site));
    // The code and the state stand in this page's address.
    Ok(unreferred(response))
}

/// The login that this browser had until now is over: nobody holds two of one browser.
async fn end_replaced(visit: &Visit) {
    let Some(cookie) = visit.cookie(Cookie::Login) else { return };
    let ended = match visit.services.identity().person(&cookie).await {
        Ok(Some(person)) => visit.services.identity().sign_out(&person).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::warn!(
            event = "login.kept",
            error = &error as &dyn std::error::Error,
            "a login that was replaced lives on until it expires"
        );
    }
}

pub(crate) async fn sign_out(Pressed { services, person, visit }: Pressed) -> Answer {
    services.identity().sign_out(&person).await?;
    let mut response = visit.go("/sign-in", Some(Flash::SignedOut));
    set_cookie(&mut response, Cookie::Login.clear(&visit.site));
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}
