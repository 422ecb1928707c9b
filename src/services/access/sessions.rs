//! Sessions: recorded by the host that carries them, ended on request.

use jiff::Timestamp;

use crate::{Access, Act, Missing, Nudge, ServiceError};
use domain::audit::Action;
use domain::ids::{HostId, ProfileId, SessionId, UserId};
use domain::presence::{ClockReading, Moment, Outcome, Span, outcome};
use domain::role::Permission;
use domain::session::{EndReason, Session};
use domain::user::User;
use store::StoreError;
use store::access::session_orders::SessionsToEnd;
use store::access::sessions::{EndedSession, SessionFilter};
use store::entity::{Page, PageRequest};
use store::policy::PolicyChange;

/// One step in the course of a session, as a host records it. Steps may be repeated; they must stay in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRecord {
    /// It began.
    Began(Beginning),
    /// It ended.
    Ended {
        /// The session with its last counters.
        session: Session,
        /// When.
        at: Timestamp,
        /// Why.
        reason: EndReason,
        /// When, by the host's uptime. A record of the previous release does not say.
        #[serde(default)]
        moment: Option<Moment>,
    },
}

/// The beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Beginning {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// When, by the host's uptime. A record of the previous release does not say.
    #[serde(default)]
    pub moment: Option<Moment>,
}

impl SessionRecord {
    /// That it began; without a moment nothing is known but that it was before the record is written.
    pub fn began(session: Session, moment: Option<Moment>) -> Self {
        Self::Began(Beginning { session, moment })
    }

    /// Which session it is about.
    pub fn session(&self) -> &Session {
        match self {
            Self::Began(Beginning { session, .. }) | Self::Ended { session, .. } => session,
        }
    }
}

/// So often presence is looked at anew if others change it meanwhile: each time one of them has come to its end.
const ATTEMPTS: u32 = 64;

