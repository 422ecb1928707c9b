//! `/sessions`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        ids::{HostId, ServerId, SessionId, UserId},
        session::Session,
    },
    services::{Services, SessionFilter},
    web::{
        answer::{Accepted, Answer, List},
        extract::{At, Caller, Filter, Query},
    },
};

/// Which live sessions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "these are the names of the parameters")]
pub(super) struct SessionQuery {
    user_id: Option<UserId>,
    server_id: Option<ServerId>,
    host_id: Option<HostId>,
}

impl Filter for SessionQuery {
    type Id = SessionId;
}

pub(super) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<SessionQuery>,
) -> Answer<List<Session>> {
    let SessionQuery { user_id, server_id, host_id } = query.filter;
    let page = services.sessions(&act, &SessionFilter { user_id, server_id, host_id }, &query.page).await?;
    Ok(query.answer(page, |found| found))
}

pub(super) async fn end(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<SessionId>,
) -> Answer<Accepted> {
    services.end_session(&act, id).await?;
    Ok(Accepted)
}
