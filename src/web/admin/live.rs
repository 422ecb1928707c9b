//! What keeps an open page fresh: a stream of words that say what changed. It carries no data; the page asks for itself
//! again, through the same guard as the first time.
//!
//! A stream looks at its login again with every beat and whenever policy changes, and ends when the login does: whoever
//! is disabled or loses the role hears nothing more (SEC-SESS-05). The streams of a process are bounded; a page without
//! one is as good as a page without script.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admin::context::Desk;
use crate::{
    http::problem::{Code, Problem},
    ui::cookies::Cookie,
};
use services::{BusMessage, Nudge, Services, Subscription, identity::logins::Use};

/// So many pages of a process may listen at once.
const STREAMS: usize = 256;

/// A stream that has nothing to say says so this often, so that nobody in between takes it for dead.
const BEAT: Duration = Duration::from_secs(15);

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(STREAMS)));

/// What a page may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// What people configure: organizations, users, profiles, servers, attachments, settings.
    Policy,
    /// Who is connected.
    Sessions,
    /// How hosts and their daemons are.
    Hosts,
    /// What periodic jobs do.
    Jobs,
    /// Which API tokens there are.
    Tokens,
}

impl Topic {
    /// The word on the stream.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Sessions => "sessions",
            Self::Hosts => "hosts",
            Self::Jobs => "jobs",
            Self::Tokens => "tokens",
        }
    }

    fn of(nudge: &Nudge) -> Option<Self> {
        match nudge {
            Nudge::Policy(_) => Some(Self::Policy),
            Nudge::SessionChange(_) | Nudge::SessionEnd(_) => Some(Self::Sessions),
            Nudge::HostChange(_) | Nudge::DaemonChange(_) | Nudge::JoinChange(_) => Some(Self::Hosts),
            Nudge::JobChange(_) => Some(Self::Jobs),
            Nudge::TokenChange(_) => Some(Self::Tokens),
            Nudge::CertificateRequest(_) => None,
        }
    }
}

/// What a stream says next.
enum Word {
    Changed(&'static str),
    Beat,
    Over,
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Changed(topic) => format!("data: {topic}\n\n"),
            Self::Beat => ": beat\n\n".to_owned(),
            Self::Over => "event: over\ndata: -\n\n".to_owned(),
        }
    }
}

struct Listener {
    services: Services,
    cookie: String,
    hears: Subscription,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

pub(crate) async fn stream(
    State(services): State<Services>,
    desk: Desk,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hears = services.listen().ok_or_else(|| Problem::new(Code::Busy, "this process hears nothing"))?;
    let place = Arc::clone(&PLACES).try_acquire_owned();
    let place = place.map_err(|_full| Problem::new(Code::Busy, "too many pages are listening"))?;
    let cookie = Cookie::Login.read(&desk.site, &headers).unwrap_or_default();
    let listener = Listener { services, cookie, hears, is_over: false, _place: place };
    let words = stream::unfold(listener, async |mut listener| {
        let word = listener.next().await?;
        Some((Ok::<_, std::convert::Infallible>(word.text()), listener))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    // The first words arrive at once, so that the page knows that it is heard.
    let hello = stream::iter([Ok("retry: 2000\ndata: hello\n\n".to_owned())]);
    Ok((kind, Body::from_stream(futures_util::StreamExt::chain(hello, words))).into_response())
}

impl Listener {
    /// The next word; nothing after the last.
    async fn next(&mut self) -> Option<Word> {
        if self.is_over {
            return None;
        }
        let heard = loop {
            match tokio::time::timeout(BEAT, self.hears.recv()).await {
                Err(_nothing) => break Word::Beat,
                Ok(None) => return None,
                Ok(Some(BusMessage::Resync)) => break Word::Changed("resync"),
                Ok(Some(BusMessage::Nudge(nudge))) => {
                    if let Some(topic) = Nudge::read(&nudge).as_ref().and_then(Topic::of) {
                        break Word::Changed(topic.as_str());
                    }
                }
            }
        };
        let is_certain = !matches!(heard, Word::Changed("sessions" | "hosts" | "jobs" | "tokens"));
        if is_certain && !self.is_signed_in().await {
            self.is_over = true;
            return Some(Word::Over);
        }
        Some(heard)
    }

    /// Whether the login is still good. While the database is away that is not known, and nothing is told either.
    async fn is_signed_in(&self) -> bool {
        match self.services.identity().admin(&self.cookie, Use::Page).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                tracing::debug!(%error, "a login could not be looked at");
                true
            }
        }
    }
}
