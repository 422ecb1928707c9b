//! Exports on their way out: the audit log, written while it is read so that its length costs no memory, and lists as files.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value};

use crate::http::problem::{Code, Problem, chain};
use crate::openapi::{Draft, Gives};
use domain::text::harmless;
use services::evidence::audit::AuditExport;

/// The media type of one JSON value on each line.
const JSON_LINES: &str = "application/jsonl";

/// The audit log as JSON Lines. What fails on the way breaks the answer off: it then lacks its line `end`.
pub(crate) struct JsonLines(pub(crate) AuditExport);

impl IntoResponse for JsonLines {
    fn into_response(self) -> Response {
        let lines = stream::unfold(self.0, async |mut export| {
            let line = export.next().await?;
            let text = line.map(|line| serde_json::to_string(&line).unwrap_or_default() + "\n");
            if let Err(error) = &text {
                tracing::error!(
                    event = "audit.export_broken",
                    error = chain(error),
                    "an export of the audit log broke off"
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
        draft.answer(StatusCode::OK, "The audit log, line by line; without filters in the form that can be verified.");
        draft.also(StatusCode::OK, JSON_LINES, "One object on each line: `export`, `statement`, `entry` or `end`.");
    }
}

/// A list as a file: the same columns for spreadsheets and for programs.
pub(crate) struct Sheet {
    /// What the file is called, without its ending.
    pub(crate) name: &'static str,
    /// What its columns are called.
    pub(crate) columns: Vec<&'static str>,
    /// Its rows.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// A kind of file that a list can be written as.
pub(crate) trait FileKind: Send + 'static {
    /// How its name ends.
    const ENDING: &'static str;
    /// Its media type.
    const TYPE: &'static str;

    /// The bytes of the file.
    fn bytes(sheet: Sheet) -> Result<Vec<u8>, Problem>;
}

/// For spreadsheets.
pub(crate) enum Csv {}

/// For programs.
pub(crate) enum Json {}

impl Sheet {
    /// The answer that has it as a file.
    pub(crate) fn file<K: FileKind>(self) -> Result<Response, Problem> {
        let disposition = format!("attachment; filename=\"{}.{}\"", self.name, K::ENDING);
        let disposition = HeaderValue::try_from(disposition).map_err(|_odd| unwritable())?;
        let headers =
            [(header::CONTENT_TYPE, HeaderValue::from_static(K::TYPE)), (header::CONTENT_DISPOSITION, disposition)];
        Ok((headers, K::bytes(self)?).into_response())
    }
}

impl FileKind for Csv {
    const ENDING: &'static str = "csv";
    const TYPE: &'static str = "text/csv; charset=utf-8";

    fn bytes(sheet: Sheet) -> Result<Vec<u8>, Problem> {
        let mut file = csv::Writer::from_writer(Vec::new());
        file.write_record(sheet.columns).map_err(|_full| unwritable())?;
        for row in sheet.rows {
            file.write_record(row.into_iter().map(cell)).map_err(|_full| unwritable())?;
        }
        file.into_inner().map_err(|_full| unwritable())
    }
}

impl FileKind for Json {
    const ENDING: &'static str = "json";
    const TYPE: &'static str = "application/json";

    fn bytes(sheet: Sheet) -> Result<Vec<u8>, Problem> {
        let object = |row: Vec<Value>| -> Map<String, Value> {
            sheet.columns.iter().map(|column| (*column).to_owned()).zip(row).collect()
        };
        let rows: Vec<_> = sheet.rows.into_iter().map(object).collect();
        serde_json::to_vec_pretty(&rows).map_err(|_odd| unwritable())
    }
}

/// A value as a cell: lists in one, with semicolons between, and nothing that a spreadsheet would run.
fn cell(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => harmless(text),
        Value::Array(items) => harmless(items.into_iter().map(plain).collect::<Vec<_>>().join(";")),
        other => other.to_string(),
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn unwritable() -> Problem {
    Problem::new(Code::Internal, "the list could not be written")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sheet() -> Sheet {
        let rows =
            vec![vec![json!("Ana, of us"), json!(["a", "b"]), json!(7)], vec![json!("=cmd()"), json!([]), Value::Null]];
        Sheet { name: "people", columns: vec!["name", "groups", "count"], rows }
    }

    #[test]
    fn a_spreadsheet_gets_cells_that_do_nothing() {
        let text = String::from_utf8(Csv::bytes(sheet()).unwrap()).unwrap();
        assert_eq!(text, "name,groups,count\n\"Ana, of us\",a;b,7\n'=cmd(),,\n");
    }

    #[test]
    fn a_program_gets_the_values_as_they_are() {
        let rows: Value = serde_json::from_slice(&Json::bytes(sheet()).unwrap()).unwrap();
        assert_eq!(rows[0], json!({ "name": "Ana, of us", "groups": ["a", "b"], "count": 7 }));
        assert_eq!(rows[1], json!({ "name": "=cmd()", "groups": [], "count": null }));
    }
}
