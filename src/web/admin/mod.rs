//! The console: pages for whoever runs the cluster, on the admin listener beside the API.
//!
//! # How to add a page
//! A noun has one file here (`organizations.rs` is the pattern) and its templates in `templates/admin`.
//!
//! 1. **Service.** A page says nothing that the API could not say: ask a verb of [`services`], with `&desk.act`.
//!    A list costs a number of queries that does not depend on its rows.
//! 2. **List.** Implement [`List`] for the row that the service gives: title, columns (each says what it shows of a row
//!    and whether an index lets the list be ordered by it), what is said where there is none, and what a file of the list
//!    holds; and [`Paged`] for how it is read. The routes are `lists::list::<Row>` and `lists::export::<Row, Csv>`; a page
//!    with more than a list has a template of its own and shows [`Rows`]. Every other table is a [`Table`] of columns.
//! 3. **Page.** A struct with its template. It borrows the [`context::Desk`] (`desk: &'a Desk`), which is what surrounds it, and
//!    holds what it shows as parts that write themselves: [`Chip`], [`When`], [`Link`], [`Table`]. The template extends
//!    `admin/layout.html` and fills `title`, `head` (state and the one primary action) and `content`. The page
//!    of one thing offers what it shows and does as [`commands`]; its id implements [`Noun`](nouns::Noun), so that its route
//!    is `nouns::show::<Id>` and its forms lead back to it. Where a new one has a page of its own, the id implements
//!    [`New`](nouns::New) as well.
//! 4. **Handlers.** Take [`context::Opened`] for a page and [`context::Sent`] for a form, `At(id)` and `Query<…>` as the API
//!    does. A [form](crate::ui::form) reads typed values and gathers what is wrong by field; the page is then shown again
//!    with status 422 and everything that was typed. What was done answers with `desk.go(&link, Flash::…)`; `id.after(…)` chooses between the two. What people
//!    notice is shown by a [`preview`](crate::ui::preview) first. A stale edit shows both versions
//!    ([`conflict`](crate::ui::conflict)), and what the person typed stays in the form: nothing is ever overwritten unseen.
//! 5. **Routes.** One line each in [`routes`], with the permission that it takes: the guard asks nothing else. A POST to
//!    `/things` makes, to `/things/{id}` changes, to `/things/{id}/delete` deletes. The walk over every route and role
//!    in `tests/it/console_access.rs` finds new ones by itself; give it a body there if the form needs one.
//! 6. **Navigation.** One line in [`context::NAV`], and the first part of the path in `domain/login.rs`, `PAGES`.
//! 7. **Live.** What should keep itself fresh stands in `<div id="…" data-part>`, and the page says what it depends on:
//!    `desk.live = &[Topic::Policy]`. The script then asks for the page again when the bus tells of such a change and
//!    swaps these parts. Without script there is the link "Refresh".
//! 8. **Samples.** Every state of the page in `tests/samples`: they are checked for HTML, for
//!    accessibility in light and dark, and for narrow screens, with decent names and with hostile ones.
//!
//! # Theory of operation
//! [`guard::guard`] reads the login's cookie, and with it, in the same round trip, the user and the role as they are at
//! this moment (SEC-SESS-05). It leaves the act, the token that forms must carry and who it is for the extractors. The
//! cookie is `SameSite=Strict`, so a link from elsewhere arrives without it; the answer to that is a page that leads
//! on to the same address, which then counts as ours ([`guard::hop`]). Problems are shown inside of the frame as well.
//!
//! [`List`]: lists::List
//! [`Paged`]: lists::Paged
//! [`Rows`]: lists::Rows
//! [`Table`]: crate::ui::table::Table
//! [`Chip`]: crate::ui::parts::Chip
//! [`When`]: crate::ui::parts::When
//! [`Link`]: crate::ui::links::Link

pub(crate) mod access;
pub(crate) mod cluster;
mod commands;
pub(crate) mod evidence;
pub(crate) mod hosts;
pub(crate) mod identity;
pub(crate) mod lists;
pub(crate) mod live;
pub(crate) mod network;
pub(crate) mod nouns;
pub(crate) mod people;
pub(crate) mod trouble;

