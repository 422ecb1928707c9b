//! A list of users as spreadsheets write it: one on each line, below a line that names the columns.
//!
//! What is wrong with a line is said of that line, so that somebody who corrects a list of two hundred does it once.

use std::collections::{BTreeSet, HashMap};

use csv::{ReaderBuilder, StringRecord, Trim};
use serde::Serialize;
use utoipa::ToSchema;

use super::role::Role;
use super::text::{Email, GroupName, Name, TextError};

/// A list has at most so many lines of users.
pub const MOST: usize = 1_000;

const COLUMNS: [&str; 5] = ["name", "email", "groups", "role", "organization"];

/// Why a list was refused as a whole; the sentence is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is no CSV.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A column that users do not have.
    #[error("has a column “{0}”; known are name, email, groups, role and organization")]
    Column(String),
    /// The same column twice.
    #[error("has the column “{0}” twice")]
    Twice(String),
    /// No line of headings.
    #[error("must begin with a line that names the columns, name among them")]
    NoName,
    /// Nothing below the headings.
    #[error("has no users")]
    Empty,
    /// Too much below the headings.
    #[error("must have at most {MOST} lines")]
    TooMany,
}

impl Serialize for ListError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is wrong with a cell, or with a line as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellFault {
    /// Another line asks for the same user.
    #[error("stands in line {line} already")]
    Repeated {
        /// The number of that line.
        line: u64,
    },
    /// There are more cells than headings, or fewer.
    #[error("has {found} cells where the headings have {expected}")]
    Count {
        /// How many cells the line has.
        found: usize,
        /// How many there are to be.
        expected: usize,
    },
    /// It is no text of its kind.
    #[error(transparent)]
    Text(#[from] TextError),
    /// It is no role; in words.
    #[error("{0}")]
    Role(String),
}

impl From<String> for CellFault {
    fn from(no_role: String) -> Self {
        Self::Role(no_role)
    }
}

/// What is wrong with one cell of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellError {
    /// The column; empty for the line as a whole.
    pub column: &'static str,
    /// What is wrong.
    pub fault: CellFault,
}

/// A line as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Written {
    /// Its number in the text; that of the headings is usually 1.
    pub line: u64,
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// The role.
    pub role: Option<String>,
    /// The name of the organization.
    pub organization: Option<String>,
}

/// The user that a line requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedUser {
    /// The name.
    pub name: Name,
    /// The mailbox; machines have none.
    pub email: Option<Email>,
    /// The groups.
    pub groups: BTreeSet<GroupName>,
    /// The role; a plain user where the line names none.
    pub role: Role,
    /// The name of the organization, if the line has one.
    pub organization: Option<Name>,
}

/// A line, and the user that it requests or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// As it was written.
    pub written: Written,
    /// The user that it requests.
    pub requested: Result<RequestedUser, Vec<CellError>>,
}

/// Reads a list. Commas, semicolons or tabs part its cells, whichever the line of headings has; several groups in one
/// cell are parted by semicolons.
///
/// # Errors
/// What is wrong with the list as a whole.
pub fn read(text: &str) -> Result<Vec<Line>, ListError> {
    // Spreadsheets write a mark in front.
    let text = text.trim_start_matches('\u{feff}');
    let delimiter = delimiter(text.trim_start().lines().next().unwrap_or_default());
    let mut reader =
        ReaderBuilder::new().delimiter(delimiter).trim(Trim::All).flexible(true).from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| ListError::Unreadable(error.to_string());
    let headings = headings(reader.headers().map_err(unreadable)?)?;
    let (mut lines, mut seen) = (Vec::new(), HashMap::new());
    for record in reader.records() {
        if lines.len() == MOST {
            return Err(ListError::TooMany);
        }
        let mut line = line(&headings, &record.map_err(unreadable)?);
        if let Ok(RequestedUser { name, email, organization, .. }) = &line.requested {
            // People are known by their address, machines by their name.
            let column = if email.is_some() { "email" } else { "name" };
            let machine = email.is_none().then(|| (name.clone(), organization.clone()));
            if let Some(first) = seen.insert((email.clone(), machine), line.written.line) {
                line.requested = Err(vec![CellError { column, fault: CellFault::Repeated { line: first } }]);
            }
        }
        lines.push(line);
    }
    if lines.is_empty() { Err(ListError::Empty) } else { Ok(lines) }
}

