//! The ops listener: whether this process lives, whether it is of use, and its numbers. It needs no login and tells no
//! secret.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::route::{Access, Route};

/// Where health and numbers come from.
pub trait StatusSource: Send + Sync {
    /// What this process needs, and how each of it is.
    fn checks(&self) -> Vec<Check>;
    /// Its numbers as they are now; samples of one name share their help and kind.
    fn samples(&self) -> Vec<Sample>;
}

/// One thing that this process needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, such as `database`.
    pub name: &'static str,
    /// How it is.
    pub state: CheckState,
    /// Why, in words for the operator; never a secret.
    pub detail: Option<String>,
}

/// How something is that this process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Not as it should be, but new traffic is still welcome.
    Degraded,
    /// No new traffic, please.
    Failed,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the metric, such as `postern_sessions`.
    pub name: &'static str,
    /// What it counts or measures, one sentence.
    pub help: &'static str,
    /// How it behaves.
    pub kind: SampleKind,
    /// Labels and their values.
    pub labels: Vec<(&'static str, String)>,
    /// The number, in base units (seconds, bytes).
    pub value: f64,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// It only grows, from zero at start.
    Counter,
    /// It goes up and down.
    Gauge,
}

type Source = Arc<dyn StatusSource>;

/// The routes of the ops listener.
pub(super) fn routes() -> Vec<Route<Source>> {
    vec![
        Route::get("/healthz", Access::Anyone, healthz),
        Route::get("/readyz", Access::Anyone, readyz),
        Route::get("/metrics", Access::Anyone, metrics),
    ]
}

async fn healthz() -> Response {
    axum::Json(serde_json::json!({ "status": "ok" })).into_response()
}

#[derive(Serialize)]
struct Readiness {
    status: CheckState,
    degraded: Vec<&'static str>,
    checks: Vec<Check>,
}

async fn readyz(State(source): State<Source>) -> Response {
    let checks = source.checks();
    let any = |state| checks.iter().any(|check| check.state == state);
    let (code, status) = if any(CheckState::Failed) {
        (StatusCode::SERVICE_UNAVAILABLE, CheckState::Failed)
    } else if any(CheckState::Degraded) {
        (StatusCode::OK, CheckState::Degraded)
    } else {
        (StatusCode::OK, CheckState::Ok)
    };
    let degraded = checks.iter().filter(|check| check.state == CheckState::Degraded);
    let degraded = degraded.map(|check| check.name).collect();
    (code, axum::Json(Readiness { status, degraded, checks })).into_response()
}

async fn metrics(State(source): State<Source>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], exposition(&source.samples())).into_response()
}

/// The Prometheus text format, version 0.0.4.
fn exposition(samples: &[Sample]) -> String {
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(b.name));
    let mut text = String::new();
    for family in sorted.chunk_by(|a, b| a.name == b.name) {
        let Some(first) = family.first() else { continue };
        let help = first.help.replace('\\', "\\\\").replace('\n', "\\n");
        let kind = match first.kind {
            SampleKind::Counter => "counter",
            SampleKind::Gauge => "gauge",
        };
        let _ = writeln!(text, "# HELP {0} {help}\n# TYPE {0} {kind}", first.name);
        for sample in family {
            let _ = writeln!(text, "{}{} {}", sample.name, labels(&sample.labels), number(sample.value));
        }
    }
    text
}

fn labels(labels: &[(&'static str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &'static str, label: &str, value: f64) -> Sample {
        let labels = if label.is_empty() { Vec::new() } else { vec![("of", label.to_owned())] };
        Sample { name, help: "What it is.", kind: SampleKind::Gauge, labels, value }
    }

    #[test]
    fn samples_of_one_name_stand_together() {
        let text = exposition(&[sample("b", "x", 1.0), sample("a", "", f64::INFINITY), sample("b", "y\"\n", 0.5)]);
        let expected = "# HELP a What it is.\n# TYPE a gauge\na +Inf\n\
            # HELP b What it is.\n# TYPE b gauge\nb{of=\"x\"} 1\nb{of=\"y\\\"\\n\"} 0.5\n";
        assert_eq!(text, expected);
    }
}
