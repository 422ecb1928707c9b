//! `/events`: what happens in the cluster, as a stream of server-sent events.
//!
//! An event says what kind of thing changed and which one; whoever wants to know more asks for it, with the same right as
//! always. The stream looks at its token again with every beat, and at once when that token is revoked, and ends when it
//! is not good any more.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::openapi::{ObjectBuilder, Type, path::ParameterIn};

use crate::{
    api::{
        answer::Answer,
        extract::{Caller, NoQuery, authenticate},
    },
    http::problem::{Code, Problem},
    openapi::{Draft, Gives, Takes},
};
use domain::{audit::Actor, ids::TokenId, role::Permission};
use services::{
    Nudge, ServiceError, Services,
    bus::events::{Event, EventId, Following, Happening},
};

/// A stream that has nothing to say says so this often, and looks at its token.
const BEAT: Duration = Duration::from_secs(15);

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
    beats: Interval,
    is_over: bool,
    _place: Place,
}

pub(crate) async fn follow(
    State(services): State<Services>,
    Caller(act): Caller,
    After(after): After,
    headers: HeaderMap,
    _: NoQuery,
) -> Answer<EventStream> {
    let Actor::Token { id: token, .. } = act.actor else {
        return Err(ServiceError::Unauthenticated.into());
    };
    let place = Place::take(token)?;
    let following = services.follow(&act, after).await?;
    let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut credentials = HeaderMap::new();
    if let Some(bearer) = headers.get(header::AUTHORIZATION) {
        credentials.insert(header::AUTHORIZATION, bearer.clone());
    }
    Ok(EventStream(Listener { services, headers: credentials, token, following, beats, is_over: false, _place: place }))
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let words = stream::unfold(self.0, async |mut listener| {
            let word = listener.next().await?;
            Some((Ok::<_, Infallible>(word), listener))
        });
        // The first words arrive at once, so that whoever listens knows that it is heard.
        let hello = stream::iter([Ok("retry: 2000\n: hello\n\n".to_owned())]);
        let body = Body::from_stream(futures_util::StreamExt::chain(hello, words));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    }
}

impl Listener {
    /// The next words; nothing after the last.
    async fn next(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        loop {
            tokio::select! {
                _ = self.beats.tick() => return Some(self.unless_over(": beat\n\n".to_owned()).await),
                event = self.following.next() => {
                    let event = event?;
                    let Some(words) = words(&event) else { continue };
                    let is_about_us = matches!(event.what, Happening::Change(Nudge::TokenChange(id)) if id == self.token);
                    return Some(if is_about_us { self.unless_over(words).await } else { words });
                }
            }
        }
    }

    async fn unless_over(&mut self, words: String) -> String {
        if self.is_good().await {
            return words;
        }
        self.is_over = true;
        "event: over\ndata: {}\n\n".to_owned()
    }

    /// Whether the token is still good. While the database is away that is not known, and nothing is told either.
    async fn is_good(&self) -> bool {
        match authenticate(&self.services, &self.headers, None).await {
            Ok(act) => act.require(Permission::Read).is_ok(),
            Err(problem) => problem.code() != Code::BadToken,
        }
    }
}

/// An event as it goes over the wire; nothing for what is between hosts only.
fn words(event: &Event) -> Option<String> {
    let (name, data) = match event.what {
        Happening::Resync => ("resync", json!({})),
        Happening::Change(nudge) => told(&nudge)?,
    };
    let id = event.id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Some(format!("{id}event: {name}\ndata: {data}\n\n"))
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
