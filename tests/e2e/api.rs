//! The admin API, as a program outside would use it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};

use crate::netns::Namespace;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON; `null` when there is none.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// A caller of one host's API, from that host's own namespace.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    namespace: Arc<Namespace>,
    base: String,
    token: String,
}

impl Api {
    /// `authority` is the address and port of the admin listener, `token` an API token.
    pub(crate) fn new(namespace: &Arc<Namespace>, authority: &str, token: &str) -> Self {
        let base = format!("http://{authority}/api/v1");
        Self { namespace: Arc::clone(namespace), base, token: token.to_owned() }
    }

    /// Sends one request. An error is a failed connection or a timeout; every answer is an answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>, accept: &str) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("accept", accept);
        self.namespace.enter(|| {
            let answer = match body {
                Some(body) => {
                    agent().run(request.header("content-type", "application/json").body(body.to_string()).unwrap())
                }
                None if method == "POST" || method == "PUT" => agent().run(request.body(String::new()).unwrap()),
                None => agent().run(request.body(()).unwrap()),
            };
            answer.and_then(read).map_err(|error| format!("{method} {path}: {error}"))
        })
    }

    /// Sends one request that must succeed.
    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.send(method, path, body, "application/json").unwrap_or_else(|error| panic!("{error}"));
        let shown = body.map(Value::to_string).unwrap_or_default();
        assert!(
            (200..300).contains(&answer.status),
            "{method} {}{path} {shown}: {}: {}",
            self.base,
            answer.status,
            answer.body
        );
        answer.json()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    /// All items of a list, page by page.
    #[track_caller]
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = path.to_owned();
        loop {
            let mut page = self.get(&next);
            let Value::Array(found) = page["items"].take() else { panic!("GET {next}: no `items` in {page}") };
            items.extend(found);
            let Some(cursor) = page["next_cursor"].as_str() else { return items };
            next = format!("{path}{separator}cursor={cursor}");
        }
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, Some(body))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Value {
        self.call("PATCH", path, Some(body))
    }

    /// A POST without a body: an act.
    #[track_caller]
    pub(crate) fn act(&self, path: &str) -> Value {
        self.call("POST", path, None)
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str) {
        self.call("PUT", path, None);
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) {
        self.call("DELETE", path, None);
    }
}

/// The status of a plain GET from inside `namespace`, if there is an answer.
pub(crate) fn status_of(namespace: &Namespace, url: &str) -> Option<u16> {
    namespace.enter(|| agent().get(url).call().ok().map(|answer| answer.status().as_u16()))
}

/// What a URL answers, asked from a namespace.
pub(crate) fn text_of(namespace: &Namespace, url: &str) -> Option<String> {
    namespace.enter(|| agent().get(url).call().ok()?.body_mut().read_to_string().ok())
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .new_agent()
}

fn read(mut answer: Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Answer { status: answer.status().as_u16(), location, body: answer.body_mut().read_to_string()? })
}
