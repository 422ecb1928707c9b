//! What guards the pages of employees.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::api::download::accepts;
use crate::http::problem::{Code, Problem};
use crate::ui::page::{Flash, find_person, go, site_of};
use services::Services;

/// Lets only people who are signed in through to the handler; others are sent to the sign-in page and, if they were
/// only looking, back here afterwards.
pub(crate) async fn signed_in(
    State(services): State<Services>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let site = site_of(&parts)?;
    if let Some(person) = find_person(&services, &site, &parts).await? {
        parts.extensions.insert(person.form_token.clone());
        parts.extensions.insert(person);
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    if accepts(&parts.headers, "application/json") {
        return Ok(Problem::new(Code::NoToken, "sign in first").into_response());
    }
    let site: &Arc<_> = &site;
    Ok(match parts.method {
        Method::GET | Method::HEAD => go(site, &format!("/sign-in?return_to={}", parts.uri.path()), None),
        _ => go(site, "/sign-in", Some(Flash::SignInAgain)),
    })
}
