//! A set of users under one name; servers are opened to organizations.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ids::OrganizationId, text::Name};

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name, unique in the cluster.
    pub name: Name,
}
