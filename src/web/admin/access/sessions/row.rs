//! One session in a table.

use crate::{
    admin::context::Desk,
    ui::{
        links::Link,
        parts::{When, bytes},
    },
};
use domain::{ids::SessionId, session::EndReason};
use services::people::views::{EndedSessionRow, SessionRow};

/// A session that goes on.
pub(crate) struct Row {
    pub(crate) id: SessionId,
    pub(crate) user: (Link, String),
    pub(crate) device: String,
    pub(crate) server: (Link, String),
    pub(crate) host: (Link, String),
    pub(crate) address: String,
    pub(crate) from: String,
    pub(crate) since: When,
    pub(crate) received: String,
    pub(crate) sent: String,
}

/// A session that is over.
pub(crate) struct EndedRow {
    pub(crate) row: Row,
    pub(crate) ended: When,
    pub(crate) reason: &'static str,
}

impl Row {
    pub(crate) fn new(row: SessionRow, desk: &Desk) -> Self {
        let SessionRow { session, user, profile, server, host } = row;
        // What was deleted a moment ago has no name any more.
        let named = |name: Option<String>| name.unwrap_or_else(|| "Deleted".to_owned());
        Self {
            id: session.id,
            user: (Link::to(&session.user_id), named(user.map(|name| name.to_string()))),
            device: named(profile.map(|name| name.to_string())),
            server: (Link::to(&session.server_id), named(server.map(|name| name.to_string()))),
            host: (Link::to(&session.host_id), named(host.map(|name| name.to_string()))),
            address: session.address.to_string(),
            from: session.remote_address.ip().to_string(),
            since: When::new(session.connected_at, desk.now),
            received: bytes(session.bytes_received),
            sent: bytes(session.bytes_sent),
        }
    }
}

impl EndedRow {
    pub(crate) fn new(ended: EndedSessionRow, desk: &Desk) -> Self {
        let EndedSessionRow { row, ended_at, reason } = ended;
        Self { row: Row::new(row, desk), ended: When::new(ended_at, desk.now), reason: reason.map_or("Not known", why) }
    }
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
