//! Streams of server-sent events that end when the right to hear them does.
//!
//! Every stream says something at once, so that whoever listens knows that it is heard, and says so every [`BEAT`] when
//! there is nothing else, so that nobody in between takes it for dead. With each beat, and with each event that asks for
//! it, the right of the listener is looked at again.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often a stream that has nothing to say says so.
pub(crate) const BEAT: Duration = Duration::from_secs(15);

/// What a stream tells next.
pub(crate) struct Heard {
    /// The event.
    pub(crate) event: Event,
    /// Whether it may end the right of whoever listens, which is then looked at first.
    pub(crate) is_about_right: bool,
}

/// Where the events of one listener come from.
pub(crate) trait Source: Send + 'static {
    /// What the last event carries, which says that the right to listen is over.
    const OVER: &'static str;

    /// The next event; nothing after the last. The future may be dropped before it is done, and loses nothing then.
    fn next(&mut self) -> impl Future<Output = Option<Heard>> + Send;

    /// Whether the listener still has the right. While the database is away that is not known, and counts as yes:
    /// nothing is told then either.
    fn may_listen(&self) -> impl Future<Output = bool> + Send;
}

struct Listener<S> {
    source: S,
    beats: Interval,
}

/// The answer that tells what a source hears, after a first event.
pub(crate) fn stream<S: Source>(hello: Event, source: S) -> Response {
    let mut beats = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = stream::unfold(Some(Listener { source, beats }), async |listener| {
        let mut listener = listener?;
        let event = listener.next().await?;
        let is_over = event.is_none();
        let event = event.unwrap_or_else(|| Event::default().event("over").data(S::OVER));
        Some((event, (!is_over).then_some(listener)))
    });
    let hello = hello.retry(Duration::from_secs(2));
    let events = stream::iter([hello]).chain(events).map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<S: Source> Listener<S> {
    /// The next event, none in its place where the right is over; nothing after the last.
    async fn next(&mut self) -> Option<Option<Event>> {
        let heard = tokio::select! {
            _ = self.beats.tick() => Heard { event: Event::default().comment("beat"), is_about_right: true },
            heard = self.source.next() => heard?,
        };
        let is_good = !heard.is_about_right || self.source.may_listen().await;
        Some(is_good.then_some(heard.event))
    }
}
