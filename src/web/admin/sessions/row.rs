//! One session in a table.

use crate::{
    admin::{desk::Desk, links::Link},
    portal::parts::{When, bytes},
};
use domain::{ids::SessionId, session::EndReason};
use services::people::views::{EndedSessionRow, SessionRow};

/// A session that goes on.
pub(in crate::admin) struct Row {
    pub(in crate::admin) id: SessionId,
    pub(in crate::admin) user: (Link, String),
    pub(in crate::admin) device: String,
    pub(in crate::admin) server: (Link, String),
    pub(in crate::admin) host: (Link, String),
    pub(in crate::admin) address: String,
    pub(in crate::admin) from: String,
    pub(in crate::admin) since: When,
    pub(in crate::admin) received: String,
    pub(in crate::admin) sent: String,
}

/// A session that is over.
pub(super) struct EndedRow {
    pub(super) row: Row,
    pub(super) ended: When,
    pub(super) reason: &'static str,
}

impl Row {
    pub(in crate::admin) fn new(row: SessionRow, desk: &Desk) -> Self {
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
    pub(super) fn new(ended: EndedSessionRow, desk: &Desk) -> Self {
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
