//! `postern user import`: many users from a CSV file.
//!
//! The file is read and checked to its end before anything is sent, so that a wrong column or a name that cannot be is
//! told for all lines at once. Then each user is made by a request of its own: one that is refused does not keep the
//! others out, and is told with its line.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{
    Client,
    api::Ask,
    body::{Body, given},
    error::{ClientError, exit},
    options::read_text,
    refs::Kind,
    table::{Cell, lines},
    wait::Progress,
};
use crate::domain::{
    role::Role,
    text::{Email, GroupName, Name},
};

const COLUMNS: [&str; 5] = ["name", "email", "groups", "role", "organization"];
/// So many lines are shown before the question.
const PREVIEW: usize = 10;

/// A user to be.
#[derive(Debug)]
struct Row {
    line: u64,
    name: String,
    email: Option<String>,
    groups: Vec<String>,
    role: Option<String>,
    organization: Option<String>,
}

/// Reads, shows, asks, makes.
pub(super) fn run(client: &Client, file: &Path, org: Option<&str>) -> Result<(), ClientError> {
    let text = read_text(file, "the file")?;
    let rows = read(text.expose())?;
    let organizations = organizations(client, &rows, org)?;
    preview(client, &rows);
    if client.api.dry_run {
        return Ok(());
    }
    client.confirm(&format!("make {} users", rows.len()))?;

    let progress = Progress::steps(rows.len());
    let (mut made, mut refused, mut last) = (0, Vec::new(), exit::FAILED);
    for (row, organization) in rows.iter().zip(&organizations) {
        let body = Body::default()
            .set("organization_id", Some(organization.as_str()))
            .set("name", Some(row.name.as_str()))
            .set("email", row.email.as_deref())
            .set("groups", given(row.groups.clone()))
            .set("role", row.role.as_deref());
        match client.api.send(&Ask::post("/users").body(&body.new_object())) {
            Ok(_) => made += 1,
            Err(error) => {
                last = error.code();
                refused.push(format!("line {}: {}", row.line, error.sentence()));
                // Without an API no later line fares better.
                if last == exit::UNREACHABLE {
                    break;
                }
            }
        }
        progress.step();
    }
    drop(progress);
    if refused.is_empty() {
        client.out.remark(&format!("made {made} users"));
        return Ok(());
    }
    let code = if made > 0 { exit::PARTLY } else { last };
    Err(ClientError::new(code, format!("made {made} of {} users", rows.len())).with(refused))
}

/// All rows; or what is wrong, line by line.
fn read(text: &str) -> Result<Vec<Row>, ClientError> {
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .flexible(false)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let unreadable = |error: csv::Error| ClientError::usage(format!("the file cannot be read: {error}"));
    let headings = reader.headers().map_err(unreadable)?.clone();
    for heading in &headings {
        if !COLUMNS.contains(&heading.to_lowercase().as_str()) {
            let known = COLUMNS.join(", ");
            return Err(ClientError::usage(format!("the column `{heading}` is not known; these are: {known}")));
        }
    }
    if !headings.iter().any(|heading| heading.eq_ignore_ascii_case("name")) {
        return Err(ClientError::usage("the first line must name the columns, `name` among them"));
    }
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        match row(&headings, &record, line) {
            Ok(row) => rows.push(row),
            Err(problems) => wrong.extend(problems.into_iter().map(|problem| format!("line {line}: {problem}"))),
        }
    }
    if !wrong.is_empty() {
        return Err(ClientError::usage("the file has mistakes; nothing was changed").with(wrong));
    }
    if rows.is_empty() {
        return Err(ClientError::usage("the file has no users"));
    }
    Ok(rows)
}

fn row(headings: &StringRecord, record: &StringRecord, line: u64) -> Result<Row, Vec<String>> {
    let value = |column: &str| {
        let found = headings.iter().zip(record).find(|(heading, _)| heading.eq_ignore_ascii_case(column));
        found.map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
    };
    let groups: Vec<String> =
        value("groups").unwrap_or_default().split(';').map(|group| group.trim().to_owned()).collect();
    let row = Row {
        line,
        name: value("name").unwrap_or_default(),
        email: value("email"),
        groups: groups.into_iter().filter(|group| !group.is_empty()).collect(),
        role: value("role"),
        organization: value("organization"),
    };
    let mut wrong = Vec::new();
    let mut check = |column: &str, result: Result<(), String>| {
        wrong.extend(result.err().map(|reason| format!("{column} {reason}")));
    };
    check("name", row.name.parse::<Name>().map(drop).map_err(|error| error.to_string()));
    if let Some(email) = &row.email {
        check("email", email.parse::<Email>().map(drop).map_err(|error| error.to_string()));
    }
    for group in &row.groups {
        check("groups", group.parse::<GroupName>().map(drop).map_err(|error| error.to_string()));
    }
    if let Some(role) = &row.role {
        check("role", role.parse::<Role>().map(drop));
    }
    if wrong.is_empty() { Ok(row) } else { Err(wrong) }
}

/// The organization of each row, by id.
fn organizations(client: &Client, rows: &[Row], org: Option<&str>) -> Result<Vec<String>, ClientError> {
    let mut known = std::collections::BTreeMap::new();
    rows.iter()
        .map(|row| {
            let missing =
                || ClientError::usage(format!("line {}: names no organization, and --org is not given", row.line));
            let name = row.organization.as_deref().or(org).ok_or_else(missing)?;
            if let Some(id) = known.get(name) {
                return Ok(String::clone(id));
            }
            let id = client.find(Kind::Organization, name)?;
            known.insert(name, id.clone());
            Ok(id)
        })
        .collect()
}

fn preview(client: &Client, rows: &[Row]) {
    let text = |value: Option<&str>| Cell::new(value.unwrap_or("-"));
    let mut table = vec![COLUMNS.map(|column| Cell::new(&column.to_uppercase())).to_vec()];
    table.extend(rows.iter().take(PREVIEW).map(|row| {
        let groups = given(row.groups.clone()).map(|groups| groups.join(", "));
        [
            Some(row.name.as_str()),
            row.email.as_deref(),
            groups.as_deref(),
            row.role.as_deref(),
            row.organization.as_deref(),
        ]
        .map(text)
        .to_vec()
    }));
    for line in lines(&table, None).lines() {
        client.out.remark(line);
    }
    if rows.len() > PREVIEW {
        client.out.remark(&format!("… and {} more", rows.len() - PREVIEW));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let error = read("name,email,role\nAna,ana@example.com,user\n,nonsense,boss\nBo,,\n").unwrap_err();
        let told = error.to_string();
        assert_eq!(error.code(), exit::USAGE);
        for part in ["line 3: name must not be empty", "line 3: email must be", "line 3: role must be one of"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("line 2") && !told.contains("line 4"), "{told}");
    }

    #[test]
    fn columns_come_in_any_order_and_spreadsheets_write_a_mark_in_front() {
        let rows = read("\u{feff}Email,Name,Groups\n\"a@example.com\",\"Ana, B.\",dev; ops;\n").unwrap();
        assert_eq!((rows[0].name.as_str(), rows[0].email.as_deref()), ("Ana, B.", Some("a@example.com")));
        assert_eq!(rows[0].groups, ["dev", "ops"]);
        assert!(read("name,surprise\na,b\n").unwrap_err().to_string().contains("`surprise`"));
        assert!(read("email\na@example.com\n").unwrap_err().to_string().contains("`name`"));
        assert!(read("name\n").unwrap_err().to_string().contains("no users"));
    }
}
