//! How busy the cluster was.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{Access, Act, SOON, ServiceError};
use domain::role::Permission;
pub use domain::usage::{Usage, UsageSample};

/// How far back a report reaches, in hours: as far as samples are kept, a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 168, example = 24)]
pub struct Hours(u32);

impl Default for Hours {
    /// A day.
    fn default() -> Self {
        Self(24)
    }
}

impl TryFrom<u32> for Hours {
    type Error = &'static str;

    fn try_from(hours: u32) -> Result<Self, Self::Error> {
        (1..=168).contains(&hours).then_some(Self(hours)).ok_or("must be between 1 and 168 hours")
    }
}

impl Access<'_> {
    /// How busy the cluster was in the last hours.
    pub async fn usage(self, act: &Act, hours: Hours) -> Result<Usage, ServiceError> {
        act.require(Permission::Read)?;
        let now = self.now();
        let (from, _) = Usage::span(hours.0, now);
        let samples = self.store().deadline(SOON, self.store().access().usage_since(from)).await?;
        Ok(Usage::of(&samples, hours.0, now))
    }

    /// Writes down what this host has carried so far in a span of time.
    pub async fn record_usage(self, sample: &UsageSample) -> Result<(), ServiceError> {
        Ok(self.store().access().record_usage(sample).await?)
    }
}
