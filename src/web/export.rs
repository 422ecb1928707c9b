//! An export on its way out: written while it is read, so that its length costs no memory.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{
    openapi::{Draft, Gives},
    problem::chain,
};
use crate::services::audit::AuditExport;

/// The media type of one JSON value on each line.
const JSON_LINES: &str = "application/jsonl";

/// The audit trail as JSON Lines. What fails on the way breaks the answer off: it then lacks its line `end`.
pub(super) struct JsonLines(pub(super) AuditExport);

impl IntoResponse for JsonLines {
    fn into_response(self) -> Response {
        let lines = stream::unfold(self.0, async |mut export| {
            let line = export.next().await?;
            let text = line.map(|line| serde_json::to_string(&line).unwrap_or_default() + "\n");
            if let Err(error) = &text {
                tracing::error!(
                    event = "audit.export_broken",
                    error = chain(error),
                    "an export of the audit trail broke off"
                );
            }
            Some((text, export))
        });
        let headers = [
            (header::CONTENT_TYPE, JSON_LINES),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"postern-audit.jsonl\""),
        ];
        (headers, Body::from_stream(lines)).into_response()
    }
}

impl Gives for JsonLines {
    fn give(draft: &mut Draft) {
        draft.answer(StatusCode::OK, "The trail, line by line; without filters in the form that can be verified.");
        draft.also(StatusCode::OK, JSON_LINES, "One object on each line: `export`, `statement`, `entry` or `end`.");
    }
}
