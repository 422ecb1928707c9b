//! The API of the admin listener, `/api/v1`: the verbs of the services over HTTP, one file per noun.
//!
//! # To add a route
//! Write the handler in its noun's file: extract, one service call, answer. Put it into the table below with the right
//! it takes and one sentence for the API's document. The rest of the document comes from the handler's signature: types
//! in bodies need `derive(ToSchema)`, a new extractor [`Takes`](openapi::Takes), a new form of answer
//! [`Gives`](openapi::Gives); it does not compile without. A write whose verb can be tried
//! ([`Act::tried`](services::Act::tried)) takes `dry_run=true` by `.tried()` behind its line. Then renew the committed copy with `make openapi`, give
//! `tests/it/api_access.rs` a sound body for the route, and say what changed in `CHANGELOG.md`.

mod audit;
mod authorities;
mod events;
mod explain;
mod groups;
mod hosts;
mod jobs;
mod join;
mod join_tokens;
mod migrations;
mod organizations;
mod profile_links;
mod profiles;
mod servers;
mod sessions;
mod settings;
mod tokens;
mod usage;
mod users;

use axum::handler::Handler;

use crate::{
    http::route::{Access, Route},
    openapi::{self, Described, Documented},
};
use domain::role::Permission;
use services::Services;

macro_rules! methods {
    ($($method:ident),*) => {$(
        /// A documented route: what its handler takes and gives is told by its signature.
        fn $method<H, T>(path: &'static str, access: Access, handler: H, summary: &'static str) -> Route<Services>
        where
            H: Handler<T, Services> + Described<T>,
            T: 'static,
        {
            let documented = Documented::new(&handler, summary);
            Route::$method(path, access, handler).documented_as(documented)
        }
    )*};
}

methods!(get, post, put, patch, delete);

