//! The public listener, for employees.

use askama::Template;
use axum::{
    http::{HeaderName, header},
    response::{Html, IntoResponse, Response},
};

use super::{
    problem::{Code, Problem},
    route::{Access, Route},
};

/// The routes of the public listener.
pub(super) fn routes() -> Vec<Route<()>> {
    vec![Route::get("/", Access::Anyone, home)]
}

/// What an employee finds before sign-in is set up.
#[derive(Template)]
#[template(path = "portal/home.html")]
struct Home;

async fn home() -> Response {
    page(&Home)
}

/// SEC-HDR-01 for pages without scripts: nothing runs, nothing is framed, forms lead home.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self' https://accounts.google.com; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'";

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let headers: [(HeaderName, &str); 1] = [(header::CONTENT_SECURITY_POLICY, POLICY)];
            (headers, Html(html)).into_response()
        }
        Err(_broken) => Problem::new(Code::Internal, "the page could not be written").into_response(),
    }
}
