//! `/events`: what happens in the cluster, as a stream of server-sent events.
//!
//! An event says what kind of thing changed and which one; whoever wants to know more asks for it, with the same right as
//! always. The stream looks at its token again with every beat, and at once when that token is revoked or policy changes (the
//! person whom the token belongs to is part of it), and ends when the token is not good any more.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{ObjectBuilder, Type};

use crate::api::answer::Answer;
use crate::api::extract::{Call, NoQuery, authenticate};
use crate::http::problem::{Code, Problem};
use crate::http::sse;
use crate::http::sse::{BEAT, Heard, Source};
use crate::openapi::{Draft, Gives, Takes};
use domain::audit::Actor;
use domain::ids::TokenId;
use domain::role::Permission;
use services::bus::events;
use services::bus::events::{EventId, Following, Happening};
use services::{Nudge, ServiceError, Services};

/// So many streams of a process belong to one token at most.
const STREAMS: usize = 4;

/// After which event to go on.
pub(crate) struct After(Option<EventId>);

impl<S: Sync> FromRequestParts<S> for After {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all("last-event-id").iter();
        let Some(id) = given.next() else { return Ok(Self(None)) };
        let read = id.to_str().ok().filter(|_| given.next().is_none()).and_then(|text| text.parse().ok());
        let wrong = || Problem::header("Last-Event-ID", "must be the `id` of an event as it was received");
        read.map(|id| Self(Some(id))).ok_or_else(wrong)
    }
}

impl Takes for After {
    fn take(draft: &mut Draft) {
        let about = "The `id` of the last event that was heard: what was said since comes first. Of a time too long ago \
                     comes one `resync`.";
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{24}$"));
        draft.parameter(ParameterIn::Header, "Last-Event-ID", about, schema);
        draft.refuses([StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]);
    }
}

/// The stream as an answer.
pub(crate) struct EventStream(Listener);

impl Gives for EventStream {
    fn give(draft: &mut Draft) {
        let about = "Server-sent events, each with a name in `event`, an `id` to go on after, and a JSON object of ids in \
                     `data`: `policy` {revision}, `session.change` and `session.end` {session_id}, `daemon.change` \
                     {server_id, host_id}, `host.change` {host_id}, `token.change` {token_id}; `resync` when some may \
                     have been missed and everything is to be looked at anew; `over` when the token is not good any \
                     more. An event may come twice. New names may appear at any time.";
        draft.answer(StatusCode::OK, "What happens from now on, until either side ends it.");
        draft.also(StatusCode::OK, "text/event-stream", about);
    }
}

struct Listener {
    services: Services,
    headers: HeaderMap,
    token: TokenId,
    following: Following,
    _place: Place,
}

pub(crate) async fn follow(
    Call(services, act): Call,
    After(after): After,
    headers: HeaderMap,
    _: NoQuery,
) -> Answer<EventStream> {
    let Actor::Token { id: token, .. } = act.actor else {
        return Err(ServiceError::Unauthenticated.into());
    };
    let place = Place::take(token)?;
    let following = services.follow(&act, after).await?;
    let mut credentials = HeaderMap::new();
    if let Some(bearer) = headers.get(header::AUTHORIZATION) {
        credentials.insert(header::AUTHORIZATION, bearer.clone());
    }
    Ok(EventStream(Listener { services, headers: credentials, token, following, _place: place }))
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        sse::stream(Event::default().comment("hello"), self.0)
    }
}

impl Source for Listener {
    const OVER: &'static str = "{}";

    async fn next(&mut self) -> Option<Heard> {
        loop {
            let happened = self.following.next().await?;
            if let Some(event) = event(&happened) {
                let is_about_right = match happened.what {
                    Happening::Change(Nudge::TokenChange(token)) => token == self.token,
                    Happening::Change(Nudge::Policy(_)) => true,
                    Happening::Change(_) | Happening::Resync => false,
                };
                return Some(Heard { event, is_about_right });
            }
        }
    }

    async fn may_listen(&self) -> bool {
        match authenticate(&self.services, &self.headers, None).await {
            Ok(act) => act.require(Permission::Read).is_ok(),
            Err(problem) => problem.code() != Code::BadToken,
        }
    }
}

/// An event as it goes over the wire; nothing for what is between hosts only.
fn event(happened: &events::Event) -> Option<Event> {
    let (name, data) = match happened.what {
        Happening::Resync => ("resync", json!({})),
        Happening::Change(nudge) => told(&nudge)?,
    };
    let event = happened.id.map_or_else(Event::default, |id| Event::default().id(id.to_string()));
    Some(event.event(name).data(data.to_string()))
}

fn told(nudge: &Nudge) -> Option<(&'static str, Value)> {
    Some(match nudge {
        Nudge::Policy(revision) => ("policy", json!({ "revision": revision.0 })),
        Nudge::SessionEnd(id) => ("session.end", json!({ "session_id": id })),
        Nudge::SessionChange(id) => ("session.change", json!({ "session_id": id })),
        Nudge::DaemonChange(key) => ("daemon.change", json!({ "server_id": key.server_id, "host_id": key.host_id })),
        Nudge::HostChange(id) => ("host.change", json!({ "host_id": id })),
        Nudge::JoinChange(id) => ("join.change", json!({ "join_token_id": id })),
        Nudge::JobChange(job) => ("job.change", json!({ "job": job })),
        Nudge::TokenChange(id) => ("token.change", json!({ "token_id": id })),
        Nudge::CertificateRequest(_) => return None,
    })
}

/// One of the streams that a token may have in this process.
struct Place(TokenId);

static PLACES: LazyLock<Mutex<HashMap<TokenId, usize>>> = LazyLock::new(Mutex::default);

impl Place {
    fn take(token: TokenId) -> Result<Self, Problem> {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = places.entry(token).or_default();
        if *streams >= STREAMS {
            let detail = format!("this token has {STREAMS} streams open here already; close one first");
            return Err(Problem::new(Code::TooMany, detail).after(BEAT));
        }
        *streams += 1;
        Ok(Self(token))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = places.get_mut(&self.0) {
            *streams -= 1;
            if *streams == 0 {
                places.remove(&self.0);
            }
        }
    }
}
