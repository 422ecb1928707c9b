//! A person, or a named machine, of one organization.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    ids::{OrganizationId, UserId},
    role::Role,
    text::{Email, GroupName, Name},
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Whom the user belongs to.
    pub organization_id: OrganizationId,
    /// What people call the user.
    pub name: Name,
    /// The mailbox, unique in the cluster; machines have none.
    pub email: Option<Email>,
    /// The groups that open servers.
    pub groups: BTreeSet<GroupName>,
    /// What the user may do in the console.
    pub role: Role,
    /// A disabled user has no session and gets none, and cannot sign in.
    pub disabled: bool,
}