impl Access<'_> {
    /// A page of the live sessions.
    pub async fn sessions(
        self,
        act: &Act,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<Session>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().access().list_sessions(filter, &self.alive().await?, page).await?)
    }

    /// A page of the sessions that are over, what ended last first. The reading is recorded in the audit log first: whom
    /// they are about could not know otherwise.
    pub async fn ended_sessions(
        self,
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
        self.store().evidence().insert_audit(&self.entry(act, Action::SessionRead, &object, changes)).await?;
        Ok(self.store().access().list_ended_sessions(filter, page).await?)
    }

    /// Asks for the end of a session; the host that carries it obeys within a moment.
    pub async fn end_session(self, act: &Act, id: SessionId) -> Result<(), ServiceError> {
        act.require(Permission::EndSessions)?;
        self.end_one(act, SessionsToEnd::One(id), id).await
    }

    /// Asks for the end of one session, if it is among `which`. Who may do that is for the caller to know.
    pub(crate) async fn end_one(self, act: &Act, which: SessionsToEnd, id: SessionId) -> Result<(), ServiceError> {
        let entry = &self.entry(act, Action::SessionEnd, &id, serde_json::json!({}));
        let asking = |tx: PolicyChange| async move {
            if tx.access().order_ends(which).await?.is_empty() {
                return Err(ServiceError::NotFound(Missing::LiveSession));
            }
            Ok(tx.record(entry).await?)
        };
        self.store().note(asking).await?;
        self.nudge(&Nudge::SessionEnd(id));
        Ok(())
    }

    /// Asks for the end of all live sessions of a user; answers how many there are. Whoever may still connect can come
    /// back.
    pub async fn end_sessions_of(self, act: &Act, user: UserId) -> Result<usize, ServiceError> {
        act.require(Permission::EndSessions)?;
        self.store().find::<User>(&user).await?.ok_or(ServiceError::NotFound(Missing::User))?;
        let asking = |tx: PolicyChange| async move {
            let asked = tx.access().order_ends(SessionsToEnd::All(user)).await?;
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
    pub(crate) async fn alive(self) -> Result<Vec<HostId>, StoreError> {
        let statuses = self.store().hosts().host_statuses(None).await?;
        Ok(statuses.iter().filter(|(_, status)| status.online).map(|(host, _)| *host).collect())
    }

    /// Writes down a step in the course of a session of this host.
    ///
    /// When a session begins, it takes the presence of its profile over, unless a newer one is known; the surely older
    /// one of the two, wherever it is, is asked to end. The newest connection wins.
    pub async fn record_session(self, record: &SessionRecord) -> Result<(), ServiceError> {
        match record {
            SessionRecord::Began(Beginning { session, moment }) => {
                if let Some(older) = self.place_session(session, moment.as_ref()).await? {
                    self.nudge(&Nudge::SessionEnd(older));
                }
                self.nudge(&Nudge::SessionChange(session.id));
            }
            SessionRecord::Ended { session, at, reason, moment } => {
                let (session, at) = self.dated(session, *at, moment.as_ref()).await?;
                self.store().access().end_session(&session, at, *reason).await?;
                self.nudge(&Nudge::SessionChange(session.id));
            }
        }
        Ok(())
    }

    /// Writes a session down with its place among those of its profile; answers which one has to end for it.
    async fn place_session(
        self,
        session: &Session,
        moment: Option<&Moment>,
    ) -> Result<Option<SessionId>, ServiceError> {
        let mut session = session.clone();
        for _ in 0..ATTEMPTS {
            let asked = self.cluster().uptime();
            let seen = self.store().access().presence(session.profile_id).await?;
            let reading = ClockReading { at: seen.now, asked, answered: self.cluster().uptime() };
            let unknown = Span { earliest: None, latest: seen.now };
            let span = moment.map_or(unknown, |moment| moment.span(self.cluster().boot(), &reading));
            // The host's own idea of when that was may be of a time when it had not asked the database yet.
            session.connected_at = session.connected_at.max(span.earliest.unwrap_or(Timestamp::MIN)).min(span.latest);
            self.store().access().upsert_session(&session, Some(&span)).await?;
            match outcome(&seen.present, session.id, &span, seen.now) {
                Outcome::Newest { older } if self.store().access().take_presence(&seen, &session, &span).await? => {
                    return Ok(older);
                }
                Outcome::Newest { .. } => {}
                Outcome::Unclear => return Ok(None),
                Outcome::Older => return Ok(Some(session.id)),
            }
        }
        let busy = std::io::Error::other("the presence of a profile changes all the time");
        Err(ServiceError::Internal(Box::new(busy)))
    }

    /// A session that ended, and when: by the database's time, also if the host had not asked it yet when that happened.
    async fn dated(
        self,
        session: &Session,
        at: Timestamp,
        moment: Option<&Moment>,
    ) -> Result<(Session, Timestamp), ServiceError> {
        let Some(moment) = moment.filter(|moment| moment.guess.is_none()) else { return Ok((session.clone(), at)) };
        let reading = self.cluster().read_clock().await?;
        let latest = moment.span(self.cluster().boot(), &reading).latest;
        let connected_at = session.connected_at.min(latest);
        Ok((Session { connected_at, ..session.clone() }, latest))
    }

    /// Writes down how much traffic the sessions of this host have had so far: id, bytes received, bytes sent.
    pub async fn count_traffic(self, counters: &[(SessionId, u64, u64)]) -> Result<(), ServiceError> {
        Ok(self.store().access().count_traffic(counters).await?)
    }

    /// Those of a host's live sessions that have to end, and why: the ordered ones, and those of `doubted` that a newer
    /// connection of their profile has surely followed. A nudge only says whom to doubt; what is believed stands in
    /// orders, which no VPN host can write, and in the records of the connections.
    pub async fn ends_of(
        self,
        carried: &[SessionId],
        doubted: &[(ProfileId, SessionId)],
    ) -> Result<Vec<(SessionId, EndReason)>, ServiceError> {
        let ordered = self.store().access().ordered_ends(carried).await?;
        let superseded = self.superseded(doubted).await?;
        let ordered = ordered.into_iter().map(|session| (session, EndReason::Requested));
        Ok(ordered.chain(superseded.into_iter().map(|session| (session, EndReason::Superseded))).collect())
    }

    /// Those of the given sessions whose profile surely has a newer one elsewhere.
    pub async fn superseded(self, carried: &[(ProfileId, SessionId)]) -> Result<Vec<SessionId>, ServiceError> {
        let profiles: Vec<ProfileId> = carried.iter().map(|(profile, _)| *profile).collect();
        let newest = self.store().access().presence_of(&profiles).await?;
        let others: Vec<SessionId> = carried
            .iter()
            .filter(|(profile, session)| newest.get(profile).is_some_and(|present| !present.is(*session)))
            .map(|(_, session)| *session)
            .collect();
        if others.is_empty() {
            return Ok(others);
        }
        let beginnings = self.store().access().beginnings(&others).await?;
        let lost = |(profile, session): &&(ProfileId, SessionId)| {
            newest
                .get(profile)
                .zip(beginnings.get(session))
                .is_some_and(|(present, span)| present.supersedes(*session, span))
        };
        Ok(carried.iter().filter(lost).map(|(_, session)| *session).collect())
    }

    /// Closes the records of sessions that this host no longer carries.
    pub async fn close_other_sessions(self, host: HostId, carried: &[SessionId]) -> Result<(), ServiceError> {
        self.hosts().refuse_displaced()?;
        let closed = self.store().access().end_other_sessions(host, carried).await?;
        if closed > 0 {
            tracing::info!(
                event = "session.tidied",
                sessions = closed,
                "session records whose end no host reported were closed"
            );
        }
        Ok(())
    }
}
