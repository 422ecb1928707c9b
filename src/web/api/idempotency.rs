//! `Idempotency-Key`: a POST that is sent again is done once, and answered as it was the first time.
//!
//! A request that carries a key runs in a task of its own: whoever gave up waiting finds the reply when asking again.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio_util::task::TaskTracker;

use tracing::Instrument as _;

use crate::api::answer::Repeatable;
use crate::api::extract::read_body;
use crate::http::problem::{Code, Problem};
use domain::ids::TokenId;
use domain::reply::Reply;
use services::Services;
use services::cluster::idempotency::{Claim, Keyed};

/// The header that carries the key.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer is one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key.
pub(crate) const LONGEST: usize = 255;

/// The largest reply that is kept, in bytes; answers to POST are far smaller.
const LARGEST: usize = 1024 * 1024;

/// The key of a request, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(&KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or_default();
    let is_sound = given.next().is_none() && (1..=LONGEST).contains(&text.len());
    if is_sound && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(text.to_owned()));
    }
    let detail = format!("must be given once, with 1 to {LONGEST} visible ASCII characters and no space");
    Err(Problem::header("Idempotency-Key", detail))
}

/// A request with a key.
pub(crate) struct Once {
    /// Where keys are claimed.
    pub(crate) services: Services,
    /// Where it runs.
    pub(crate) tasks: TaskTracker,
    /// Whose key it is.
    pub(crate) token: TokenId,
    /// The key.
    pub(crate) key: String,
}

impl Once {
    /// Does the request, unless it was done before.
    pub(crate) async fn run(self, request: Request, next: Next) -> Result<Response, Problem> {
        let Self { services, tasks, token, key } = self;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let body = read_body(Request::from_parts(parts.clone(), body), &(), Code::NotJson).await?;
        let keyed = Keyed::new(token, &key, &[parts.method.as_str().as_bytes(), path.as_bytes(), &body]);
        let claim = match services.cluster().claim(&keyed).await? {
            Claim::Mine(claim) => claim,
            other => return answered(other),
        };
        let request = Request::from_parts(parts, Body::from(body));
        let done = async move {
            let (response, outcome) = read(next.run(request).await).await;
            match outcome {
                Outcome::Done(reply) => services.cluster().keep_reply(&keyed, &reply).await,
                Outcome::Refused => services.cluster().release(&keyed, &claim).await,
                Outcome::Unknown => {}
            }
            response
        };
        match tasks.spawn(done.in_current_span()).await {
            Ok(response) => Ok(response),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_ended) => Err(Problem::new(Code::Busy, "this process is shutting down")),
            },
        }
    }
}

/// The answer to a request whose key was claimed before.
fn answered(claim: Claim) -> Result<Response, Problem> {
    let (code, detail) = match claim {
        Claim::Done(reply) => return again(reply),
        Claim::Running(after) => {
            let detail = "the first request with this Idempotency-Key is still being done";
            return Err(Problem::new(Code::KeyBusy, detail).after(after));
        }
        Claim::Other => (Code::KeyReused, "this Idempotency-Key was sent with another request; use a new key for each"),
        Claim::Mine(_) | Claim::Unknown => (
            Code::KeySpent,
            "the first request with this Idempotency-Key ended without a certain answer: look whether it was done, and \
             use a new key",
        ),
    };
    Err(Problem::new(code, detail))
}

/// What came of a request.
enum Outcome {
    Done(Reply),
    Refused,
    Unknown,
}

async fn read(response: Response) -> (Response, Outcome) {
    if let Some(problem) = response.extensions().get::<Problem>() {
        let outcome = if problem.changed_nothing() { Outcome::Refused } else { Outcome::Unknown };
        return (response, outcome);
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return (Problem::new(Code::Internal, "the answer could not be read").into_response(), Outcome::Unknown);
    };
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let reply = Reply {
        status: parts.status.as_u16(),
        location: text(header::LOCATION),
        etag: text(header::ETAG),
        body: parts.extensions.get::<Repeatable>().map(|_no_secret| body.to_vec()),
    };
    (Response::from_parts(parts, Body::from(body)), Outcome::Done(reply))
}

/// The answer that was given before.
fn again(reply: Reply) -> Result<Response, Problem> {
    let Some(body) = reply.body else {
        let of = reply.location.map(|location| format!(" It made {location}.")).unwrap_or_default();
        let detail = format!(
            "an earlier request with this Idempotency-Key was done; its answer held a secret, which is told once.{of}"
        );
        return Err(Problem::new(Code::KeySpent, detail));
    };
    let json = (!body.is_empty()).then(|| HeaderValue::from_static("application/json"));
    let mut response = body.into_response();
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let text = |text: Option<String>| text.and_then(|text| HeaderValue::try_from(text).ok());
    for (name, value) in [
        (header::CONTENT_TYPE, json),
        (header::LOCATION, text(reply.location)),
        (header::ETAG, text(reply.etag)),
        (REPLAYED, Some(HeaderValue::from_static("true"))),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    Ok(response)
}
