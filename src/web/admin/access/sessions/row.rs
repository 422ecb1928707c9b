//! One session in a table.

use serde_json::json;

use crate::admin::access::sessions::chosen::Chosen;
use crate::admin::access::sessions::{Wanted, wanted};
use crate::admin::context::Desk;
use crate::admin::lists::{ExportField, List, PageOf, Paged};
use crate::http::problem::Problem;
use crate::ui::{Cell, Column, Link, Linked, Topic, When, bytes};
use domain::ids::SessionId;
use domain::session::EndReason;
use services::people::views::{EndedSessionRow, SessionRow};
use services::{Page, PageRequest, Services};

/// A link to a thing; what was deleted a moment ago has no name any more.
fn named(id: &impl Linked, name: Option<&impl ToString>) -> Cell {
    Cell::link(Link::to(id), called(name))
}

fn called(name: Option<&impl ToString>) -> String {
    name.map_or_else(|| "Deleted".to_owned(), ToString::to_string)
}

fn who(row: &SessionRow) -> Cell {
    let device = Cell::text(called(row.profile.as_ref())).within("span", "sub");
    named(&row.session.user_id, row.user.as_ref()).then(device)
}

/// Who has a session, with which device: for whoever reads a button aloud.
pub(super) fn who_with(row: &SessionRow) -> String {
    format!("{} with {}", called(row.user.as_ref()), called(row.profile.as_ref()))
}

fn server(row: &SessionRow) -> Cell {
    named(&row.session.server_id, row.server.as_ref())
}

fn host(row: &SessionRow) -> Cell {
    named(&row.session.host_id, row.host.as_ref())
}

fn from(row: &SessionRow) -> Cell {
    Cell::mono(row.session.remote_address.ip())
}

/// What is shown of a session that goes on.
pub(crate) fn live_columns(desk: &Desk) -> Vec<Column<'_, SessionRow>> {
    vec![
        Column::name("User and device", who),
        Column::broken("Server", server),
        Column::new("Host", host),
        Column::new("Address", |row: &SessionRow| Cell::mono(row.session.address)),
        Column::new("From", from),
        Column::new("Since", |row: &SessionRow| Cell::part(When::new(row.session.connected_at, desk.now)))
            .latest("since"),
        Column::number("Received", |row: &SessionRow| bytes(row.session.bytes_received)),
        Column::number("Sent", |row: &SessionRow| bytes(row.session.bytes_sent)),
    ]
}

/// What is shown of a session that is over.
pub(super) fn ended_columns(desk: &Desk) -> Vec<Column<'_, EndedSessionRow>> {
    vec![
        Column::name("User and device", |over: &EndedSessionRow| who(&over.row)),
        Column::broken("Server", |over: &EndedSessionRow| server(&over.row)),
        Column::new("Host", |over: &EndedSessionRow| host(&over.row)),
        Column::new("From", |over: &EndedSessionRow| from(&over.row)),
        Column::new("Began", |over: &EndedSessionRow| Cell::part(When::new(over.row.session.connected_at, desk.now))),
        Column::new("Ended", |over: &EndedSessionRow| Cell::part(When::new(over.ended_at, desk.now))).latest("ended"),
        Column::new("Why", |over: &EndedSessionRow| Cell::text(over.reason.map_or("Not known", why))),
        Column::number("Received", |over: &EndedSessionRow| bytes(over.row.session.bytes_received)),
        Column::number("Sent", |over: &EndedSessionRow| bytes(over.row.session.bytes_sent)),
    ]
}

/// Why a session ended, for people.
fn why(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Disconnected => "The client left",
        EndReason::Refused => "No longer allowed",
        EndReason::Superseded => "The device connected anew",
        EndReason::Requested => "Somebody ended it",
        EndReason::Moved => "Its host left service",
        EndReason::DaemonEnded => "The server stopped",
    }
}

impl List for SessionRow {
    type Id = SessionId;
    const TITLE: &'static str = "Sessions";
    const EMPTY: [&'static str; 3] = [
        "Nobody is connected",
        "There are no more sessions",
        "Whoever connects to the VPN is shown here while it lasts, whatever host carries it.",
    ];
    const FILE: &'static str = "sessions";
    const FIELDS: &'static [ExportField<Self>] = &[
        ("user", |row| json!(row.user)),
        ("profile", |row| json!(row.profile)),
        ("server", |row| json!(row.server)),
        ("host", |row| json!(row.host)),
        ("address", |row| json!(row.session.address)),
        ("from", |row| json!(row.session.remote_address.ip())),
        ("since", |row| json!(row.session.connected_at)),
        ("bytes_received", |row| json!(row.session.bytes_received)),
        ("bytes_sent", |row| json!(row.session.bytes_sent)),
    ];

    fn columns(desk: &Desk) -> Vec<Column<'_, Self>> {
        live_columns(desk)
    }
}

/// The sessions that go on: a file has no others, because what is over is read on its page, which records it.
impl Paged for SessionRow {
    type Filter = Chosen;
    const TOPICS: &'static [Topic] = &[Topic::Sessions, Topic::Hosts];

    async fn page(services: &Services, desk: &Desk, chosen: &Self::Filter, request: &PageRequest) -> PageOf<Self> {
        if chosen.is_ended() {
            let detail = "must be `live`: what is over is read on its page, which records it";
            return Err(Problem::parameter("state", detail));
        }
        match wanted(services, desk, chosen).await? {
            Wanted::Refused(reason) => Err(Problem::parameter("q", reason)),
            Wanted::Nothing => Ok(Page::empty()),
            Wanted::These(filter) => Ok(services.people().session_rows(&desk.act, &filter, request).await?),
        }
    }
}
