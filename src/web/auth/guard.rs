//! Who gets in, and how the others are turned away.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::admin::context::{Inside, Sent};
use crate::api::bearer::name_refused;
use crate::api::download::accepts;
use crate::http::problem::{Code, Problem};
use crate::ui::cookies::Cookie;
use crate::ui::page::{Chrome, Flash, go, set_cookie, show, site_of};
use crate::ui::site::Site;
use domain::ids::RequestId;
use domain::role::Permission;
use services::Services;
use services::identity::logins::{Admin, Use};

/// Sent by the script when a page asks by itself, so that an open page keeps no login alive.
const BY_PAGE: &str = "x-postern-by-page";

/// Lets only people through to the handler who are signed in to the console with a role that holds the right.
pub(crate) async fn guard(
    State((services, permission)): State<(Services, Permission)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let site = site_of(&parts)?;
    let id = parts.extensions.get().copied();
    let Some(admin) = find_admin(&services, &site, &parts.headers, id).await? else {
        return turn_away(&site, &parts);
    };
    let act = admin.act();
    let inside = Inside { admin: admin.clone(), path: parts.uri.path().to_owned() };
    parts.extensions.insert(admin.form_token.clone());
    parts.extensions.insert(act.clone());
    parts.extensions.insert(admin);
    let mut response = match act.require(permission) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => Problem::from(refused).into_response(),
    };
    if response.extensions().get::<Problem>().is_some() {
        response.extensions_mut().insert(inside);
    }
    name_refused(&mut response, act);
    Ok(response)
}

/// Who is signed in to the console, by the login cookie and nothing else.
pub(crate) async fn find_admin(
    services: &Services,
    site: &Site,
    headers: &HeaderMap,
    request_id: Option<RequestId>,
) -> Result<Option<Admin>, Problem> {
    let Some(cookie) = Cookie::Login.read(site, headers) else { return Ok(None) };
    let by = if headers.contains_key(BY_PAGE) { Use::Page } else { Use::Person };
    let found = services.identity().admin(&cookie, by).await?;
    Ok(found.map(|admin| Admin { request_id, ..admin }))
}

fn turn_away(site: &Arc<Site>, parts: &Parts) -> Result<Response, Problem> {
    let headers = &parts.headers;
    if headers.contains_key(BY_PAGE) || !accepts(headers, "text/html") {
        return Err(Problem::new(Code::NoToken, "sign in first"));
    }
    let looks = [Method::GET, Method::HEAD].contains(&parts.method);
    if !looks {
        return Ok(go(site, "/sign-in", Some(Flash::SignInAgain)));
    }
    if headers.get("sec-fetch-site").is_some_and(|from| from == "cross-site") {
        let chrome = Chrome::on(site.surface(), &site.known(), None, None);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        return Ok(hop(&chrome, path));
    }
    Ok(go(site, &format!("/sign-in?return_to={}", parts.uri.path()), None))
}

/// A page that leads on at once.
#[derive(Template)]
#[template(path = "admin/hop.html")]
pub(crate) struct Hop<'a> {
    pub(crate) chrome: &'a Chrome,
    pub(crate) path: &'a str,
}

/// Leads a browser that comes from another site on to one of our paths. It sends a `Strict` cookie only where one of our
/// own pages leads to, so the first page is one that does nothing else.
pub(crate) fn hop(chrome: &Chrome, path: &str) -> Response {
    show(chrome, StatusCode::OK, &Hop { chrome, path })
}

pub(crate) async fn sign_out(Sent { services, desk, .. }: Sent) -> Result<Response, Problem> {
    services.identity().sign_out_admin(&desk.admin).await?;
    let mut response = go(&desk.site, "/sign-in", Some(Flash::ConsoleLeft));
    set_cookie(&mut response, Cookie::Login.clear(&desk.site));
    Ok(response)
}
