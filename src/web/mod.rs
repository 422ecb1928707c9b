//! The web: three listeners, three routers, and none that answers for another.
//!
//! *Public* is for employees (role portal), *admin* for the console and the API (role console), *ops* for health and
//! numbers (always). Signing in and the files of pages are the same on both sites; who is signed in is not.
//! Handlers here extract, call one service and answer; every rule about who may do what is in [`services`].
//!
//! # Theory of operation
//! [`Listeners::open`] reads the TLS files and binds every socket before it answers on any, so a host either starts as configured
//! or says why not. Each listener's routes stand in one table (`route`) with the right that each takes; a guard that
//! the table puts before the handler authenticates and refuses before a body is read. Around every router is a
//! `frame`: request id, `Host` check, bounds, deadline, log line, headers. Whatever goes wrong is a `problem` with
//! a stable code.

mod admin;
mod api;
pub(crate) mod auth;
pub(crate) mod http;
mod openapi;
mod portal;
pub(crate) mod ui;

/// The pages in every state, for tests alone: the program does not hold them.
#[cfg(any(test, feature = "samples"))]
#[path = "../../tests/samples/mod.rs"]
mod samples;

pub use crate::http::listen::{TlsFiles, WebError};
pub use crate::http::listeners::{BoundAddresses, Listener, Listeners, Settings};
pub use crate::http::ops::{Check, CheckState, StatusSource};
pub use crate::http::route::{Access, RouteInfo};
#[cfg(any(test, feature = "samples"))]
pub use crate::samples::{PageSample, page_samples};
use http::ops;
use http::route::Route;
use services::Services;

/// The routes of each listener, for tests that walk them all.
#[derive(Debug)]
pub struct RouteTables {
    /// Those of the public listener.
    pub public: Vec<RouteInfo>,
    /// Those of the admin listener.
    pub admin: Vec<RouteInfo>,
    /// Those of the ops listener.
    pub ops: Vec<RouteInfo>,
}

/// Every route there is.
pub fn routes() -> RouteTables {
    RouteTables {
        public: portal::routes().iter().map(Route::info).collect(),
        admin: admin_routes().iter().map(Route::info).collect(),
        ops: ops::routes().iter().map(Route::info).collect(),
    }
}

/// The API's document, as it is served at `/api/v1/openapi.json`.
pub fn openapi() -> serde_json::Value {
    api::document::document(&api::routes())
}

fn admin_routes() -> Vec<Route<Services>> {
    let mut routes = api::routes();
    routes.extend(admin::routes());
    routes
}
