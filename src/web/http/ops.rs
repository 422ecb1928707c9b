//! The ops listener: whether this process lives, whether it is of use, its tasks and its numbers. It needs no login and
//! tells no secret. All health pages answer with the same JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;

use crate::http::route::{Access, Route};
use domain::problem::{Problem, ProblemCode};
use domain::task::TaskState;
use metrics::catalogue::CERT_EXPIRY;
use metrics::{MEDIA_TYPE, Metrics};

/// Where health and numbers come from.
pub trait StatusSource: Send + Sync {
    /// Whether the process has finished starting.
    fn is_started(&self) -> bool;
    /// What this process needs, and how each of it is.
    fn checks(&self) -> Vec<Check>;
    /// The recurring tasks of the process.
    fn tasks(&self) -> Vec<TaskState>;
    /// Measures into `now` what is not counted where it happens.
    fn measure(&self, now: &Metrics);
}

/// One thing that this process needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, such as `mongo`.
    pub name: &'static str,
    /// How it is.
    pub state: CheckState,
    /// How many seconds ago that was found, or since when it has been so; `None` where neither is known.
    pub age_seconds: Option<u64>,
    /// What kind of thing went wrong last, even if all is well again.
    pub last_error: Option<&'static str>,
    /// Why it is not as it should be, in words for the operator; never a secret.
    pub detail: Option<String>,
    /// What is wrong, one by one, in the form of the API: where it is about servers, which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Check {
    /// A check of which nothing else is known.
    pub fn new(name: &'static str, state: CheckState) -> Self {
        Self { name, state, age_seconds: None, last_error: None, detail: None, problems: Vec::new() }
    }

    /// How a kind of problem is, given what is wrong.
    pub fn of(code: ProblemCode, problems: Vec<Problem>, now: Timestamp) -> Self {
        let Some(since) = problems.iter().map(|problem| problem.since).min() else {
            return Self::new(code.as_str(), CheckState::Ok);
        };
        let state = if code.is_grave() { CheckState::Failed } else { CheckState::Degraded };
        let details: Vec<&str> = problems.iter().map(|problem| problem.detail.as_str()).collect();
        let check = Self::new(code.as_str(), state).because(&details.join("; "));
        let check = check.aged(now.duration_since(since).try_into().unwrap_or_default());
        Self { problems, ..check }
    }

    /// The same with the reason.
    #[must_use]
    pub fn because(self, detail: &str) -> Self {
        Self { detail: Some(detail.to_owned()), ..self }
    }

    /// The same with its age.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        Self { age_seconds: Some(age.as_secs()), ..self }
    }
}

/// How something is that this process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Not as it should be, but new traffic is still welcome.
    Degraded,
    /// No new traffic, please.
    Failed,
}

/// What the routes of this listener know.
#[derive(Clone)]
pub(crate) struct Ops {
    /// How the process is.
    pub source: Arc<dyn StatusSource>,
    /// What was counted.
    pub metrics: Metrics,
    /// When the certificate of a listener ends first.
    pub certificates_end: Option<Timestamp>,
}

/// The routes of the ops listener.
pub(crate) fn routes() -> Vec<Route<Ops>> {
    vec![
        Route::get("/healthz", Access::Anyone, healthz),
        Route::get("/readyz", Access::Anyone, readyz),
        Route::get("/startupz", Access::Anyone, startupz),
        Route::get("/tasks", Access::Anyone, tasks),
        Route::get("/metrics", Access::Anyone, metrics),
    ]
}

/// The answer of every health page.
#[derive(Serialize)]
struct Health {
    status: CheckState,
    degraded: Vec<&'static str>,
    failed: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

impl Health {
    /// That of nothing but one word.
    fn plain(status: CheckState) -> Self {
        Self { status, degraded: Vec::new(), failed: Vec::new(), checks: None }
    }

    /// The worst of `checks`, each of them told if `verbose`.
    fn of(checks: Vec<Check>, verbose: bool) -> Self {
        let named = |state| checks.iter().filter(|check| check.state == state).map(|check| check.name).collect();
        Self {
            status: checks.iter().map(|check| check.state).max().unwrap_or(CheckState::Ok),
            degraded: named(CheckState::Degraded),
            failed: named(CheckState::Failed),
            checks: verbose.then_some(checks),
        }
    }
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let failed = self.status == CheckState::Failed;
        let code = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (code, axum::Json(self)).into_response()
    }
}

/// Asks nobody: a process whose database is away is not to be restarted.
async fn healthz() -> Health {
    Health::plain(CheckState::Ok)
}

async fn startupz(State(ops): State<Ops>) -> Health {
    Health::plain(if ops.source.is_started() { CheckState::Ok } else { CheckState::Failed })
}

async fn readyz(State(ops): State<Ops>, uri: Uri) -> Health {
    let mut query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    Health::of(ops.source.checks(), query.any(|(key, _)| key == "verbose"))
}

/// The tasks, in the form of the API's list.
#[derive(Serialize)]
struct Tasks {
    items: Vec<TaskState>,
}

async fn tasks(State(ops): State<Ops>) -> axum::Json<Tasks> {
    axum::Json(Tasks { items: ops.source.tasks() })
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point; seconds stay far below 2^52")]
async fn metrics(State(ops): State<Ops>) -> Response {
    let now = Metrics::default();
    ops.source.measure(&now);
    if let Some(end) = ops.certificates_end {
        now.set(&CERT_EXPIRY, ["listener"], end.as_second() as f64);
    }
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], ops.metrics.exposition(&now)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_is_the_state_of_all() {
        let (good, odd, bad) = (
            Check::new("a", CheckState::Ok),
            Check::new("b", CheckState::Degraded),
            Check::new("c", CheckState::Failed),
        );
        let all = Health::of(vec![good.clone(), odd.clone(), bad], true);
        assert_eq!((all.status, all.degraded, all.failed), (CheckState::Failed, vec!["b"], vec!["c"]));
        assert_eq!(all.checks.map(|checks| checks.len()), Some(3));
        let fair = Health::of(vec![good, odd], false);
        assert_eq!(fair.status, CheckState::Degraded);
        assert_eq!(fair.into_response().status(), StatusCode::OK);
    }

    #[test]
    fn a_problem_keeps_traffic_away_if_it_is_grave_and_is_told_by_server() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let problem = |code, since, detail: &str| Problem {
            code,
            server_id: Some(domain::ids::Id::from_parts(at(0), 7)),
            detail: detail.to_owned(),
            since: at(since),
        };
        let well = Check::of(ProblemCode::DaemonHung, Vec::new(), at(9));
        assert_eq!((well.name, well.state), ("daemon_hung", CheckState::Ok));
        let hung = Check::of(ProblemCode::DaemonHung, vec![problem(ProblemCode::DaemonHung, 5, "mute")], at(9));
        assert_eq!((hung.state, hung.age_seconds), (CheckState::Failed, Some(4)));
        let failed = ["taken", "gone"].map(|detail| problem(ProblemCode::DaemonFailed, 20, detail)).to_vec();
        // A clock that was set back makes no age.
        let failed = Check::of(ProblemCode::DaemonFailed, failed, at(9));
        assert_eq!((failed.state, failed.age_seconds), (CheckState::Degraded, Some(0)));
        assert_eq!(failed.detail.as_deref(), Some("taken; gone"));
        assert_eq!(serde_json::to_value(&failed).unwrap()["problems"][1]["detail"], "gone");
        assert!(serde_json::to_value(&well).unwrap().get("problems").is_none());
    }
}
