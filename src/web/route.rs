//! Routes as data: each listener's routes stand in one table, each with the right it takes, so that a route without
//! one cannot be written and a test can walk them all.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    handler::Handler,
    http::{Method, Uri},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    admin,
    answer::json,
    extract::authenticate,
    openapi::Documented,
    portal,
    problem::{Code, Problem},
};
use crate::{
    domain::role::Permission,
    services::{Act, Services},
};

/// The largest body that is read, in bytes.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

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
pub(super) struct Route<S> {
    info: RouteInfo,
    handler: MethodRouter<S>,
    documented: Option<Documented>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    pub(super) fn get<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::GET, MethodFilter::GET), path, access, handler)
    }

    pub(super) fn post<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::POST, MethodFilter::POST), path, access, handler)
    }

    pub(super) fn put<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::PUT, MethodFilter::PUT), path, access, handler)
    }

    pub(super) fn patch<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new((Method::PATCH, MethodFilter::PATCH), path, access, handler)
    }

    pub(super) fn delete<H: Handler<T, S>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
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
    pub(super) fn tried(mut self) -> Self {
        self.info.can_be_tried = true;
        self
    }

    /// The same route, as a part of the API's document.
    pub(super) fn documented_as(self, documented: Documented) -> Self {
        Self { documented: Some(documented), ..self }
    }

    /// How it presents itself in the API's document; pages do not.
    pub(super) fn documented(&self) -> Option<Documented> {
        self.documented
    }

    /// What it is.
    pub(super) fn info(&self) -> RouteInfo {
        self.info.clone()
    }
}

/// The router of a listener.
pub(super) fn router<S: Clone + Send + Sync + 'static>(routes: Vec<Route<S>>, services: &Services, state: S) -> Router {
    let mut built = Router::new();
    for Route { info, mut handler, documented: _ } in routes {
        match info.access {
            Access::Anyone => {}
            Access::Bearer(permission) => {
                let state = (services.clone(), permission, info.can_be_tried);
                handler = handler.route_layer(middleware::from_fn_with_state(state, guard));
            }
            Access::Console(permission) => {
                let state = (services.clone(), permission);
                handler = handler.route_layer(middleware::from_fn_with_state(state, admin::guard));
            }
            Access::SignedIn => {
                handler = handler.route_layer(middleware::from_fn_with_state(services.clone(), portal::signed_in));
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

/// Lets only bearers of the right through to the handler, before the body is read. Of an act that is only to be tried, the
/// answer is what it would do.
async fn guard(
    State((services, permission, can_be_tried)): State<(Services, Permission, bool)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let id = request.extensions().get().copied();
    let act = authenticate(&services, request.headers(), id).await?;
    let refused = act.clone();
    let answer = let_in((permission, can_be_tried), act, request, next).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    name_refused(&mut response, refused);
    Ok(response)
}

async fn let_in(
    (permission, can_be_tried): (Permission, bool),
    act: Act,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    act.require(permission)?;
    if !can_be_tried || !take_dry_run(&mut request)? {
        request.extensions_mut().insert(act);
        return Ok(next.run(request).await);
    }
    let (act, trial) = act.tried();
    request.extensions_mut().insert(act);
    let response = next.run(request).await;
    Ok(if response.status().is_success() { json(&trial.effect()) } else { response })
}

/// Takes `dry_run` out of the query, so that the handler finds what it knows.
fn take_dry_run(request: &mut Request) -> Result<bool, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let mut given = None;
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, value.parse()) {
            ("dry_run", Ok(tried)) if given.is_none() => given = Some(tried),
            ("dry_run", _) => return Err(Problem::parameter("dry_run", "must be `true` or `false`, once")),
            _ => drop(rest.append_pair(&name, &value)),
        }
    }
    let Some(tried) = given else { return Ok(false) };
    let (path, rest) = (request.uri().path(), rest.finish());
    let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
    // What came as a path and a query can be read as one again.
    *request.uri_mut() = target.parse().map_err(|_never| Problem::new(Code::BadPath, "the path cannot be read"))?;
    Ok(tried)
}

/// Leaves a word about who was refused, for the trail.
pub(super) fn name_refused(response: &mut Response, act: Act) {
    if response.extensions().get::<Problem>().is_some_and(Problem::is_refusal) {
        response.extensions_mut().insert(act);
    }
}
