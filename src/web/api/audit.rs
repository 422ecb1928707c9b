//! `/audit`.

use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{audit::AuditEntry, ids::AuditId},
    services::{AuditFilter, Services},
    web::{
        answer::{Answer, List},
        extract::{Caller, Filter, Query},
    },
};

/// Which entries.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    actor: Option<String>,
    object: Option<String>,
    action: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Filter for AuditQuery {
    type Id = AuditId;
}

pub(super) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<AuditQuery>,
) -> Answer<List<AuditEntry>> {
    let AuditQuery { actor, object, action, after, before } = &query.filter;
    let filter = AuditFilter {
        actor: actor.clone(),
        object: object.clone(),
        action: action.clone(),
        after: *after,
        before: *before,
    };
    let page = services.audit_trail(&act, &filter, &query.page).await?;
    Ok(query.answer(page, |entry| entry))
}
