//! `postern user import`: many users from a CSV file.
//!
//! The API reads the list, tells what it would do, and does it all at once. A list with a mistake is not begun: each
//! line that is wrong is told, and nothing is changed.

use std::path::Path;

use serde_json::{Value, json};

use super::Client;
use super::api::Ask;
use super::error::{ClientError, exit};
use super::options::read_text;
use super::output::{Column, ColumnFormat, View, at};
use super::refs::NounKind;
use super::table::{Cell, lines};

const COLUMNS: [&str; 5] = ["name", "email", "groups", "role", "organization"];
/// So many lines are shown before the question.
const PREVIEW: usize = 10;

const VIEW: View = View {
    key: "user_id",
    columns: &[
        Column("LINE", "line", ColumnFormat::Plain),
        Column("OUTCOME", "outcome", ColumnFormat::Plain),
        Column("ID", "user_id", ColumnFormat::Plain),
        Column("NAME", "name", ColumnFormat::Plain),
        Column("E-MAIL", "email", ColumnFormat::Plain),
    ],
};

/// Reads, shows, asks, makes.
pub(super) fn run(client: &Client, file: &Path, org: Option<&str>) -> Result<(), ClientError> {
    let text = read_text(file, "the file")?;
    let organization = client.find_given(NounKind::Organization, org)?;
    let send = |dry_run| {
        let body = json!({ "csv": text.expose(), "organization_id": organization, "dry_run": dry_run });
        client.api.send(&Ask::post("/users/bulk").body(&body).says_whether_tried())?.json()
    };
    let plan = send(true)?;
    let wrong = mistakes(&plan);
    if !wrong.is_empty() {
        return Err(ClientError::usage("the file has mistakes; nothing was changed").with(wrong));
    }
    preview(client, &plan);
    if client.api.dry_run {
        return Ok(());
    }
    let new = at(&plan, "new");
    if new != 0 {
        client.confirm(&format!("make {new} users"))?;
    }
    let done = send(false)?;
    if client.out.streams() {
        let lines: Vec<Value> = lines_of(&done).cloned().collect();
        client.out.rows(&lines, &VIEW, true, |_, id| id.to_owned())?;
    } else if !client.out.is_for_people() {
        client.out.json(&done)?;
    }
    let sentence = match (at(&done, "new"), at(&done, "existing")) {
        (new, existing) if existing == 0 => format!("made {new} users"),
        (new, existing) => format!("made {new} users; {existing} were there already"),
    };
    // What somebody else changed between the two.
    let wrong = mistakes(&done);
    if wrong.is_empty() {
        client.out.remark(&sentence);
        return Ok(());
    }
    Err(ClientError::new(exit::PARTLY, sentence).with(wrong))
}

fn lines_of(report: &Value) -> impl Iterator<Item = &Value> {
    at(report, "lines").as_array().into_iter().flatten()
}

/// What is wrong, line by line.
fn mistakes(report: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for line in lines_of(report) {
        for error in at(line, "errors").as_array().into_iter().flatten() {
            let text = |field| at(error, field).as_str().unwrap_or_default();
            told.push(format!(
                "line {}: {}",
                at(line, "line"),
                format!("{} {}", text("column"), text("detail")).trim()
            ));
        }
    }
    told
}

fn preview(client: &Client, plan: &Value) {
    let mut table = vec![COLUMNS.map(|column| Cell::new(&column.to_uppercase())).to_vec()];
    let new: Vec<&Value> = lines_of(plan).filter(|line| at(line, "outcome") == "new").collect();
    table.extend(
        new.iter().take(PREVIEW).map(|line| COLUMNS.map(|column| Cell::new(&shown(at(line, column)))).to_vec()),
    );
    for line in lines(&table, None).lines() {
        client.out.remark(line);
    }
    if new.len() > PREVIEW {
        client.out.remark(&format!("… and {} more", new.len() - PREVIEW));
    }
    if at(plan, "existing") != 0 {
        client.out.remark(&format!("there already, and left as they are: {}", at(plan, "existing")));
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(texts) if !texts.is_empty() => {
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        _ => "-".to_owned(),
    }
}
