//! What happened to one thing, at the foot of its page.

use crate::admin::context::Desk;
use crate::http::problem::Problem;
use crate::ui::{Cell, Chip, Column, Table, When};
use domain::role::Permission;
use services::Services;
pub(crate) use services::evidence::history::Change;

/// The newest changes; nothing for roles that may not read the audit log.
pub(crate) async fn history<T: ToString>(services: &Services, desk: &Desk, id: &T) -> Result<Vec<Change>, Problem> {
    if !desk.may(Permission::ReadAudit) {
        return Ok(Vec::new());
    }
    Ok(services.evidence().history(&desk.act, &id.to_string()).await?)
}

/// What was done, in words.
fn what(change: &Change) -> String {
    let verb = change.action.split_once('.').map_or(change.action.as_str(), |(_, verb)| verb);
    let is_edit = verb == "update" && !change.fields.is_empty();
    match change.action.as_str() {
        // What was done is no deed to the thing itself, but to something of it.
        "ticket.create" => "Made a one-time profile link".to_owned(),
        "session.read" => "Looked at VPN sessions that ended".to_owned(),
        "session.end" => "Ended all VPN sessions".to_owned(),
        "login.end" => "Ended all sign-ins".to_owned(),
        "user.claim" => "Signed in for the first time".to_owned(),
        _ if is_edit => format!("Changed {}", change.fields.join(", ").replace('_', " ")),
        _ => done(verb),
    }
}

/// The table of the changes.
pub(crate) fn table(history: &[Change], desk: &Desk) -> Table {
    let refused = |change: &Change| (!change.success).then(|| Cell::part(Chip::bad("Refused")));
    let columns = [
        Column::name("What", |change: &Change| Cell::text(what(change)).and(refused(change))),
        Column::new("Who", |change: &Change| Cell::text(&change.by)),
        Column::new("When", |change: &Change| Cell::part(When::new(change.at, desk.now))),
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
