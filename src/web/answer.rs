//! The forms of a good answer.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::problem::{Code, Problem, etag};
use crate::domain::{Revised, Revision};

/// What a handler answers.
pub(super) type Answer<T> = Result<T, Problem>;

/// JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_never) => Problem::new(Code::Internal, "the answer could not be written").into_response(),
    }
}

/// One object with its revision as `ETag`.
pub(super) struct Single<T>(pub(super) Revised<T>);

impl<T: Serialize> IntoResponse for Single<T> {
    fn into_response(self) -> Response {
        tagged(json(&self.0.value), self.0.rev)
    }
}

/// A new object, and where it is from now on.
pub(super) struct Created<T> {
    /// Its path.
    pub(super) location: String,
    /// Its revision.
    pub(super) rev: Revision,
    /// What to show of it.
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        created(json(&self.body), &self.location, self.rev)
    }
}

/// Makes an answer say that something is new.
pub(super) fn created(mut response: Response, location: &str, rev: Revision) -> Response {
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
pub(super) struct Plain<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Plain<T> {
    fn into_response(self) -> Response {
        json(&self.0)
    }
}

/// A new object that has no revision, and where it is from now on.
pub(super) struct Placed<T> {
    /// Its path.
    pub(super) location: String,
    /// What to show of it.
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Placed<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(header::LOCATION, self.location)], json(&self.body)).into_response()
    }
}

/// Something new that has no address of its own, and is in this answer only.
pub(super) struct Made<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, json(&self.0)).into_response()
    }
}

/// It is done, and there is nothing to show.
pub(super) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// It was written down; a host will do it.
pub(super) struct Accepted;

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        StatusCode::ACCEPTED.into_response()
    }
}

/// It was written down and a host will do it; the object says how far it has come.
pub(super) struct Ordered<T>(pub(super) Revised<T>);

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
pub(super) struct List<T> {
    /// The rows.
    pub(super) items: Vec<T>,
    /// Where the next page begins.
    pub(super) next_cursor: Option<String>,
    /// The same as a `Link` header (RFC 8288).
    #[serde(skip)]
    pub(super) link: Option<String>,
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let mut response = json(&self);
        if let Some(link) = self.link.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}
