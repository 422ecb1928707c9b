//! The forms of a good answer.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::http::problem::{Code, Problem, etag};
use domain::{Revised, Revision};

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Problem>;

/// JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_never) => Problem::new(Code::Internal, "the answer could not be written").into_response(),
    }
}

/// Marks an answer that may be given again to the same request: it holds no secret. What bears no mark is kept nowhere.
#[derive(Clone, Copy)]
pub(crate) struct Repeatable;

fn repeatable(mut response: Response) -> Response {
    response.extensions_mut().insert(Repeatable);
    response
}

/// One object with its revision as `ETag`.
pub(crate) struct Single<T>(pub(crate) Revised<T>);

impl<T: Serialize> IntoResponse for Single<T> {
    fn into_response(self) -> Response {
        repeatable(tagged(json(&self.0.value), self.0.rev))
    }
}

/// One object that can also show what changes without a revision. Its `ETag` is then of both; as `If-Match` the revision
/// counts.
pub(crate) struct Moving<T> {
    /// The object.
    pub(crate) found: Revised<T>,
    /// Whether it shows more than what its revision stands for.
    pub(crate) moved: bool,
}

impl<T: Serialize> IntoResponse for Moving<T> {
    fn into_response(self) -> Response {
        if self.moved {
            tagged_by_content(&format!("{}-", self.found.rev.0), &self.found.value)
        } else {
            tagged(json(&self.found.value), self.found.rev)
        }
    }
}

/// JSON with a digest of itself behind `prefix` as its `ETag`.
fn tagged_by_content(prefix: &str, value: &impl Serialize) -> Response {
    let Ok(body) = serde_json::to_vec(value) else { return json(value) };
    let digest: [u8; 32] = Sha256::digest(&body).into();
    let short = digest.first_chunk::<8>().map(|short| HEXLOWER.encode(short)).unwrap_or_default();
    let headers =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, format!("\"{prefix}{short}\""))];
    (headers, body).into_response()
}

/// A new object, and where it is from now on.
pub(crate) struct Created<T> {
    /// Its path.
    pub(crate) location: String,
    /// Its revision.
    pub(crate) rev: Revision,
    /// What to show of it.
    pub(crate) body: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        repeatable(created(json(&self.body), &self.location, self.rev))
    }
}

/// Makes an answer say that something is new.
pub(crate) fn created(mut response: Response, location: &str, rev: Revision) -> Response {
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    tagged(response, rev)
}

fn tagged(mut response: Response, rev: Revision) -> Response {
    if let Some(tag) = etag(rev).filter(|_| response.status().is_success()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Something without a revision.
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Plain<T> {
    fn into_response(self) -> Response {
        tagged_by_content("", &self.0)
    }
}

/// A new object that has no revision, and where it is from now on.
pub(crate) struct Placed<T> {
    /// Its path.
    pub(crate) location: String,
    /// What to show of it.
    pub(crate) body: T,
}

impl<T: Serialize> IntoResponse for Placed<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(header::LOCATION, self.location)], json(&self.body)).into_response()
    }
}

/// Something new that has no address of its own, and is in this answer only.
pub(crate) struct Made<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, json(&self.0)).into_response()
    }
}

/// It is done, and there is nothing to show.
pub(crate) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        repeatable(StatusCode::NO_CONTENT.into_response())
    }
}

/// It was written down; a host will do it.
pub(crate) struct Accepted;

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        repeatable(StatusCode::ACCEPTED.into_response())
    }
}

/// It was written down and a host will do it; the object says how far it has come.
pub(crate) struct Ordered<T>(pub(crate) Revised<T>);

impl<T: Serialize> IntoResponse for Ordered<T> {
    fn into_response(self) -> Response {
        let mut response = Single(self.0).into_response();
        if response.status().is_success() {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        response
    }
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct List<T> {
    /// The rows.
    pub(crate) items: Vec<T>,
    /// Where the next page begins.
    pub(crate) next_cursor: Option<String>,
    /// How many there are on all pages, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// The same as a `Link` header (RFC 8288).
    #[serde(skip)]
    pub(crate) link: Option<String>,
}

impl<T> List<T> {
    /// All rows of a list that has one page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None, count: None, link: None }
    }
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let mut response = tagged_by_content("", &self);
        if let Some(link) = self.link.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}
