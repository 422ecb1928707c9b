//! Sessions, written by the host that carries them.
//!
//! `presence` holds one document per profile: its newest session, and within which span of the database's time that
//! began. Which of two is the newer one is decided in [`domain::presence`]; here it is read with the database's
//! time, and replaced only if it is still what was read. A write that the database carries out late, because it was
//! away, therefore changes nothing that was decided meanwhile.

use crate::areas::Access;
use crate::reports::readable;
use std::collections::HashMap;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Collection, bson};

use crate::StoreError;
use crate::entity::{Page, PageRequest, date, timestamp};
use crate::order::{ENDED_AT, FieldOrder, Order};
use domain::effect::{Carried, Touched};
use domain::ids::{HostId, ProfileId, ServerId, SessionId, UserId};
use domain::presence::{Present, Span};
use domain::session::{EndReason, Session};

pub(super) const SESSIONS: &str = "sessions";
const PRESENCE: &str = "presence";

/// Whom the database holds for the newest connection of a profile, as it was read.
#[derive(Debug, Clone)]
pub struct SeenPresence {
    /// The database's time of the reading.
    pub now: Timestamp,
    /// Whom.
    pub present: Present,
    /// What must still stand there for another one to take its place.
    row: Option<Document>,
}

/// Which sessions.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Those of one user.
    pub user_id: Option<UserId>,
    /// Those of any of these users.
    pub users: Option<Vec<UserId>>,
    /// Those of one server.
    pub server_id: Option<ServerId>,
    /// Those that one host carries.
    pub host_id: Option<HostId>,
}

impl SessionFilter {
    /// The users and the server; hosts are for the caller, who knows which are heard of.
    fn query(&self) -> Vec<Document> {
        let mut all = Vec::new();
        all.extend(self.user_id.map(|user| doc! { "user_id": user.to_string() }));
        all.extend(self.users.as_ref().map(|users| {
            let users: Vec<String> = users.iter().map(ToString::to_string).collect();
            doc! { "user_id": { "$in": users } }
        }));
        all.extend(self.server_id.map(|server| doc! { "server_id": server.to_string() }));
        all
    }
}

/// A session that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// The session, with its last counters.
    pub session: Session,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why, as far as that was written down.
    pub reason: Option<EndReason>,
}

