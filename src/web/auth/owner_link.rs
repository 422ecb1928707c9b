//! The page of an owner link: a GET shows it, a POST from it spends the link. Whoever looks ahead spends nothing.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::http::problem::Problem;
use crate::ui::page::set_cookie;
use crate::ui::{Chrome, Cookie, Empty, Form, Visit, When};
use domain::command_line::CommandLine;
use domain::secret::Secret;
use services::identity::logins::Use;
use services::{ServiceError, Services};

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

    fn gone(visit: &Visit) -> Response {
        visit.show_as(StatusCode::NOT_FOUND, &Self::new(visit, None))
    }
}

pub(crate) async fn look(
    State(services): State<Services>,
    visit: Visit,
    Path(secret): Path<String>,
) -> Result<Response, Problem> {
    let secret = Secret::new(secret);
    let response = match services.identity().look_at_owner_link(secret.expose(), &visit.browser()).await {
        Ok(until) => {
            let link = Some((secret.expose().clone(), When::new(until, visit.now)));
            visit.show(&OwnerLinkPage::new(&visit, link))
        }
        Err(ServiceError::NotFound(_)) => OwnerLinkPage::gone(&visit),
        Err(error) => return Err(error.into()),
    };
    Ok(unreferred(response))
}

pub(crate) async fn redeem(
    State(services): State<Services>,
    visit: Visit,
    Path(secret): Path<String>,
    headers: HeaderMap,
    Form(Empty {}): Form<Empty>,
) -> Result<Response, Problem> {
    let secret = Secret::new(secret);
    let response = match services.identity().redeem_owner_link(secret.expose(), &visit.browser()).await {
        Ok(cookie) => {
            // The login that this browser had until now is over: nobody holds two of one browser.
            if let Some(before) = Cookie::Login.read(&visit.site, &headers)
                && let Some(admin) = services.identity().admin(&before, Use::Page).await?
            {
                services.identity().sign_out_admin(&admin).await?;
            }
            let mut response = visit.go("/", None);
            set_cookie(&mut response, Cookie::Login.set(&visit.site, cookie.expose()));
            response
        }
        Err(ServiceError::NotFound(_)) => OwnerLinkPage::gone(&visit),
        Err(error) => return Err(error.into()),
    };
    Ok(unreferred(response))
}

/// The secret stands in this address, so it is told to nobody.
fn unreferred(mut response: Response) -> Response {
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
