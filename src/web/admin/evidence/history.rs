//! What happened to one thing, at the foot of its page.

use crate::admin::context::Desk;
use crate::http::problem::Problem;
use crate::ui::{Cell, Chip, Column, Table, When};
use domain::role::Permission;
use services::Services;
use services::evidence::history::Change;

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct HistoryRow {
    /// When.
    pub(crate) at: When,
    /// Who.
    pub(crate) by: String,
    /// What was done.
    pub(crate) what: String,
    /// Whether it was refused.
    pub(crate) denied: bool,
}

/// The newest changes; nothing for roles that may not read the audit log.
pub(crate) async fn history<T: ToString>(services: &Services, desk: &Desk, id: &T) -> Result<Vec<HistoryRow>, Problem> {
    if !desk.may(Permission::ReadAudit) {
        return Ok(Vec::new());
    }
    let changes = services.evidence().history(&desk.act, &id.to_string()).await?;
    Ok(rows(&changes, desk))
}

/// The changes as rows.
pub(crate) fn rows(changes: &[Change], desk: &Desk) -> Vec<HistoryRow> {
    changes.iter().map(|change| row(change, desk)).collect()
}

fn row(change: &Change, desk: &Desk) -> HistoryRow {
    let verb = change.action.split_once('.').map_or(change.action.as_str(), |(_, verb)| verb);
    let is_edit = verb == "update" && !change.fields.is_empty();
    let what = match change.action.as_str() {
        // What was done is no deed to the thing itself, but to something of it.
        "ticket.create" => "Made a one-time profile link".to_owned(),
        "session.read" => "Looked at VPN sessions that ended".to_owned(),
        "session.end" => "Ended all VPN sessions".to_owned(),
        "login.end" => "Ended all sign-ins".to_owned(),
        "user.claim" => "Signed in for the first time".to_owned(),
        _ if is_edit => format!("Changed {}", change.fields.join(", ").replace('_', " ")),
        _ => done(verb),
    };
    HistoryRow { at: When::new(change.at, desk.now), by: change.by.clone(), what, denied: !change.success }
}

/// The table of the changes.
pub(crate) fn table(history: &[HistoryRow]) -> Table {
    let refused = |row: &HistoryRow| row.denied.then(|| Cell::part(Chip::bad("Refused")));
    let columns = [
        Column::name("What", |row: &HistoryRow| Cell::text(&row.what).and(refused(row))),
        Column::new("Who", |row: &HistoryRow| Cell::text(&row.by)),
        Column::new("When", |row: &HistoryRow| Cell::part(&row.at)),
    ];
    Table::new(&columns, history)
}

/// "create" as "Created".
pub(crate) fn done(verb: &str) -> String {
    let past = match (verb, verb.strip_suffix('e'), verb.strip_suffix('y')) {
        ("withdraw", ..) => "withdrew".to_owned(),
        ("read", ..) => "read".to_owned(),
        (_, Some(stem), _) => format!("{stem}ed"),
        (_, _, Some(stem)) => format!("{stem}ied"),
        _ => format!("{verb}ed"),
    };
    let mut letters = past.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
