//! Why a sign-in did not happen: each reason a page of its own, with the account that was used and whom to ask (UX-10).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::problem::Problem;
use crate::ui::page::{Chrome, Visit};
use services::identity::outcome::SignInRefusal;

/// A refusal.
#[derive(Template)]
#[template(path = "portal/refused.html")]
pub(crate) struct Refused {
    pub(crate) chrome: Chrome,
    pub(crate) title: &'static str,
    pub(crate) reason: String,
    pub(crate) next: Option<&'static str>,
    pub(crate) account: Option<String>,
    pub(crate) ask: bool,
    pub(crate) action: &'static str,
    pub(crate) code: String,
    pub(crate) request_id: String,
}

/// The page of a refusal; refusals that are no page of their own are problems like any other.
pub(crate) fn answer(visit: &Visit, refusal: SignInRefusal) -> Result<Response, Problem> {
    let status = match &refusal {
        SignInRefusal::ProviderAway { .. } | SignInRefusal::NotConfigured => StatusCode::SERVICE_UNAVAILABLE,
        SignInRefusal::Expired | SignInRefusal::Cancelled => StatusCode::BAD_REQUEST,
        SignInRefusal::Provider(_) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::FORBIDDEN,
    };
    let page = Refused::new(visit.chrome.clone(), provider(visit), refusal, visit.request_id())?;
    Ok(visit.show_as(status, &page))
}

fn provider(visit: &Visit) -> &'static str {
    provider_name(visit.facts.is_google)
}

/// What the identity provider is called.
pub(crate) fn provider_name(is_google: bool) -> &'static str {
    if is_google { "Google" } else { "Your company's sign-in" }
}

impl Refused {
    /// The words for a refusal.
    #[expect(clippy::too_many_lines, reason = "one table of words, each row short")]
    pub(crate) fn new(
        chrome: Chrome,
        provider: &str,
        refusal: SignInRefusal,
        request_id: String,
    ) -> Result<Self, Problem> {
        const OTHER: &str = "Use another account";
        const AGAIN: &str = "Try again";
        let company = chrome.company.clone().unwrap_or_else(|| "your company".to_owned());
        let code = refusal.code().unwrap_or_default().to_owned();
        let (title, reason, next, account, ask, action) = match refusal {
            SignInRefusal::WrongCompany { account } => (
                "This account belongs to another company",
                format!("{provider} signed you in, but the account is not one of {company}."),
                Some("Choose your work account."),
                account,
                true,
                OTHER,
            ),
            SignInRefusal::NoHostedDomain { account } => (
                "This is a private account",
                format!("{provider} signed you in, but Postern needs your work account at {company}."),
                Some("Choose your work account."),
                account,
                true,
                OTHER,
            ),
            SignInRefusal::NotVerified { account } => (
                "Your e-mail address is not verified",
                format!(
                    "{provider} has not verified the e-mail address of this account, so Postern cannot rely on it."
                ),
                Some("Verify it in the account's settings, then come back."),
                account,
                true,
                OTHER,
            ),
            SignInRefusal::NotInvited { account } => (
                "You have no access yet",
                "Your account is right, but nobody has given it access to the VPN.".to_owned(),
                None,
                account,
                true,
                OTHER,
            ),
            SignInRefusal::NoRole { account } => (
                "There is no console for this account",
                "Your account is right, but it has no role in the administration of this VPN.".to_owned(),
                Some("An owner or admin can give you one; then sign in again."),
                account,
                true,
                OTHER,
            ),
            SignInRefusal::Disabled { account } => (
                "Your access is switched off",
                "An administrator has disabled this account. Its devices cannot connect.".to_owned(),
                None,
                account,
                true,
                OTHER,
            ),
            SignInRefusal::OtherPerson { account } => (
                "This address belongs to another account",
                "Somebody already signs in here under this e-mail address, with another account. So that nobody takes \
                 over what is not theirs, an administrator has to decide."
                    .to_owned(),
                None,
                account,
                true,
                OTHER,
            ),
            SignInRefusal::Expired => (
                "This sign-in is over",
                "It was begun in another browser, more than ten minutes ago, or it is finished already.".to_owned(),
                None,
                None,
                false,
                "Sign in again",
            ),
            SignInRefusal::Cancelled => (
                "You are not signed in",
                format!("The sign-in was cancelled. {provider} told us nothing about you."),
                None,
                None,
                false,
                AGAIN,
            ),
            SignInRefusal::NotConfigured => (
                "Sign-in is not set up",
                "An administrator has to connect Postern to your company's accounts first.".to_owned(),
                None,
                None,
                true,
                AGAIN,
            ),
            SignInRefusal::ProviderAway { .. } => (
                "Signing in is not possible right now",
                format!("{provider} cannot be reached. VPN connections go on as they are."),
                Some("Try again in a few minutes."),
                None,
                false,
                AGAIN,
            ),
            SignInRefusal::Provider(_) => {
                return Ok(Self {
                    chrome,
                    title: "The sign-in could not be checked",
                    reason: format!("The answer of {provider} cannot be relied on, so nobody was signed in."),
                    next: Some("Try again. If it happens again, tell your administrator the code below."),
                    account: None,
                    ask: false,
                    action: AGAIN,
                    code,
                    request_id,
                });
            }
            SignInRefusal::Unavailable(error) => return Err(error.into()),
        };
        let account = account.map(|email| email.to_string());
        Ok(Self { chrome, title, reason, next, account, ask, action, code, request_id })
    }
}
