//! What went wrong, as a page inside of the frame: who is signed in keeps the way to everything else.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;

use crate::admin::context::{Desk, Inside, account};
use crate::auth::trouble::Words;
use crate::http::problem::Problem;
use crate::ui::page::{Chrome, show};
use crate::ui::site::Site;
use domain::ids::RequestId;
use domain::login::Surface;

/// A problem for people who are signed in.
#[derive(Template)]
#[template(path = "admin/trouble.html")]
pub(crate) struct TroublePage<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) words: Words,
    pub(crate) request_id: String,
}

/// A problem as a page. It asks nobody, since the database may be what is wrong.
pub(crate) fn page(site: &Arc<Site>, inside: Inside, problem: &Problem, id: RequestId, now: Timestamp) -> Response {
    let chrome = Chrome::on(Surface::Console, &site.known(), Some(account(&inside.admin)), None);
    let desk = &Desk::new(Arc::clone(site), inside.admin, chrome, &inside.path, now);
    let page = TroublePage { desk, words: Words::of(problem, Surface::Console), request_id: id.to_string() };
    show(&desk.chrome, problem.code().status(), &page)
}