/// The routes of the admin listener.
#[expect(clippy::too_many_lines, reason = "one table, each row short")]
pub(crate) fn routes() -> Vec<Route<Services>> {
    use Permission as P;
    let to = Access::Bearer;
    vec![
        get("/api/v1/openapi.json", Access::Anyone, openapi::show, "Show this document"),
        get("/api/v1/organizations", to(P::Read), organizations::list, "List organizations"),
        post("/api/v1/organizations", to(P::ManageOrganizations), organizations::create, "Make an organization")
            .tried(),
        get("/api/v1/organizations/{id}", to(P::Read), organizations::show, "Show an organization"),
        patch(
            "/api/v1/organizations/{id}",
            to(P::ManageOrganizations),
            organizations::update,
            "Rename an organization",
        )
        .tried(),
        delete(
            "/api/v1/organizations/{id}",
            to(P::ManageOrganizations),
            organizations::delete,
            "Delete an organization without users and servers",
        )
        .tried(),
        get("/api/v1/users", to(P::Read), users::list, "List users"),
        post("/api/v1/users", to(P::ManageUsers), users::create, "Make a user").tried(),
        post("/api/v1/users/bulk", to(P::ManageUsers), users::import, "Make many users from a list"),
        get("/api/v1/users/{id}", to(P::Read), users::show, "Show a user"),
        patch("/api/v1/users/{id}", to(P::ManageUsers), users::update, "Change, disable or enable a user").tried(),
        delete("/api/v1/users/{id}", to(P::ManageUsers), users::delete, "Delete a user with all profiles").tried(),
        post(
            "/api/v1/users/{id}/profiles",
            to(P::ManageUsers),
            profiles::issue,
            "Issue a profile; the answer holds its only copy",
        ),
        post(
            "/api/v1/users/{id}/profile-links",
            to(P::ManageUsers),
            profile_links::create,
            "Make a one-time link with which a user gets a profile",
        ),
        post("/api/v1/users/{id}/sessions/end", to(P::EndSessions), users::end_sessions, "End all sessions of a user"),
        post(
            "/api/v1/users/{id}/logins/end",
            to(P::ManageUsers),
            users::end_logins,
            "Sign a user out in every browser",
        ),
        get("/api/v1/groups", to(P::Read), groups::list, "List groups"),
        get("/api/v1/groups/{id}", to(P::Read), groups::show, "Show a group"),
        patch("/api/v1/groups/{id}", to(P::ManageUsers), groups::update, "Rename a group, wherever it is named"),
        delete("/api/v1/groups/{id}", to(P::ManageUsers), groups::delete, "Take everybody out of a group"),
        post(
            "/api/v1/groups/{id}/users",
            to(P::ManageUsers),
            groups::members,
            "Put users into a group and take users out of it",
        ),
        get("/api/v1/profiles", to(P::Read), profiles::list, "List profiles"),
        get("/api/v1/profiles/{id}", to(P::Read), profiles::show, "Show a profile"),
        post(
            "/api/v1/profiles/{id}/revoke",
            to(P::ManageUsers),
            profiles::revoke,
            "Revoke a profile for good and end its session",
        ),
        get("/api/v1/servers", to(P::Read), servers::list, "List servers"),
        post("/api/v1/servers", to(P::ManageServers), servers::create, "Make a server").tried(),
        get("/api/v1/servers/{id}", to(P::Read), servers::show, "Show a server"),
        patch("/api/v1/servers/{id}", to(P::ManageServers), servers::update, "Change a server").tried(),
        delete("/api/v1/servers/{id}", to(P::ManageServers), servers::delete, "Delete a server without attached hosts")
            .tried(),
        get("/api/v1/servers/{id}/hosts", to(P::Read), servers::hosts, "List the hosts of a server"),
        put("/api/v1/servers/{id}/hosts/{host_id}", to(P::ManageServers), servers::attach, "Attach a host to a server")
            .tried(),
        delete(
            "/api/v1/servers/{id}/hosts/{host_id}",
            to(P::ManageServers),
            servers::detach,
            "Detach a host from a server",
        )
        .tried(),
        get("/api/v1/servers/{id}/key", to(P::Read), servers::key, "Show what is known about the key of a server"),
        post(
            "/api/v1/servers/{id}/rotate",
            to(P::ManageServers),
            servers::rotate,
            "Give a server another key and revoke its profiles",
        ),
        get("/api/v1/hosts", to(P::Read), hosts::list, "List hosts"),
        get("/api/v1/hosts/{id}", to(P::Read), hosts::show, "Show a host"),
        patch("/api/v1/hosts/{id}", to(P::ManageHosts), hosts::update, "Change a host"),
        delete("/api/v1/hosts/{id}", to(P::ManageHosts), hosts::delete, "Remove a host for good").tried(),
        get("/api/v1/hosts/{id}/removal", to(P::Read), hosts::removal, "Show what removing a host would mean"),
        post(
            "/api/v1/hosts/{id}/drain",
            to(P::ManageHosts),
            hosts::drain,
            "Take a host out of service within a time budget",
        )
        .tried(),
        post("/api/v1/hosts/{id}/resume", to(P::ManageHosts), hosts::resume, "Take a host back into service"),
        get("/api/v1/join-tokens", to(P::Read), join_tokens::list, "List join tokens"),
        post("/api/v1/join-tokens", to(P::ManageHosts), join_tokens::create, "Invite a machine to become a host"),
        get("/api/v1/join-tokens/{id}", to(P::Read), join_tokens::show, "Show a join token and what came of it"),
        delete("/api/v1/join-tokens/{id}", to(P::ManageHosts), join_tokens::withdraw, "Withdraw a join token"),
        // The token in the body is what lets a machine in.
        post("/api/v1/join", Access::Anyone, join::redeem, "Become a host, with a join token"),
        post("/api/v1/join/checks", Access::Anyone, join::report, "Report what a machine found out about itself"),
        get("/api/v1/sessions", to(P::Read), sessions::list, "List live sessions"),
        post("/api/v1/sessions/{id}/end", to(P::EndSessions), sessions::end, "End a session"),
        get("/api/v1/explain", to(P::Read), explain::show, "Explain whether and how somebody reaches a destination"),
        get("/api/v1/events", to(P::Read), events::follow, "Follow what happens in the cluster"),
        get("/api/v1/audit", to(P::ReadAudit), audit::list, "Read the audit trail"),
        get("/api/v1/tokens", to(P::Read), tokens::list, "List API tokens"),
        post(
            "/api/v1/tokens",
            to(P::ManageTokens),
            tokens::create,
            "Make an API token; the answer holds its only copy",
        ),
        get("/api/v1/tokens/{id}", to(P::Read), tokens::show, "Show an API token"),
        delete("/api/v1/tokens/{id}", to(P::ManageTokens), tokens::revoke, "Revoke an API token"),
        get("/api/v1/authorities", to(P::Read), authorities::list, "List the certificate authorities"),
        get("/api/v1/migrations", to(P::Read), migrations::list, "List the migrations of the database"),
        get("/api/v1/usage", to(P::Read), usage::show, "Show how busy the cluster was"),
        get("/api/v1/audit/export", to(P::ReadAudit), audit::export, "Export the audit trail as JSON Lines"),
        get("/api/v1/audit/key", to(P::ReadAudit), audit::key, "Show the key that signs for the audit trail"),
        get("/api/v1/jobs", to(P::Read), jobs::list, "List periodic jobs and what came of their last runs"),
        post("/api/v1/jobs/{id}/run", to(P::ManageSettings), jobs::run, "Ask for a run of a job as soon as possible"),
        get("/api/v1/settings", to(P::ManageSettings), settings::show, "Show the settings"),
        patch("/api/v1/settings", to(P::ManageSettings), settings::update, "Change the settings"),
    ]
}
pub(crate) mod answer;
pub(crate) mod bearer;
pub(crate) mod download;
pub(crate) mod extract;
pub(crate) mod idempotency;
