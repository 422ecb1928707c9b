//! Sessions: recorded by the host that carries them, ended on request.

use jiff::Timestamp;

use super::{Act, Nudge, ServiceError, Services};
use crate::{
    domain::{
        audit::Action,
        ids::{HostId, ProfileId, SessionId, UserId},
        role::Permission,
        session::{EndReason, Session},
        user::User,
    },
    store::{
        StoreError,
        entity::{Page, PageRequest},
        policy::PolicyChange,
        sessions::{EndedSession, Ends, Presence, SessionFilter},
    },
};

/// One step in the course of a session, as a host records it. Steps may be repeated; they must stay in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRecord {
    /// It began.
    Began(Session),
    /// It ended.
    Ended {
        /// The session with its last counters.
        session: Session,
        /// When.
        at: Timestamp,
        /// Why.
        reason: EndReason,
    },
}

impl Services {
    /// A page of the live sessions.
    pub async fn sessions(
        &self,
        act: &Act,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<Session>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().list_sessions(filter, &self.alive().await?, page).await?)
    }

    /// A page of the sessions that are over, what ended last first. That somebody looked at them is recorded first: whom
    /// they are about could not know otherwise.
    pub async fn ended_sessions(
        &self,
        act: &Act,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<EndedSession>, ServiceError> {
        act.require(Permission::Read)?;
        let SessionFilter { user_id, users, server_id, host_id } = filter;
        let narrowed = [
            user_id.as_ref().map(ToString::to_string),
            server_id.as_ref().map(ToString::to_string),
            host_id.as_ref().map(ToString::to_string),
        ];
        let object = narrowed.into_iter().flatten().next().unwrap_or_else(|| "sessions".to_owned());
        let changes = serde_json::json!({ "users": users, "server_id": server_id, "host_id": host_id });
        self.store().insert_audit(&self.entry(act, Action::SessionRead, &object, changes)).await?;
        Ok(self.store().list_ended_sessions(filter, page).await?)
    }

    /// Asks for the end of a session; the host that carries it obeys within a moment.
    pub async fn end_session(&self, act: &Act, id: SessionId) -> Result<(), ServiceError> {
        act.require(Permission::EndSessions)?;
        self.end_one(act, Ends::One(id), id).await
    }

    /// Asks for the end of one session, if it is among `which`. Who may do that is for the caller to know.
    pub(super) async fn end_one(&self, act: &Act, which: Ends, id: SessionId) -> Result<(), ServiceError> {
        let entry = &self.entry(act, Action::SessionEnd, &id, serde_json::json!({}));
        let asking = |tx: PolicyChange| async move {
            if tx.ask_for_ends(which).await?.is_empty() {
                return Err(ServiceError::NotFound("live session"));
            }
            Ok(tx.record(entry).await?)
        };
        self.store().note(asking).await?;
        self.nudge(&Nudge::SessionEnd(id));
        Ok(())
    }

    /// Asks for the end of all live sessions of a user; answers how many there are. Whoever may still connect can come
    /// back.
    pub async fn end_sessions_of(&self, act: &Act, user: UserId) -> Result<usize, ServiceError> {
        act.require(Permission::EndSessions)?;
        self.store().find::<User>(&user).await?.ok_or(ServiceError::NotFound("user"))?;
        let asking = |tx: PolicyChange| async move {
            let asked = tx.ask_for_ends(Ends::All(user)).await?;
            if !asked.is_empty() {
                let changes = serde_json::json!({ "sessions": [asked, []] });
                tx.record(&self.entry(act, Action::SessionEnd, &user, changes)).await?;
            }
            Ok::<_, ServiceError>(asked)
        };
        let asked = self.store().note(asking).await?;
        for session in &asked {
            self.nudge(&Nudge::SessionEnd(*session));
        }
        Ok(asked.len())
    }

    /// The hosts that are alive: what others carry is not known.
    pub(super) async fn alive(&self) -> Result<Vec<HostId>, StoreError> {
        let statuses = self.store().host_statuses(None).await?;
        Ok(statuses.iter().filter(|(_, status)| status.online).map(|(host, _)| *host).collect())
    }

    /// Writes down a step in the course of a session of this host.
    ///
    /// When a session begins, it takes the presence of its profile over; the session before it, wherever it is, is
    /// asked to end. The newest connection wins.
    pub async fn record_session(&self, record: &SessionRecord) -> Result<(), ServiceError> {
        match record {
            SessionRecord::Began(session) => {
                self.store().upsert_session(session).await?;
                let lost = match self.store().take_presence(session).await? {
                    Presence::Taken { older } => older,
                    Presence::Displaced => Some(session.id),
                };
                if let Some(lost) = lost
                    && self.store().ask_for_end(lost, EndReason::Superseded).await?
                {
                    self.nudge(&Nudge::SessionEnd(lost));
                }
                self.nudge(&Nudge::SessionChange(session.id));
            }
            SessionRecord::Ended { session, at, reason } => {
                self.store().end_session(session, *at, *reason).await?;
                self.nudge(&Nudge::SessionChange(session.id));
            }
        }
        Ok(())
    }

    /// Writes down how much traffic the sessions of this host have had so far: id, bytes received, bytes sent.
    pub async fn count_traffic(&self, counters: &[(SessionId, u64, u64)]) -> Result<(), ServiceError> {
        Ok(self.store().count_traffic(counters).await?)
    }

    /// The sessions of a host whose end was asked for.
    pub async fn ends_asked_of(&self, host: HostId) -> Result<Vec<(SessionId, EndReason)>, ServiceError> {
        Ok(self.store().ends_asked_of(host).await?)
    }

    /// Those of the given sessions whose profile has a newer one elsewhere.
    pub async fn superseded(&self, carried: &[(ProfileId, SessionId)]) -> Result<Vec<SessionId>, ServiceError> {
        let profiles: Vec<ProfileId> = carried.iter().map(|(profile, _)| *profile).collect();
        let newest = self.store().presence_of(&profiles).await?;
        let older = |(profile, session): &&(ProfileId, SessionId)| newest.get(profile).is_some_and(|n| n != session);
        Ok(carried.iter().filter(older).map(|(_, session)| *session).collect())
    }

    /// Closes the records of sessions that this host no longer carries.
    pub async fn close_other_sessions(&self, host: HostId, carried: &[SessionId]) -> Result<(), ServiceError> {
        let closed = self.store().end_other_sessions(host, carried).await?;
        if closed > 0 {
            tracing::info!(
                event = "session.tidied",
                sessions = closed,
                "closed the records of sessions that ended while nobody looked"
            );
        }
        Ok(())
    }
}
