//! What is stored about oneself (UX-09).

use askama::Template;
use axum::http::header;
use axum::response::IntoResponse as _;

use crate::http::problem::{Code, Problem};
use crate::ui::page::Answer;
use crate::ui::{Chrome, Employee};
use services::people::my_data::MyDataKind;

/// So many records of a kind are shown; the JSON has all.
const SHOWN: usize = 20;

/// The page.
#[derive(Template)]
#[template(path = "portal/my_data.html")]
pub(crate) struct MyDataPage {
    pub(crate) chrome: Chrome,
    pub(crate) kinds: Vec<MyDataKind>,
}

/// The newest records of a kind, each field by field, and how many more there are.
fn records(kind: &MyDataKind) -> (Vec<Vec<(String, String)>>, usize) {
    let records = kind.values.iter().take(SHOWN).map(fields).filter(|fields| !fields.is_empty());
    (records.collect(), kind.values.len().saturating_sub(SHOWN))
}

/// The fields of a record in words: `issued_at` is "Issued at".
fn fields(record: &serde_json::Value) -> Vec<(String, String)> {
    let Some(object) = record.as_object() else { return Vec::new() };
    let show = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "–".to_owned(),
        serde_json::Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.is_empty() => "–".to_owned(),
        serde_json::Value::Array(items) => {
            let items: Vec<_> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            items.join(", ")
        }
        other => other.to_string(),
    };
    object.iter().map(|(field, value)| (capital(&field.replace('_', " ")), show(value))).collect()
}

/// A text with a capital letter.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", chars.as_str())
}

pub(crate) async fn page(Employee { services, person, visit }: Employee) -> Answer {
    let data = services.people().my_data(&person).await?;
    Ok(visit.show(&MyDataPage { chrome: visit.chrome.clone(), kinds: data.kinds }))
}

pub(crate) async fn json(Employee { services, person, .. }: Employee) -> Answer {
    let data = services.people().my_data(&person).await?;
    let body = serde_json::to_vec_pretty(&data)
        .map_err(|_never| Problem::new(Code::Internal, "the data could not be written"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.json\""),
    ];
    Ok((headers, body).into_response())
}
