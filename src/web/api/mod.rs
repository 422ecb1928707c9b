//! The API of the admin listener, `/api/v1`: the verbs of the services over HTTP, one file per noun.
//!
//! # To add a route
//! Write the handler in its noun's file: extract, one service call, answer. Put it into the table below with the right
//! it takes and one sentence for the API's document. The rest of the document comes from the handler's signature: types
//! in bodies need `derive(ToSchema)`, a new extractor [`Takes`](crate::openapi::Takes), a new form of answer
//! [`Gives`](crate::openapi::Gives); it does not compile without. A write whose verb has a dry run
//! ([`Act::as_dry_run`](services::Act::as_dry_run)) takes `dry_run=true` by `tried` at the end of its row. Then renew the
//! committed copy with `make openapi`, give
//! `tests/it/api_access.rs` a sound body for the route, and say what changed in `CHANGELOG.md`.

mod audit;
mod authorities;
pub(crate) mod document;
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

use crate::http::route::{Access, Route};
use crate::openapi::{Described, Documented};
use domain::role::Permission;
use services::Services;

/// A documented route: what its handler takes and gives is told by its signature.
fn documented<H, T>(route: Route<Services>, handler: &H, summary: &'static str) -> Route<Services>
where
    H: Handler<T, Services> + Described<T>,
{
    route.documented_as(Documented::new(handler, summary))
}

/// A table of documented routes: the path within the API, the right that it takes, the handler, one sentence, and
/// whether it can be tried.
macro_rules! table {
    ($($method:ident $path:literal, $access:expr, $handler:path, $summary:literal $(, $tried:ident)?;)*) => {
        vec![$(
            documented(Route::$method(concat!("/api/v1", $path), $access, $handler), &$handler, $summary)$(.$tried())?
        ),*]
    };
}

/// The routes of the admin listener.
pub(crate) fn routes() -> Vec<Route<Services>> {
    use Access::Anyone;
    use Permission as P;
    let to = Access::Bearer;
    table! {
        get "/openapi.json", Anyone, document::show, "Show this document";
        get "/organizations", to(P::Read), organizations::list, "List organizations";
        post "/organizations", to(P::ManageOrganizations), organizations::create, "Make an organization", tried;
        get "/organizations/{id}", to(P::Read), organizations::show, "Show an organization";
        patch "/organizations/{id}", to(P::ManageOrganizations), organizations::update, "Rename an organization", tried;
        delete "/organizations/{id}", to(P::ManageOrganizations), organizations::delete,
            "Delete an organization without users and servers", tried;
        get "/users", to(P::Read), users::list, "List users";
        post "/users", to(P::ManageUsers), users::create, "Make a user", tried;
        post "/users/bulk", to(P::ManageUsers), users::import, "Make many users from a list";
        get "/users/{id}", to(P::Read), users::show, "Show a user";
        patch "/users/{id}", to(P::ManageUsers), users::update, "Change, disable or enable a user", tried;
        delete "/users/{id}", to(P::ManageUsers), users::delete, "Delete a user with all profiles", tried;
        post "/users/{id}/profiles", to(P::ManageUsers), profiles::issue,
            "Issue a profile; the answer holds its only copy";
        post "/users/{id}/profile-links", to(P::ManageUsers), profile_links::create,
            "Make a one-time link with which a user gets a profile";
        post "/users/{id}/sessions/end", to(P::EndSessions), users::end_sessions, "End all sessions of a user";
        post "/users/{id}/logins/end", to(P::ManageUsers), users::end_logins, "Sign a user out in every browser";
        get "/groups", to(P::Read), groups::list, "List groups";
        get "/groups/{id}", to(P::Read), groups::show, "Show a group";
        patch "/groups/{id}", to(P::ManageUsers), groups::update, "Rename a group, wherever it is named";
        delete "/groups/{id}", to(P::ManageUsers), groups::delete, "Take everybody out of a group";
        post "/groups/{id}/users", to(P::ManageUsers), groups::members,
            "Put users into a group and take users out of it";
        get "/profiles", to(P::Read), profiles::list, "List profiles";
        get "/profiles/{id}", to(P::Read), profiles::show, "Show a profile";
        post "/profiles/{id}/revoke", to(P::ManageUsers), profiles::revoke,
            "Revoke a profile for good and end its session";
        get "/servers", to(P::Read), servers::list, "List servers";
        post "/servers", to(P::ManageServers), servers::create, "Make a server", tried;
        get "/servers/{id}", to(P::Read), servers::show, "Show a server";
        patch "/servers/{id}", to(P::ManageServers), servers::update, "Change a server", tried;
        delete "/servers/{id}", to(P::ManageServers), servers::delete, "Delete a server without attached hosts", tried;
        get "/servers/{id}/hosts", to(P::Read), servers::hosts, "List the hosts of a server";
        put "/servers/{id}/hosts/{host_id}", to(P::ManageServers), servers::attach, "Attach a host to a server", tried;
        delete "/servers/{id}/hosts/{host_id}", to(P::ManageServers), servers::detach,
            "Detach a host from a server", tried;
        get "/servers/{id}/key", to(P::Read), servers::key, "Show what is known about the key of a server";
        post "/servers/{id}/rotate", to(P::ManageServers), servers::rotate,
            "Give a server another key and revoke its profiles";
        get "/hosts", to(P::Read), hosts::list, "List hosts";
        get "/hosts/{id}", to(P::Read), hosts::show, "Show a host";
        patch "/hosts/{id}", to(P::ManageHosts), hosts::update, "Change a host";
        delete "/hosts/{id}", to(P::ManageHosts), hosts::delete, "Remove a host for good", tried;
        get "/hosts/{id}/removal", to(P::Read), hosts::removal, "Show what removing a host would mean";
        post "/hosts/{id}/drain", to(P::ManageHosts), hosts::drain,
            "Take a host out of service within a time budget", tried;
        post "/hosts/{id}/resume", to(P::ManageHosts), hosts::resume, "Take a host back into service";
        get "/join-tokens", to(P::Read), join_tokens::list, "List join tokens";
        post "/join-tokens", to(P::ManageHosts), join_tokens::create, "Invite a machine to become a host";
        get "/join-tokens/{id}", to(P::Read), join_tokens::show, "Show a join token and what came of it";
        delete "/join-tokens/{id}", to(P::ManageHosts), join_tokens::withdraw, "Withdraw a join token";
        // The token in the body is what lets a machine in.
        post "/join", Anyone, join::redeem, "Become a host, with a join token";
        post "/join/checks", Anyone, join::report, "Report what a machine found out about itself";
        get "/sessions", to(P::Read), sessions::list, "List live sessions";
        post "/sessions/{id}/end", to(P::EndSessions), sessions::end, "End a session";
        get "/explain", to(P::Read), explain::show, "Explain whether and how somebody reaches a destination";
        get "/events", to(P::Read), events::follow, "Follow what happens in the cluster";
        get "/audit", to(P::ReadAudit), audit::list, "Read the audit log";
        get "/tokens", to(P::Read), tokens::list, "List API tokens";
        post "/tokens", to(P::ManageTokens), tokens::create, "Make an API token; the answer holds its only copy";
        get "/tokens/{id}", to(P::Read), tokens::show, "Show an API token";
        delete "/tokens/{id}", to(P::ManageTokens), tokens::revoke, "Revoke an API token";
        get "/authorities", to(P::Read), authorities::list, "List the certificate authorities";
        get "/migrations", to(P::Read), migrations::list, "List the migrations of the database";
        get "/usage", to(P::Read), usage::show, "Show how busy the cluster was";
        get "/audit/export", to(P::ReadAudit), audit::export, "Export the audit log as JSON Lines";
        get "/audit/key", to(P::ReadAudit), audit::key, "Show the key that signs for the audit log";
        get "/jobs", to(P::Read), jobs::list, "List periodic jobs and what came of their last runs";
        get "/tasks", to(P::Read), jobs::tasks, "List the recurring tasks of the process that answers";
        post "/jobs/{id}/run", to(P::ManageSettings), jobs::run, "Ask for a run of a job as soon as possible";
        get "/settings", to(P::ManageSettings), settings::show, "Show the settings";
        patch "/settings", to(P::ManageSettings), settings::update, "Change the settings";
    }
}

pub(crate) mod answer;
pub(crate) mod bearer;
pub(crate) mod download;
pub(crate) mod extract;
pub(crate) mod idempotency;
