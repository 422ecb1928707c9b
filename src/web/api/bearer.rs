//! The guard of the API: who asks, how often, with what right, and whether the same was asked before.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio_util::task::TaskTracker;

use crate::api::answer::json;
use crate::api::extract::{authenticate, no_token};
use crate::api::idempotency;
use crate::api::idempotency::Once;
use crate::http::problem::{Code, Problem};
use crate::http::rate_headers::tell;
use domain::audit::Actor;
use domain::ids::TokenId;
use domain::role::Permission;
use services::{Act, Services};

/// Lets only bearers of the right through to the handler, before the body is read. Of an act that is only to be tried, the
/// answer is what it would do.
pub(crate) async fn guard(
    State((services, tasks, permission, can_be_tried)): State<(Services, TaskTracker, Permission, bool)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let id = request.extensions().get().copied();
    let act = authenticate(&services, request.headers(), id).await?;
    let Actor::Token { id: token, .. } = act.actor else { return Err(no_token()) };
    let allowance = services.cluster().limit_token(token)?;
    let door = Door { services, tasks, token, permission, can_be_tried };
    let mut response = door.let_in(act.clone(), request, next).await.unwrap_or_else(Problem::into_response);
    for warning in act.warnings() {
        // What cannot stand in a header is left out of it; the sentences are our own, of names and addresses.
        let text: String = warning.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        if let Ok(text) = HeaderValue::try_from(text) {
            response.headers_mut().append(WARNING, text);
        }
    }
    name_refused(&mut response, act);
    tell(&allowance, response.headers_mut());
    Ok(response)
}

/// What the bearer of a token has to pass.
struct Door {
    services: Services,
    tasks: TaskTracker,
    token: TokenId,
    permission: Permission,
    can_be_tried: bool,
}

impl Door {
    async fn let_in(self, act: Act, mut request: Request, next: Next) -> Result<Response, Problem> {
        act.require(self.permission)?;
        if self.can_be_tried && take_dry_run(&mut request)? {
            let (act, trial) = act.as_dry_run();
            request.extensions_mut().insert(act);
            let response = next.run(request).await;
            return Ok(if response.status().is_success() { json(&trial.effect()) } else { response });
        }
        request.extensions_mut().insert(act);
        let key = if request.method() == Method::POST { idempotency::key(request.headers())? } else { None };
        match key {
            Some(key) => {
                let once = Once { services: self.services, tasks: self.tasks, token: self.token, key };
                once.run(request, next).await
            }
            None => Ok(next.run(request).await),
        }
    }
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

/// Leaves a word about who was refused, for the audit log.
pub(crate) fn name_refused(response: &mut Response, act: Act) {
    if response.extensions().get::<Problem>().is_some_and(Problem::is_refusal) {
        response.extensions_mut().insert(act);
    }
}

/// A sentence that whoever acts should know; any number of them.
const WARNING: HeaderName = HeaderName::from_static("postern-warning");
