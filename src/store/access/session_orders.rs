//! Orders to end sessions.
//!
//! They stand in a collection of their own, `session_orders`, which is written together with the audit entry by whoever
//! may change policy and which a VPN host can only read: a session's own record is written by the host that carries it,
//! so nothing in it can order another host about. An order names its session and outlives any outage that a host
//! survives; a session that is over is ended by nobody.

use futures_util::TryStreamExt as _;
use mongodb::bson::{self, Bson, Document, doc};

use crate::areas::{Access, AccessChange};
use crate::{StoreError, access::sessions::SESSIONS};
use domain::ids::{SessionId, UserId};
use domain::session::EndReason;

const ORDERS: &str = "session_orders";

/// How many sessions one query asks for.
const CHUNK: usize = 1_000;

/// Which live sessions are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsToEnd {
    /// This one.
    One(SessionId),
    /// This one, if it is of this user.
    Own(UserId, SessionId),
    /// All of this user.
    All(UserId),
}

impl AccessChange<'_> {
    /// Orders the hosts that carry them to end live sessions, and answers which they are.
    pub async fn order_ends(self, which: SessionsToEnd) -> Result<Vec<SessionId>, StoreError> {
        let mut live = match which {
            SessionsToEnd::One(session) => doc! { "_id": session.to_string() },
            SessionsToEnd::Own(user, session) => doc! { "_id": session.to_string(), "user_id": user.to_string() },
            SessionsToEnd::All(user) => doc! { "user_id": user.to_string() },
        };
        live.insert("ended_at", Bson::Null);
        let rows = self.find_rows(SESSIONS, live.clone()).await?;
        let ended: Vec<SessionId> = rows.iter().filter_map(|row| row.get_str("_id").ok()?.parse().ok()).collect();
        for session in &ended {
            let order = doc! { "$currentDate": { "at": true } };
            self.upsert_row(ORDERS, doc! { "_id": session.to_string() }, order).await?;
        }
        if !ended.is_empty() {
            // The previous release looks for it here.
            let reason = bson::serialize_to_bson(&EndReason::Requested).map_err(mongodb::error::Error::from)?;
            self.update_rows(SESSIONS, live, doc! { "$set": { "end_requested": reason } }).await?;
        }
        Ok(ended)
    }
}

impl Access<'_> {
    /// Those of the given sessions that are ordered to end.
    pub async fn ordered_ends(self, sessions: &[SessionId]) -> Result<Vec<SessionId>, StoreError> {
        let mut ordered = Vec::new();
        for some in sessions.chunks(CHUNK) {
            let ids: Vec<String> = some.iter().map(ToString::to_string).collect();
            let orders = self.rows::<Document>(ORDERS);
            let found = orders.find(doc! { "_id": { "$in": ids } }).projection(doc! { "_id": 1 });
            let rows: Vec<Document> = found.await?.try_collect().await?;
            ordered.extend(rows.iter().filter_map(|row| row.get_str("_id").ok()?.parse::<SessionId>().ok()));
        }
        Ok(ordered)
    }
}
