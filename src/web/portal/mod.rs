//! The public pages, for employees: sign in, get a profile, see that it works.
//!
//! One file per area; each page is a struct with its template in `templates/portal`, right above the handler that
//! fills it. Handlers ask one service and show what it says; what they say in words stands in the templates. All
//! pages work as plain HTML: the script only keeps a line fresh and writes times in the reader's zone.
//!
//! # Theory of operation
//! A route that needs a sign-in says so in the table; [`signed_in`](crate::auth::signed_in::signed_in) looks the login up before anything else is read,
//! and leaves the person for the handler (`Employee`). Forms come from our own pages only ([`Form`]). A form that
//! changes something answers with a redirect and one of a closed set of sentences ([`Flash`]); a form that makes a
//! profile answers with the file. What goes wrong is a [`Problem`] like anywhere else, which the middleware writes as a
//! page for whoever reads HTML.
//!
//! [`Problem`]: crate::http::problem::Problem
//! [`Form`]: crate::ui::forms::Form
//! [`Flash`]: crate::ui::page::Flash

pub(crate) mod live;
pub(crate) mod my_data;
pub(crate) mod profiles;
pub(crate) mod ready;
pub(crate) mod sessions;
pub(crate) mod status;
pub(crate) mod ticket;

use crate::auth::sign_in;
use crate::http::route::{Access, Route};
use crate::ui::{assets, guides};
use services::Services;

/// The routes of the public listener.
pub(crate) fn routes() -> Vec<Route<Services>> {
    use Access::{Anyone, SignedIn};
    vec![
        Route::get("/", Anyone, profiles::home),
        Route::get("/sign-in", Anyone, sign_in::page),
        Route::post("/sign-in/start", Anyone, sign_in::start),
        Route::get("/oauth/callback", Anyone, sign_in::callback),
        Route::post("/sign-out", SignedIn, sign_in::sign_out),
        Route::get("/profiles/new", SignedIn, ready::new),
        Route::post("/profiles", SignedIn, ready::issue),
        Route::post("/profiles/ticket", SignedIn, ready::ticket),
        Route::get("/profiles/newest", SignedIn, live::newest),
        Route::get("/profiles/{id}", SignedIn, profiles::profile),
        Route::post("/profiles/{id}/rename", SignedIn, profiles::rename),
        Route::post("/profiles/{id}/replace", SignedIn, profiles::replace),
        Route::post("/profiles/{id}/revoke", SignedIn, profiles::revoke),
        Route::get("/sessions", SignedIn, sessions::page),
        Route::post("/sessions/{id}/end", SignedIn, sessions::end_session),
        Route::post("/logins/{id}/end", SignedIn, sessions::end_login),
        Route::post("/logins/end-others", SignedIn, sessions::end_others),
        Route::get("/my-data", SignedIn, my_data::page),
        Route::get("/my-data.json", SignedIn, my_data::json),
        Route::get("/p/{ticket}", Anyone, ticket::look),
        Route::post("/p/{ticket}", Anyone, ticket::redeem),
        Route::get("/help", Anyone, guides::index),
        Route::get("/help/{os}", Anyone, guides::guide),
        Route::get("/status", Anyone, status::page),
        Route::get("/assets/{hash}/{file}", Anyone, assets::asset),
    ]
}
