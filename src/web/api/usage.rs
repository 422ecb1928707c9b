//! `/usage`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::answer::{Answer, Plain};
use crate::api::extract::{Call, Parameters};
use services::access::usage::{Hours, Usage};

/// Which time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageQuery {
    /// How many hours up to now; 24 if absent.
    hours: Option<Hours>,
}

pub(crate) async fn show(Call(services, act): Call, Parameters(query): Parameters<UsageQuery>) -> Answer<Plain<Usage>> {
    Ok(Plain(services.access().usage(&act, query.hours.unwrap_or_default()).await?))
}
