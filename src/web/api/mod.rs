//! The API of the admin listener, `/api/v1`: the verbs of the services over HTTP, one file per noun.

mod audit;
mod hosts;
mod join;
mod join_tokens;
mod organizations;
mod profile_links;
mod profiles;
mod servers;
mod sessions;
mod settings;
mod users;

use super::route::{Access, Route};
use crate::{domain::role::Permission, services::Services};

/// The routes of the admin listener.
pub(super) fn routes() -> Vec<Route<Services>> {
    use Permission as P;
    let to = Access::Bearer;
    vec![
        Route::get("/api/v1/organizations", to(P::Read), organizations::list),
        Route::post("/api/v1/organizations", to(P::ManageOrganizations), organizations::create),
        Route::get("/api/v1/organizations/{id}", to(P::Read), organizations::show),
        Route::patch("/api/v1/organizations/{id}", to(P::ManageOrganizations), organizations::update),
        Route::delete("/api/v1/organizations/{id}", to(P::ManageOrganizations), organizations::delete),
        Route::get("/api/v1/users", to(P::Read), users::list),
        Route::post("/api/v1/users", to(P::ManageUsers), users::create),
        Route::get("/api/v1/users/{id}", to(P::Read), users::show),
        Route::patch("/api/v1/users/{id}", to(P::ManageUsers), users::update),
        Route::delete("/api/v1/users/{id}", to(P::ManageUsers), users::delete),
        Route::post("/api/v1/users/{id}/profiles", to(P::ManageUsers), profiles::issue),
        Route::post("/api/v1/users/{id}/profile-links", to(P::ManageUsers), profile_links::create),
        Route::get("/api/v1/profiles", to(P::Read), profiles::list),
        Route::get("/api/v1/profiles/{id}", to(P::Read), profiles::show),
        Route::post("/api/v1/profiles/{id}/revoke", to(P::ManageUsers), profiles::revoke),
        Route::get("/api/v1/servers", to(P::Read), servers::list),
        Route::post("/api/v1/servers", to(P::ManageServers), servers::create),
        Route::get("/api/v1/servers/{id}", to(P::Read), servers::show),
        Route::patch("/api/v1/servers/{id}", to(P::ManageServers), servers::update),
        Route::delete("/api/v1/servers/{id}", to(P::ManageServers), servers::delete),
        Route::get("/api/v1/servers/{id}/hosts", to(P::Read), servers::hosts),
        Route::put("/api/v1/servers/{id}/hosts/{host_id}", to(P::ManageServers), servers::attach),
        Route::delete("/api/v1/servers/{id}/hosts/{host_id}", to(P::ManageServers), servers::detach),
        Route::get("/api/v1/hosts", to(P::Read), hosts::list),
        Route::get("/api/v1/hosts/{id}", to(P::Read), hosts::show),
        Route::patch("/api/v1/hosts/{id}", to(P::ManageHosts), hosts::update),
        Route::delete("/api/v1/hosts/{id}", to(P::ManageHosts), hosts::delete),
        Route::get("/api/v1/join-tokens", to(P::Read), join_tokens::list),
        Route::post("/api/v1/join-tokens", to(P::ManageHosts), join_tokens::create),
        Route::get("/api/v1/join-tokens/{id}", to(P::Read), join_tokens::show),
        Route::delete("/api/v1/join-tokens/{id}", to(P::ManageHosts), join_tokens::withdraw),
        // The token in the body is what lets a machine in.
        Route::post("/api/v1/join", Access::Anyone, join::redeem),
        Route::post("/api/v1/join/checks", Access::Anyone, join::report),
        Route::get("/api/v1/sessions", to(P::Read), sessions::list),
        Route::post("/api/v1/sessions/{id}/end", to(P::EndSessions), sessions::end),
        Route::get("/api/v1/audit", to(P::ReadAudit), audit::list),
        Route::get("/api/v1/settings", to(P::ManageSettings), settings::show),
        Route::patch("/api/v1/settings", to(P::ManageSettings), settings::update),
    ]
}
