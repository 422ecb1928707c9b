//! What keeps an open page fresh: a stream of words that say what changed. It carries no data; the page asks for itself
//! again, through the same guard as the first time.
//!
//! A stream looks at its login again with every beat and whenever policy changes, and ends when the login does: whoever
//! is disabled or loses the role hears nothing more (SEC-SESS-05). The streams of a process are bounded; a page without
//! one is as good as a page without script.

use std::sync::{Arc, LazyLock};

use axum::http::HeaderMap;
use axum::response::sse::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admin::context::{Answer, Opened};
use crate::http::problem::{Code, Problem};
use crate::http::sse;
use crate::http::sse::{Heard, Source};
use crate::ui::{Cookie, Topic};
use services::identity::logins::Use;
use services::{BusMessage, Nudge, Services, Subscription};

/// So many pages of a process may listen at once.
const STREAMS: usize = 256;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(STREAMS)));

struct Changes {
    services: Services,
    cookie: String,
    hears: Subscription,
    _place: OwnedSemaphorePermit,
}

pub(crate) async fn stream(Opened { services, desk }: Opened, headers: HeaderMap) -> Answer {
    let hears = services.listen().ok_or_else(|| Problem::new(Code::Busy, "this process hears nothing"))?;
    let place = Arc::clone(&PLACES).try_acquire_owned();
    let place = place.map_err(|_full| Problem::new(Code::Busy, "too many pages are listening"))?;
    let cookie = Cookie::Login.read(&desk.site, &headers).unwrap_or_default();
    Ok(sse::stream(Event::default().data("hello"), Changes { services, cookie, hears, _place: place }))
}

impl Source for Changes {
    const OVER: &'static str = "-";

    async fn next(&mut self) -> Option<Heard> {
        loop {
            let topic = match self.hears.recv().await? {
                BusMessage::Resync => None,
                BusMessage::Nudge(nudge) => match Nudge::read(&nudge).as_ref().and_then(Topic::of) {
                    None => continue,
                    topic => topic,
                },
            };
            // Policy says who may sign in; after a resync it may have changed.
            let is_about_right = matches!(topic, None | Some(Topic::Policy));
            let event = Event::default().data(topic.map_or("resync", Topic::as_str));
            return Some(Heard { event, is_about_right });
        }
    }

    async fn may_listen(&self) -> bool {
        match self.services.identity().admin(&self.cookie, Use::Page).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                tracing::debug!(%error, "a login could not be looked at");
                true
            }
        }
    }
}