fn delimiter(headings: &str) -> u8 {
    let count = |delimiter: u8| headings.bytes().filter(|byte| *byte == delimiter).count();
    [b',', b';', b'\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

fn headings(record: &StringRecord) -> Result<Vec<&'static str>, ListError> {
    let mut found = Vec::new();
    for heading in record {
        let known = COLUMNS.into_iter().find(|column| heading.eq_ignore_ascii_case(column));
        let known = known.ok_or_else(|| ListError::Column(heading.to_owned()));
        // A text without any heading is a list without its first line.
        let known = known.map_err(|wrong| if found.is_empty() { ListError::NoName } else { wrong })?;
        if found.contains(&known) {
            return Err(ListError::Twice(known.to_owned()));
        }
        found.push(known);
    }
    if found.contains(&"name") { Ok(found) } else { Err(ListError::NoName) }
}

fn line(headings: &[&'static str], record: &StringRecord) -> Line {
    let value = |column: &str| {
        let found = headings.iter().zip(record).find(|(heading, _)| **heading == column);
        found.map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
    };
    let groups = value("groups").unwrap_or_default();
    let groups = groups.split(';').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned);
    let written = Written {
        line: record.position().map_or(0, csv::Position::line),
        name: value("name").unwrap_or_default(),
        email: value("email"),
        groups: groups.collect(),
        role: value("role"),
        organization: value("organization"),
    };
    let requested = if record.len() == headings.len() {
        ask(&written)
    } else {
        let fault = CellFault::Count { found: record.len(), expected: headings.len() };
        Err(vec![CellError { column: "", fault }])
    };
    Line { written, requested }
}

fn ask(written: &Written) -> Result<RequestedUser, Vec<CellError>> {
    let mut wrong = Vec::new();
    let mut groups = BTreeSet::new();
    for group in &written.groups {
        groups.extend(cell(&mut wrong, "groups", group.parse()));
    }
    let name = cell(&mut wrong, "name", written.name.parse::<Name>());
    let email = written.email.as_deref().and_then(|email| cell(&mut wrong, "email", email.parse()));
    let role = written.role.as_deref().and_then(|role| cell(&mut wrong, "role", role.parse()));
    let organization = written.organization.as_deref();
    let organization = organization.and_then(|name| cell(&mut wrong, "organization", name.parse()));
    match name {
        Some(name) if wrong.is_empty() => {
            Ok(RequestedUser { name, email, groups, role: role.unwrap_or(Role::User), organization })
        }
        _ => Err(wrong),
    }
}

fn cell<T, E: Into<CellFault>>(wrong: &mut Vec<CellError>, column: &'static str, read: Result<T, E>) -> Option<T> {
    read.map_err(|fault| wrong.push(CellError { column, fault: fault.into() })).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrong(line: &Line) -> Vec<(&'static str, String)> {
        line.requested.as_ref().unwrap_err().iter().map(|error| (error.column, error.fault.to_string())).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let lines =
            read("name,email,role\nAna,ana@example.com,user\n,nonsense,boss\nBo,,\nCy,ana@example.com,\nDi\n").unwrap();
        assert_eq!(lines.iter().map(|line| line.written.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(lines[0].requested.is_ok() && lines[2].requested.is_ok());
        let columns: Vec<_> = wrong(&lines[1]).into_iter().map(|(column, _)| column).collect();
        assert_eq!(columns, ["name", "email", "role"]);
        assert_eq!(wrong(&lines[3]), [("email", "stands in line 2 already".to_owned())]);
        assert_eq!(wrong(&lines[4]), [("", "has 1 cells where the headings have 3".to_owned())]);
    }

    #[test]
    fn spreadsheets_of_all_lands_are_read() {
        let expected = RequestedUser {
            name: "Ana, B.".parse().unwrap(),
            email: Some("a@example.com".parse().unwrap()),
            groups: BTreeSet::from(["dev".parse().unwrap(), "ops".parse().unwrap()]),
            role: Role::User,
            organization: None,
        };
        for text in [
            "\u{feff}Email,Name,Groups\r\n\"a@example.com\",\"Ana, B.\",dev; ops;\r\n",
            "email;name;groups\na@example.com;Ana, B.;\"dev;ops\"\n",
            "email\tname\tgroups\na@example.com\tAna, B.\tdev;ops\n",
        ] {
            assert_eq!(read(text).unwrap()[0].requested.as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(read("name\nAna\n").unwrap()[0].requested.as_ref().unwrap().email, None);
    }

    #[test]
    fn a_list_that_is_none_is_refused_as_a_whole() {
        for (text, error) in [
            ("", ListError::NoName),
            ("Ana,ana@example.com\nBo,bo@example.com", ListError::NoName),
            ("email\na@example.com\n", ListError::NoName),
            ("name,surprise\na,b\n", ListError::Column("surprise".to_owned())),
            ("name,Name\na,b\n", ListError::Twice("name".to_owned())),
            ("name\n", ListError::Empty),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        assert_eq!(read(&format!("name\n{}", "a\n".repeat(MOST + 1))), Err(ListError::TooMany));
        assert_eq!(read(&format!("name\n{}", "a\n".repeat(MOST))).unwrap().len(), MOST);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(lines) = read(&format!("name,email\n{text}")) {
                prop_assert!(lines.iter().all(|line| line.written.line > 1));
            }
        }
    }
}
