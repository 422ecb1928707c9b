//! Why a sign-in did not happen: each reason a page of its own, with the account that was used and whom to ask (UX-10).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::problem::Problem;
use crate::ui::{Chrome, Visit};
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
    let provider = provider_name(visit.facts.is_google);
    let page = Refused::new(visit.chrome.clone(), provider, refusal, visit.request_id())?;
    Ok(visit.show_as(status, &page))
}

/// What the identity provider is called.
pub(crate) fn provider_name(is_google: bool) -> &'static str {
    if is_google { "Google" } else { "Your company's sign-in" }
}

impl Refused {
    /// The words for a refusal.
    ///
    /// # Errors
    /// Where nobody was refused, but something failed.
    pub(crate) fn new(
        chrome: Chrome,
        provider: &str,
        refusal: SignInRefusal,
        request_id: String,
    ) -> Result<Self, Problem> {
        const CHOOSE: Option<&str> = Some("Choose your work account.");
        let company = chrome.company.clone().unwrap_or_else(|| "your company".to_owned());
        let code = refusal.code().unwrap_or_default().to_owned();
        // What is wrong with an account is for somebody to put right, and another account may be the right one.
        let (account, ask, action) = match &refusal {
            SignInRefusal::WrongCompany { account }
            | SignInRefusal::NoHostedDomain { account }
            | SignInRefusal::NotVerified { account }
            | SignInRefusal::NotInvited { account }
            | SignInRefusal::NoRole { account }
            | SignInRefusal::Disabled { account }
            | SignInRefusal::OtherPerson { account } => (account.clone(), true, "Use another account"),
            SignInRefusal::Expired => (None, false, "Sign in again"),
            SignInRefusal::NotConfigured => (None, true, "Try again"),
            SignInRefusal::Cancelled
            | SignInRefusal::ProviderAway { .. }
            | SignInRefusal::Provider(_)
            | SignInRefusal::Unavailable(_) => (None, false, "Try again"),
        };
        let (title, reason, next) = match refusal {
            SignInRefusal::WrongCompany { .. } => (
                "This account belongs to another company",
                format!("{provider} signed you in, but the account is not one of {company}."),
                CHOOSE,
            ),
            SignInRefusal::NoHostedDomain { .. } => (
                "This is a private account",
                format!("{provider} signed you in, but Postern needs your work account at {company}."),
                CHOOSE,
            ),
            SignInRefusal::NotVerified { .. } => (
                "Your e-mail address is not verified",
                format!(
                    "{provider} has not verified the e-mail address of this account, so Postern cannot rely on it."
                ),
                Some("Verify it in the account's settings, then come back."),
            ),
            SignInRefusal::NotInvited { .. } => (
                "You have no access yet",
                "Your account is right, but nobody has given it access to the VPN.".to_owned(),
                None,
            ),
            SignInRefusal::NoRole { .. } => (
                "There is no console for this account",
                "Your account is right, but it has no role in the administration of this VPN.".to_owned(),
                Some("An owner or admin can give you one; then sign in again."),
            ),
            SignInRefusal::Disabled { .. } => (
                "Your access is switched off",
                "An administrator has disabled this account. Its devices cannot connect.".to_owned(),
                None,
            ),
            SignInRefusal::OtherPerson { .. } => (
                "This address belongs to another account",
                "Somebody already signs in here under this e-mail address, with another account. So that nobody takes \
                 over what is not theirs, an administrator has to decide."
                    .to_owned(),
                None,
            ),
            SignInRefusal::Expired => (
                "This sign-in is over",
                "It was begun in another browser, more than ten minutes ago, or it is finished already.".to_owned(),
                None,
            ),
            SignInRefusal::Cancelled => (
                "You are not signed in",
                format!("The sign-in was cancelled. {provider} told us nothing about you."),
                None,
            ),
            SignInRefusal::NotConfigured => (
                "Sign-in is not set up",
                "An administrator has to connect Postern to your company's accounts first.".to_owned(),
                None,
            ),
            SignInRefusal::ProviderAway { .. } => (
                "Signing in is not possible right now",
                format!("{provider} cannot be reached. VPN connections go on as they are."),
                Some("Try again in a few minutes."),
            ),
            SignInRefusal::Provider(_) => (
                "The sign-in could not be checked",
                format!("The answer of {provider} cannot be relied on, so nobody was signed in."),
                Some("Try again. If it happens again, tell your administrator the code below."),
            ),
            SignInRefusal::Unavailable(error) => return Err(error.into()),
        };
        let account = account.map(|email| email.to_string());
        Ok(Self { chrome, title, reason, next, account, ask, action, code, request_id })
    }
}
