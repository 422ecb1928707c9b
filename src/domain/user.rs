//! A person, or a named machine, of one organization.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ids::{OrganizationId, UserId},
    role::Role,
    text::{Email, GroupName, Name},
};

/// The account that a user signs in with: unique in the cluster, and never another person's (`OpenID` Connect Core 1.0,
/// section 2). An e-mail address may pass to another person; this does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// The issuer, as the settings name it.
    pub iss: String,
    /// The account there.
    pub sub: String,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
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
    /// The account that the user signs in with, since the first sign-in.
    pub identity: Option<Identity>,
}
