//! The page of an owner link: a GET shows it, a POST from it spends the link. Whoever looks ahead spends nothing.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;

use crate::http::problem::found;
use crate::ui::page::{Answer, set_cookie, unreferred};
use crate::ui::{Chrome, Cookie, Empty, Form, Visit, When};
use domain::command_line::CommandLine;
use domain::secret::Secret;
use services::identity::logins::Use;

/// The page.
#[derive(Template)]
#[template(path = "admin/owner_link.html")]
pub(crate) struct OwnerLinkPage {
    pub(crate) chrome: Chrome,
    /// What the link ends in and until when it is good; nothing if it is not.
    pub(crate) link: Option<(String, When)>,
    /// How commands are called on this machine.
    pub(crate) command_line: CommandLine,
}

impl OwnerLinkPage {
    fn new(visit: &Visit, link: Option<(String, When)>) -> Self {
        Self { chrome: visit.chrome.clone(), link, command_line: visit.site.command_line().clone() }
    }
}

pub(crate) async fn look(visit: Visit, Path(secret): Path<String>) -> Answer {
    let secret = Secret::new(secret);
    let until = found(visit.services.identity().look_at_owner_link(secret.expose(), &visit.browser()).await)?;
    let link = until.map(|until| (secret.expose().clone(), When::new(until, visit.now)));
    let status = if link.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok(unreferred(visit.show_as(status, &OwnerLinkPage::new(&visit, link))))
}

pub(crate) async fn redeem(visit: Visit, Path(secret): Path<String>, Form(Empty {}): Form<Empty>) -> Answer {
    let (identity, secret) = (visit.services.identity(), Secret::new(secret));
    let Some(cookie) = found(identity.redeem_owner_link(secret.expose(), &visit.browser()).await)? else {
        return Ok(unreferred(visit.show_as(StatusCode::NOT_FOUND, &OwnerLinkPage::new(&visit, None))));
    };
    // The login that this browser had until now is over: nobody holds two of one browser.
    if let Some(before) = visit.cookie(Cookie::Login)
        && let Some(admin) = identity.admin(&before, Use::Page).await?
    {
        identity.sign_out_admin(&admin).await?;
    }
    let mut response = visit.go("/", None);
    set_cookie(&mut response, Cookie::Login.set(&visit.site, cookie.expose()));
    Ok(unreferred(response))
}
