//! Listeners, routes and what surrounds every request.

pub(crate) mod client;
pub(crate) mod listen;
pub(crate) mod listeners;
pub(crate) mod middleware;
pub(crate) mod ops;
pub(crate) mod patience;
pub(crate) mod pin;
pub(crate) mod problem;
pub(crate) mod rate_headers;
pub(crate) mod route;
pub(crate) mod sse;
pub(crate) mod trace;