use crate::admin::identity::tokens::TokenRow;
use crate::auth::{guard, owner_link, sign_in};
use crate::http::route::{Access, Route};
use crate::ui::assets;
use crate::ui::export::{Csv, Json};
use domain::group::GroupId;
use domain::ids::{HostId, JoinTokenId, OrganizationId, ServerId, TokenId, UserId};
use domain::role::Permission;
use services::Services;
use services::hosts::rows::HostRow;
use services::network::server_view::ServerRow;
use services::people::organizations::OrganizationRow;
use services::people::views::{SessionRow, UserRow};

/// The routes of the console.
pub(crate) fn routes() -> Vec<Route<Services>> {
    use Permission as P;
    let to = Access::Console;
    vec![
        Route::get("/sign-in", Access::Anyone, sign_in::page),
        Route::post("/sign-in/start", Access::Anyone, sign_in::start),
        Route::get("/oauth/callback", Access::Anyone, sign_in::callback),
        Route::get("/owner-link/{secret}", Access::Anyone, owner_link::look),
        Route::post("/owner-link/{secret}", Access::Anyone, owner_link::redeem),
        Route::get("/assets/{hash}/{file}", Access::Anyone, assets::asset),
        Route::post("/sign-out", to(P::Read), guard::sign_out),
        Route::get("/live", to(P::Read), live::stream),
        Route::get("/", to(P::Read), cluster::overview::show),
        Route::get("/organizations", to(P::Read), lists::list::<OrganizationRow>),
        Route::post("/organizations", to(P::ManageOrganizations), people::organizations::create),
        Route::get("/organizations/new", to(P::ManageOrganizations), people::organizations::new),
        Route::get("/organizations/{id}", to(P::Read), nouns::show::<OrganizationId>),
        Route::post("/organizations/{id}", to(P::ManageOrganizations), people::organizations::update),
        Route::get("/audit", to(P::ReadAudit), evidence::audit::list),
        Route::get("/audit/export", to(P::ReadAudit), evidence::audit::export),
        Route::get("/jobs", to(P::Read), cluster::jobs::list),
        Route::post("/jobs/{id}/run", to(P::ManageSettings), cluster::jobs::run),
        Route::post("/organizations/{id}/delete", to(P::ManageOrganizations), people::organizations::delete),
        Route::get("/tokens", to(P::Read), lists::list::<TokenRow>),
        Route::post("/tokens", to(P::ManageTokens), identity::tokens::create),
        Route::get("/tokens/new", to(P::ManageTokens), nouns::new::<TokenId>),
        Route::post("/tokens/{id}/revoke", to(P::ManageTokens), identity::tokens::revoke),
        Route::get("/authorities", to(P::Read), network::authorities::list),
        Route::get("/migrations", to(P::Read), cluster::migrations::list),
        Route::get("/hosts", to(P::Read), hosts::list::list),
        Route::get("/hosts/export", to(P::Read), lists::export::<HostRow, Csv>),
        Route::get("/hosts/export.json", to(P::Read), lists::export::<HostRow, Json>),
        Route::get("/hosts/join", to(P::ManageHosts), nouns::new::<JoinTokenId>),
        Route::post("/hosts/join", to(P::ManageHosts), hosts::invitations::create),
        Route::get("/hosts/join/{id}", to(P::Read), hosts::invitations::show),
        Route::post("/hosts/join/{id}/withdraw", to(P::ManageHosts), hosts::invitations::withdraw),
        Route::get("/hosts/{id}", to(P::Read), nouns::show::<HostId>),
        Route::post("/hosts/{id}", to(P::ManageHosts), hosts::list::update),
        Route::post("/hosts/{id}/drain", to(P::ManageHosts), hosts::acts::drain),
        Route::post("/hosts/{id}/resume", to(P::ManageHosts), hosts::acts::resume),
        Route::post("/hosts/{id}/attach", to(P::ManageServers), network::attaching::attach_host),
        Route::post("/hosts/{id}/detach", to(P::ManageServers), network::attaching::detach_host),
        Route::post("/hosts/{id}/delete", to(P::ManageHosts), hosts::acts::delete),
        Route::get("/servers", to(P::Read), lists::list::<ServerRow>),
        Route::get("/servers/export", to(P::Read), lists::export::<ServerRow, Csv>),
        Route::get("/servers/export.json", to(P::Read), lists::export::<ServerRow, Json>),
        Route::post("/servers", to(P::ManageServers), network::servers::create),
        Route::get("/servers/new", to(P::ManageServers), network::servers::new),
        Route::get("/servers/{id}", to(P::Read), nouns::show::<ServerId>),
        Route::post("/servers/{id}", to(P::ManageServers), network::servers::update),
        Route::get("/servers/{id}/edit", to(P::ManageServers), network::servers::edit),
        Route::post("/servers/{id}/delete", to(P::ManageServers), network::servers::delete),
        Route::post("/servers/{id}/hosts", to(P::ManageServers), network::attaching::attach_to_server),
        Route::post(
            "/servers/{id}/hosts/{host_id}/detach",
            to(P::ManageServers),
            network::attaching::detach_from_server,
        ),
        Route::get("/settings", to(P::ManageSettings), cluster::settings::show),
        Route::post("/settings", to(P::ManageSettings), cluster::settings::update),
        Route::get("/setup", to(P::ManageSettings), cluster::setup::show),
        Route::post("/setup", to(P::ManageSettings), cluster::setup::take),
        Route::post("/settings/test", to(P::ManageSettings), cluster::settings::start_test),
        Route::get("/groups", to(P::Read), people::groups::list),
        Route::get("/groups/export", to(P::Read), people::groups::export::<Csv>),
        Route::get("/groups/export.json", to(P::Read), people::groups::export::<Json>),
        Route::post("/groups", to(P::ManageUsers), people::groups::create),
        Route::get("/groups/new", to(P::ManageUsers), nouns::new::<GroupId>),
        Route::get("/groups/{id}", to(P::Read), nouns::show::<GroupId>),
        Route::post("/groups/{id}", to(P::ManageUsers), people::groups::rename),
        Route::post("/groups/{id}/delete", to(P::ManageUsers), people::groups::delete),
        Route::post("/groups/{id}/users", to(P::ManageUsers), people::groups::add),
        Route::post("/groups/{id}/users/{user_id}/remove", to(P::ManageUsers), people::groups::remove),
        Route::get("/sessions", to(P::Read), access::sessions::list),
        Route::get("/sessions/export", to(P::Read), lists::export::<SessionRow, Csv>),
        Route::get("/sessions/export.json", to(P::Read), lists::export::<SessionRow, Json>),
        Route::post("/sessions/{id}/end", to(P::EndSessions), access::sessions::end),
        Route::get("/explain", to(P::Read), access::explain::show),
        Route::get("/users", to(P::Read), people::users::list::list),
        Route::post("/users", to(P::ManageUsers), people::users::sheet::create),
        Route::get("/users/new", to(P::ManageUsers), nouns::new::<UserId>),
        Route::get("/users/export", to(P::Read), lists::export::<UserRow, Csv>),
        Route::get("/users/export.json", to(P::Read), lists::export::<UserRow, Json>),
        Route::get("/users/import", to(P::ManageUsers), people::users::import::form),
        Route::post("/users/import", to(P::ManageUsers), people::users::import::run),
        Route::get("/users/{id}", to(P::Read), nouns::show::<UserId>),
        Route::post("/users/{id}", to(P::ManageUsers), people::users::sheet::update),
        Route::post("/users/{id}/disable", to(P::ManageUsers), people::users::sheet::disable),
        Route::post("/users/{id}/enable", to(P::ManageUsers), people::users::sheet::enable),
        Route::post("/users/{id}/delete", to(P::ManageUsers), people::users::sheet::delete),
        Route::post("/users/{id}/profile-links", to(P::ManageUsers), people::users::link::link),
        Route::post("/users/{id}/profiles/{profile_id}/revoke", to(P::ManageUsers), people::users::sheet::revoke),
        Route::post("/users/{id}/sessions/{session_id}/end", to(P::EndSessions), people::users::sheet::end_session),
        Route::post("/users/{id}/sessions/end", to(P::EndSessions), people::users::sheet::end_sessions),
        Route::post("/users/{id}/logins/end", to(P::ManageUsers), people::users::sheet::end_logins),
    ]
}
pub(crate) mod context;
