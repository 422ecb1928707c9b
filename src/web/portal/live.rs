//! The line that turns from "Waiting for your first connection…" to "Connected to vpn-2, 14:02": on the ready page,
//! fresh by a small poll of the script, and by a link without it.

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::IntoResponse as _;
use jiff::Timestamp;
use serde::Serialize;

use crate::api::download::accepts;
use crate::http::problem::{Code, Problem};
use crate::ui::page::Answer;
use crate::ui::{Chrome, Employee, When};
use services::people::self_service::{MyProfile, MyProfileStatus};

/// The line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    /// Where it is asked for.
    pub(crate) path: String,
    /// `waiting` or `connected`.
    pub(crate) state: &'static str,
    /// What it says.
    pub(crate) text: String,
    /// Since when.
    pub(crate) at: Option<When>,
    moment: Option<Timestamp>,
}

/// The same for the script.
#[derive(Serialize)]
struct LiveForm<'a> {
    state: &'a str,
    text: &'a str,
    at: Option<Timestamp>,
}

impl Live {
    /// Nothing yet, of what was made since a moment.
    pub(crate) fn waiting(since: Timestamp) -> Self {
        Self::of(&[], since)
    }

    /// How the newest of the profiles that were made since a moment stands; a connected one before the others.
    pub(crate) fn of(mine: &[MyProfile], since: Timestamp) -> Self {
        let path = format!("/profiles/newest?since={}", since.as_second());
        let new = || mine.iter().filter(|mine| mine.profile.value.issued_at.as_second() >= since.as_second());
        let connected = new().find_map(|mine| match &mine.status {
            MyProfileStatus::Connected { host, since } => Some((host, *since)),
            _ => None,
        });
        let (state, text, moment) = match connected {
            Some((host, at)) => ("connected", format!("Connected to {host}"), Some(at)),
            None => ("waiting", "Waiting for your first connection…".to_owned(), None),
        };
        Self { path, state, text, at: moment.map(When::clock), moment }
    }
}

/// The line as a page of its own.
#[derive(Template)]
#[template(path = "portal/watch.html")]
pub(crate) struct Watch {
    pub(crate) chrome: Chrome,
    pub(crate) live: Live,
}

pub(crate) async fn newest(Employee { services, person, visit }: Employee, uri: Uri, headers: HeaderMap) -> Answer {
    let since = uri.query().and_then(|query| query.strip_prefix("since=")).and_then(|text| text.parse().ok());
    let since = since.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let since = since.ok_or_else(|| Problem::new(Code::BadParameter, "since: must be a time in seconds"))?;
    let live = Live::of(&services.people().my_profiles(&person).await?, since);
    let mut response = if accepts(&headers, "application/json") {
        let form = LiveForm { state: live.state, text: &live.text, at: live.moment };
        let body = serde_json::to_vec(&form).unwrap_or_default();
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    } else {
        visit.show(&Watch { chrome: visit.chrome.clone(), live })
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
