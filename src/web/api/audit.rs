//! `/audit`.

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::answer::{Answer, List, Plain};
use crate::api::extract::{Call, Filter, NoQuery, Parameters, Query, Sort};
use crate::ui::export::JsonLines;
use domain::audit::AuditEntry;
use domain::ids::AuditId;
use services::evidence::audit::AuditKey;
use services::{AuditFilter, Order, OrderBy};

/// Which entries.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    actor: Option<String>,
    object: Option<String>,
    action: Option<String>,
    /// `success` or `denied`.
    outcome: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Filter for AuditQuery {
    type Id = AuditId;
    const SORTS: &'static [Sort] = &[("at", OrderBy::Created)];
    const USUAL: Option<Order> = Some(Order::NEWEST);
}

impl From<AuditQuery> for AuditFilter {
    fn from(query: AuditQuery) -> Self {
        let AuditQuery { actor, object, action, outcome, after, before } = query;
        Self { actor, object, action, outcome, after, before }
    }
}

pub(crate) async fn list(Call(services, act): Call, query: Query<AuditQuery>) -> Answer<List<AuditEntry>> {
    let page = services.evidence().audit_trail(&act, &query.filter.clone().into(), &query.page).await?;
    Ok(query.answer(page, |entry| entry))
}

pub(crate) async fn export(Call(services, act): Call, Parameters(query): Parameters<AuditQuery>) -> Answer<JsonLines> {
    Ok(JsonLines(services.evidence().export_audit(&act, query.into()).await?))
}

pub(crate) async fn key(Call(services, act): Call, _: NoQuery) -> Answer<Plain<AuditKey>> {
    Ok(Plain(services.evidence().audit_key(&act).await?))
}