impl Access<'_> {
    /// Records a session as it is now, and since when it is, if that is news. Repeating it does no harm.
    pub async fn upsert_session(self, session: &Session, began: Option<&Span>) -> Result<(), StoreError> {
        let mut row = bson::serialize_to_document(session).map_err(mongodb::error::Error::from)?;
        row.remove("id");
        row.remove("connected_at");
        // What stands there of the beginning is better than the host's own idea of it.
        let mut new = doc! { "connected_at": date(session.connected_at) };
        if let Some(began) = began {
            row.extend(std::mem::take(&mut new));
            row.insert("began", span_row(began));
        }
        let filter = doc! { "_id": session.id.to_string() };
        self.sessions().update_one(filter, doc! { "$set": row, "$setOnInsert": new }).upsert(true).await?;
        Ok(())
    }

    /// The newest session of a profile as far as the database knows, and the time there.
    pub async fn presence(self, profile: ProfileId) -> Result<SeenPresence, StoreError> {
        let corrupt = || StoreError::corrupt(PRESENCE, profile.to_string());
        let pipeline = [
            doc! { "$match": { "_id": "cluster" } },
            doc! { "$lookup": {
                "from": PRESENCE, "as": "presence", "pipeline": [{ "$match": { "_id": profile.to_string() } }],
            } },
            doc! { "$project": { "_id": 0, "now": "$$NOW", "presence": { "$first": "$presence" } } },
        ];
        let cluster = self.rows::<Document>("cluster");
        let read = cluster.aggregate(pipeline).await?.try_next().await?.ok_or_else(corrupt)?;
        let now = read.get_datetime("now").ok().and_then(|at| timestamp(*at)).ok_or_else(corrupt)?;
        let row = read.get_document("presence").ok().cloned();
        Ok(SeenPresence { now, present: row.as_ref().map_or(Present::Nobody, |row| present(row, now)), row })
    }

    /// Makes a session the newest of its profile, if what was seen is still so; else `false`.
    pub async fn take_presence(self, seen: &SeenPresence, session: &Session, began: &Span) -> Result<bool, StoreError> {
        let presence = self.rows::<Document>(PRESENCE);
        let id = session.id.to_string();
        let mut placed = span_row(began);
        placed.extend(doc! { "session_id": &id, "connected_at": date(session.connected_at) });
        let profile = session.profile_id.to_string();
        let Some(before) = &seen.row else {
            let row = doc! { "_id": profile, "session_id": id, "placed": placed };
            return match presence.insert_one(row).await.map_err(StoreError::from) {
                Ok(_) => Ok(true),
                Err(StoreError::Conflict { .. }) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let of = |field: &str| before.get(field).cloned().unwrap_or(Bson::Null);
        let same = doc! { "_id": profile, "session_id": of("session_id"), "placed": of("placed") };
        // Hosts of the previous release compare `connected_at` with their own clock. Without it none of them takes a
        // connection of its own for one that has lost.
        let mine = doc! { "$set": { "session_id": id, "placed": placed }, "$unset": { "connected_at": "" } };
        Ok(presence.update_one(same, mine).await?.matched_count > 0)
    }

    /// The newest session of each of the given profiles, as far as the database knows.
    pub async fn presence_of(self, profiles: &[ProfileId]) -> Result<HashMap<ProfileId, Present>, StoreError> {
        let keys: Vec<String> = profiles.iter().map(ToString::to_string).collect();
        let presence = self.rows::<Document>(PRESENCE);
        let found = presence.find(doc! { "_id": { "$in": keys } });
        let found = found.projection(doc! { "session_id": 1, "placed": 1, "now": "$$NOW" });
        let rows: Vec<Document> = found.await?.try_collect().await?;
        let read = |row: &Document| {
            let now = timestamp(*row.get_datetime("now").ok()?)?;
            Some((row.get_str("_id").ok()?.parse().ok()?, present(row, now)))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Since when each of the given sessions is, of those of which that was written down.
    pub async fn beginnings(self, sessions: &[SessionId]) -> Result<HashMap<SessionId, Span>, StoreError> {
        let keys: Vec<String> = sessions.iter().map(ToString::to_string).collect();
        let sessions = self.sessions();
        let found = sessions.find(doc! { "_id": { "$in": keys } }).projection(doc! { "began": 1 });
        let rows: Vec<Document> = found.await?.try_collect().await?;
        let read =
            |row: &Document| Some((row.get_str("_id").ok()?.parse().ok()?, span(row.get_document("began").ok()?)?));
        Ok(rows.iter().filter_map(read).collect())
    }

    /// When each of the given profiles began its newest session, of those that ever had one. A time in the future is not
    /// believed.
    pub async fn last_connections(self, profiles: &[ProfileId]) -> Result<HashMap<ProfileId, Timestamp>, StoreError> {
        let keys: Vec<String> = profiles.iter().map(ToString::to_string).collect();
        let presence = self.rows::<Document>(PRESENCE);
        let found = presence.find(doc! { "_id": { "$in": keys } });
        let found = found.projection(doc! { "connected_at": 1, "placed": 1, "now": "$$NOW" });
        let rows: Vec<Document> = found.await?.try_collect().await?;
        let dated = |row: &Document| {
            let now = *row.get_datetime("now").ok()?;
            // A host of the previous release writes the time beside what an earlier record says.
            let placed = row.get_document("placed").ok().and_then(|placed| placed.get_datetime("connected_at").ok());
            let told = [row.get_datetime("connected_at").ok(), placed];
            let at = told.into_iter().flatten().filter(|at| **at <= now).max()?;
            Some((row.get_str("_id").ok()?.parse().ok()?, timestamp(*at)?))
        };
        Ok(rows.iter().filter_map(dated).collect())
    }

    /// How many live sessions some users have on hosts that are alive; those without one are absent.
    pub async fn live_sessions_by_user(
        self,
        users: &[UserId],
        alive: &[HostId],
    ) -> Result<HashMap<UserId, u64>, StoreError> {
        let texts = |ids: &[UserId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let alive: Vec<String> = alive.iter().map(ToString::to_string).collect();
        let live = doc! { "user_id": { "$in": texts(users) }, "ended_at": null, "host_id": { "$in": alive } };
        let count = doc! { "$group": { "_id": "$user_id", "count": { "$sum": 1_i64 } } };
        let rows = self.sessions().aggregate([doc! { "$match": live }, count]).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        let counted =
            |row: &Document| Some((row.get_str("_id").ok()?.parse().ok()?, row.get_i64("count").ok()?.unsigned_abs()));
        Ok(rows.iter().filter_map(counted).collect())
    }

    /// The newest sessions of a user, live and ended, at most `limit`.
    pub async fn newest_sessions(self, user: UserId, limit: i64) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions();
        let rows = sessions.find(doc! { "user_id": user.to_string() }).sort(doc! { "_id": -1 }).limit(limit);
        let rows: Vec<Document> = rows.await?.try_collect().await?;
        Ok(readable(rows, session))
    }

    /// Records the end of a session; the first record of it counts.
    pub async fn end_session(self, session: &Session, at: Timestamp, reason: EndReason) -> Result<(), StoreError> {
        self.upsert_session(session, None).await?;
        let reason = bson::serialize_to_bson(&reason).map_err(mongodb::error::Error::from)?;
        let filter = doc! { "_id": session.id.to_string(), "ended_at": null };
        let end = doc! { "$set": { "ended_at": date(at), "end_reason": reason } };
        self.sessions().update_one(filter, end).await?;
        Ok(())
    }

    /// Records counters of live sessions.
    pub async fn count_traffic(self, counters: &[(SessionId, u64, u64)]) -> Result<(), StoreError> {
        for (session, received, sent) in counters {
            let received = i64::try_from(*received).unwrap_or(i64::MAX);
            let sent = i64::try_from(*sent).unwrap_or(i64::MAX);
            let grown = doc! { "$max": { "bytes_received": received, "bytes_sent": sent } };
            self.sessions().update_one(doc! { "_id": session.to_string() }, grown).await?;
        }
        Ok(())
    }

    /// Ends all sessions that a host is recorded to carry, but for those that it does: what remains of a crash.
    pub async fn end_other_sessions(self, host: HostId, carried: &[SessionId]) -> Result<u64, StoreError> {
        let carried: Vec<String> = carried.iter().map(ToString::to_string).collect();
        let filter = doc! { "host_id": host.to_string(), "ended_at": null, "_id": { "$nin": carried } };
        let reason = bson::serialize_to_bson(&EndReason::DaemonEnded).map_err(mongodb::error::Error::from)?;
        let end = doc! { "$set": { "end_reason": reason }, "$currentDate": { "ended_at": true } };
        Ok(self.sessions().update_many(filter, end).await?.modified_count)
    }

    /// Whether any session is known, live or ended.
    pub async fn has_sessions(self) -> Result<bool, StoreError> {
        Ok(self.sessions().find_one(doc! {}).await?.is_some())
    }

    /// One session, live or ended.
    pub async fn find_session(self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.sessions().find_one(doc! { "_id": id.to_string() }).await?.map(session).transpose()
    }

    /// A page of the live sessions that the given hosts carry: those of a silent host are unknown.
    pub async fn list_sessions(
        self,
        filter: &SessionFilter,
        alive: &[HostId],
        page: &PageRequest,
    ) -> Result<Page<Session>, StoreError> {
        let alive: Vec<String> = alive
            .iter()
            .filter(|host| filter.host_id.is_none_or(|wanted| wanted == **host))
            .map(ToString::to_string)
            .collect();
        let mut all = filter.query();
        all.push(doc! { "ended_at": null, "host_id": { "$in": alive } });
        let query = doc! { "$and": all };
        let count = self.count(SESSIONS, &query, page).await?;
        let order = page.order.unwrap_or(Order::OLDEST).by_field("_id");
        let rows = self.session_rows(query, order, page).await?;
        Ok(Page { items: readable(rows.0, session), next: rows.1, count })
    }

    /// A page of the sessions that are over; what ended last comes first, unless the page wants it otherwise.
    pub async fn list_ended_sessions(
        self,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<EndedSession>, StoreError> {
        let mut all = filter.query();
        all.extend(filter.host_id.map(|host| doc! { "host_id": host.to_string() }));
        all.push(doc! { ENDED_AT: { "$type": "date" } });
        let query = doc! { "$and": all };
        let count = self.count(SESSIONS, &query, page).await?;
        let order = page.order.unwrap_or(Order::ENDED).by_field(ENDED_AT);
        let rows = self.session_rows(query, order, page).await?;
        Ok(Page { items: readable(rows.0, ended), next: rows.1, count })
    }

    /// The rows of a page, and where the next one begins.
    async fn session_rows(
        self,
        query: Document,
        order: FieldOrder,
        page: &PageRequest,
    ) -> Result<(Vec<Document>, Option<String>), StoreError> {
        let sessions = self.sessions();
        let found = sessions.find(order.behind(query, page.after.as_ref())).sort(order.sort());
        let mut rows: Vec<Document> = found.limit(i64::from(page.limit) + 1).await?.try_collect().await?;
        let more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let next = rows.last().filter(|_| more).map(|last| order.place(last));
        Ok((rows, next))
    }

    /// The live sessions that the given hosts carry, of any of these users and on any of these servers.
    pub async fn carried(self, touched: &Touched, alive: &[HostId]) -> Result<Vec<Carried>, StoreError> {
        let users: Vec<String> = touched.users.iter().map(ToString::to_string).collect();
        let servers: Vec<String> = touched.servers.iter().map(ToString::to_string).collect();
        let alive: Vec<String> = alive.iter().map(ToString::to_string).collect();
        let query = doc! {
            "ended_at": null, "host_id": { "$in": alive },
            "$or": [{ "user_id": { "$in": users } }, { "server_id": { "$in": servers } }],
        };
        let fields = doc! { "profile_id": 1, "server_id": 1, "host_id": 1 };
        let rows: Vec<Document> = self.sessions().find(query).projection(fields).await?.try_collect().await?;
        let carried = |row: Document| {
            let id = |field: &str| row.get_str(field).unwrap_or_default();
            let read = || {
                let (profile_id, server_id) = (id("profile_id").parse().ok()?, id("server_id").parse().ok()?);
                Some(Carried { profile_id, server_id, host_id: id("host_id").parse().ok()? })
            };
            read().ok_or_else(|| StoreError::corrupt(SESSIONS, id("_id").to_owned()))
        };
        Ok(readable(rows, carried))
    }

    /// How many live sessions of each of these servers the given hosts carry; servers without any are absent.
    pub async fn live_by_server(
        self,
        servers: &[ServerId],
        alive: &[HostId],
    ) -> Result<HashMap<ServerId, u64>, StoreError> {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let alive: Vec<String> = alive.iter().map(ToString::to_string).collect();
        let pipeline = [
            doc! { "$match": { "ended_at": null, "host_id": { "$in": alive }, "server_id": { "$in": servers } } },
            doc! { "$group": { "_id": "$server_id", "count": { "$sum": 1_i64 } } },
        ];
        let rows: Vec<Document> = self.sessions().aggregate(pipeline).await?.try_collect().await?;
        let count = |row: &Document| Some((row.get_str("_id").ok()?.parse().ok()?, row.get_i64("count").ok()?));
        Ok(rows.iter().filter_map(count).map(|(server, count)| (server, count.unsigned_abs())).collect())
    }

    pub(crate) fn sessions(self) -> Collection<Document> {
        self.rows(SESSIONS)
    }
}

/// A span as it is stored.
fn span_row(span: &Span) -> Document {
    doc! { "earliest": span.earliest.map(date), "latest": date(span.latest) }
}

fn span(row: &Document) -> Option<Span> {
    let at = |field: &str| row.get_datetime(field).ok().and_then(|at| timestamp(*at));
    Some(Span { earliest: at("earliest"), latest: at("latest")? })
}

/// Whom a row of `presence` names. What it says of the time is of that session only if it names it: a host of the
/// previous release changes the session and leaves the rest.
fn present(row: &Document, now: Timestamp) -> Present {
    let session = |row: &Document| row.get_str("session_id").ok()?.parse::<SessionId>().ok();
    let Some(named) = session(row) else { return Present::Nobody };
    let placed = row.get_document("placed").ok().filter(|placed| session(placed) == Some(named)).and_then(span);
    placed.map_or(Present::Unplaced(named), |placed| Present::placed(named, placed, now))
}

fn ended(row: Document) -> Result<EndedSession, StoreError> {
    let ended_at = row.get_datetime(ENDED_AT).ok().and_then(|at| timestamp(*at));
    // A reason of a later release is none that we know.
    let reason = row.get("end_reason").cloned().and_then(|reason| bson::deserialize_from_bson(reason).ok());
    let session = session(row)?;
    let corrupt = || StoreError::corrupt(SESSIONS, session.id.to_string());
    Ok(EndedSession { ended_at: ended_at.ok_or_else(corrupt)?, reason, session })
}

fn session(mut row: Document) -> Result<Session, StoreError> {
    let id = row.get_str("_id").unwrap_or_default().to_owned();
    let corrupt = || StoreError::corrupt(SESSIONS, id.clone());
    // The noun's own form writes times as text, the database keeps dates.
    let connected_at: DateTime = *row.get_datetime("connected_at").map_err(|absent| corrupt().because(absent))?;
    let connected_at = timestamp(connected_at).ok_or_else(corrupt)?;
    row.insert("id", id.clone());
    row.insert("connected_at", connected_at.to_string());
    bson::deserialize_from_document(row).map_err(|invalid| corrupt().because(invalid))
}
