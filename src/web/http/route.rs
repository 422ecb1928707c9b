//! Routes as data: each listener's routes stand in one table, each with the right it takes, so that a route without
//! one cannot be written and a test can walk them all.

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, middleware};
use tokio_util::task::TaskTracker;

use crate::api::bearer;
use crate::auth::guard::guard;
use crate::auth::signed_in::signed_in;
use crate::http::problem::{Code, Problem};
use crate::openapi::Documented;
use domain::role::Permission;
use services::Services;

/// The largest body that is read, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever reaches the listener.
    Anyone,
    /// Bearers of a token whose role has this right.
    Bearer(Permission),
    /// People who are signed in with a browser, about what is their own.
    SignedIn,
    /// People who are signed in to the console with a role that has this right.
    Console(Permission),
}

/// What a route is, for tests and lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The method; a GET answers HEAD too.
    pub method: Method,
    /// The path, with `{…}` for what varies.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// Whether it can be tried with `dry_run=true`: it then answers what it would do, and does nothing.
    pub can_be_tried: bool,
}

/// One route of a listener whose handlers share an `S`.
pub(crate) struct Route<S> {
    info: RouteInfo,
    handler: MethodRouter<S>,
    documented: Option<Documented>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    pub(crate) fn get<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::GET, MethodFilter::GET), path, access, handler)
    }

    pub(crate) fn post<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::POST, MethodFilter::POST), path, access, handler)
    }

    pub(crate) fn put<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::PUT, MethodFilter::PUT), path, access, handler)
    }

    pub(crate) fn patch<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::PATCH, MethodFilter::PATCH), path, access, handler)
    }

    pub(crate) fn delete<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::DELETE, MethodFilter::DELETE), path, access, handler)
    }

    fn new<H: Handler<T, S>, T: 'static>(
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        Self {
            info: RouteInfo { method, path, access, can_be_tried: false },
            handler: on(filter, handler),
            documented: None,
        }
    }

    /// The same route, which can be tried as well: its verb changes policy, and nothing else, for the act that asks.
    pub(crate) fn tried(mut self) -> Self {
        self.info.can_be_tried = true;
        self
    }

    /// The same route, as a part of the API's document.
    pub(crate) fn documented_as(self, documented: Documented) -> Self {
        Self { documented: Some(documented), ..self }
    }

    /// How it presents itself in the API's document; pages do not.
    pub(crate) fn documented(&self) -> Option<Documented> {
        self.documented
    }

    /// What it is.
    pub(crate) fn info(&self) -> RouteInfo {
        self.info.clone()
    }
}

/// The router of a listener. What must not end with its request runs in `tasks`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(
    routes: Vec<Route<S>>,
    services: &Services,
    tasks: &TaskTracker,
    state: S,
) -> Router {
    let mut built = Router::new();
    for Route { info, mut handler, documented: _ } in routes {
        match info.access {
            Access::Anyone => {}
            Access::Bearer(permission) => {
                let state = (services.clone(), tasks.clone(), permission, info.can_be_tried);
                handler = handler.route_layer(middleware::from_fn_with_state(state, bearer::guard));
            }
            Access::Console(permission) => {
                let state = (services.clone(), permission);
                handler = handler.route_layer(middleware::from_fn_with_state(state, guard));
            }
            Access::SignedIn => {
                handler = handler.route_layer(middleware::from_fn_with_state(services.clone(), signed_in));
            }
        }
        built = built.route(info.path, handler);
    }
    built
        .fallback(async |uri: Uri| Problem::new(Code::NoSuchPath, format!("there is nothing at {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(Code::MethodNotAllowed, format!("this path does not take {method}"))
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state)
}
