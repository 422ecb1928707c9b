//! The live sessions as a file: those that the page shows, on all its pages.

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use crate::admin::access::sessions::{Wanted, chosen::Chosen, wanted};
use crate::{
    admin::context::Desk,
    api::extract::Query,
    http::problem::Problem,
    ui::export::{AllRows, FileKind, Sheet},
};
use services::{Services, people::views::SessionRow};

const COLUMNS: [&str; 9] =
    ["user", "profile", "server", "host", "address", "from", "since", "bytes_received", "bytes_sent"];

pub(crate) async fn export<K: FileKind>(
    State(services): State<Services>,
    desk: Desk,
    query: Query<Chosen>,
) -> Result<Response, Problem> {
    if query.filter.is_ended() {
        return Err(Problem::parameter("state", "must be `live`: what is over is read on its page, which records it"));
    }
    let mut all = AllRows::new(query.page.order);
    match wanted(&services, &desk, &query.filter).await? {
        Wanted::Refused(reason) => return Err(Problem::parameter("q", reason)),
        Wanted::Nothing => {}
        Wanted::These(filter) => {
            while let Some(page) = all.next() {
                all.take(services.people().session_rows(&desk.act, &filter, &page).await?, &page);
            }
        }
    }
    Sheet { name: "sessions", columns: COLUMNS, rows: all.found.into_iter().map(record).collect() }.file::<K>()
}

fn record(row: SessionRow) -> [Value; 9] {
    let SessionRow { session, user, profile, server, host } = row;
    [
        json!(user),
        json!(profile),
        json!(server),
        json!(host),
        json!(session.address),
        json!(session.remote_address.ip()),
        json!(session.connected_at),
        json!(session.bytes_received),
        json!(session.bytes_sent),
    ]
}
