//! `/sessions`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::answer::{Accepted, Answer, List};
use crate::api::extract::{At, Call, Filter, Query};
use domain::ids::{HostId, ServerId, SessionId, UserId};
use domain::session::{EndReason, Session, SessionState};
use domain::session_search::SessionSearch;
use services::{Page, SessionFilter};

/// Which sessions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionQuery {
    user_id: Option<UserId>,
    server_id: Option<ServerId>,
    host_id: Option<HostId>,
    q: Option<SessionSearch>,
    state: Option<SessionState>,
}

/// A session, and how it ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    #[serde(flatten)]
    session: Session,
    /// When it ended; `null` while it goes on.
    ended_at: Option<Timestamp>,
    /// Why, as far as that is known.
    end_reason: Option<EndReason>,
}

impl Filter for SessionQuery {
    type Id = SessionId;
}

/// The live sessions; with `state=ended` those that are over, and that they were looked at is recorded.
pub(crate) async fn list(Call(services, act): Call, query: Query<SessionQuery>) -> Answer<List<SessionView>> {
    let SessionQuery { user_id, server_id, host_id, q, state } = &query.filter;
    let filter = SessionFilter { user_id: *user_id, server_id: *server_id, host_id: *host_id, users: None };
    let search = q.clone().unwrap_or_default();
    let Some(filter) = services.access().searched_sessions(&act, &search, filter).await? else {
        let nothing = Page { count: query.page.count.then_some(0), ..Page::empty() };
        return Ok(query.answer(nothing, |view| view));
    };
    let page = match state.unwrap_or_default() {
        SessionState::Live => services
            .access()
            .sessions(&act, &filter, &query.page)
            .await?
            .map(|session| SessionView { session, ended_at: None, end_reason: None }),
        SessionState::Ended => services.access().ended_sessions(&act, &filter, &query.page).await?.map(|ended| {
            SessionView { session: ended.session, ended_at: Some(ended.ended_at), end_reason: ended.reason }
        }),
    };
    Ok(query.answer(page, |view| view))
}

pub(crate) async fn end(Call(services, act): Call, At(id): At<SessionId>) -> Answer<Accepted> {
    services.access().end_session(&act, id).await?;
    Ok(Accepted)
}
