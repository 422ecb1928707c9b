//! A person, or a named machine, of one organization.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::entity;
use super::ids::{OrganizationId, UserId};
use super::role::Role;
use super::search::{fold, words_of};
use super::text::{Email, GroupName, Name};

/// The account that a user signs in with: unique in the cluster, and never another person's (`OpenID` Connect Core 1.0,
/// section 2). An e-mail address may pass to another person; this does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// The issuer, as the settings name it.
    pub iss: String,
    /// The account there.
    pub sub: String,
}

entity! {
    /// A user.
    noun User(UserId);
    /// A new user.
    new NewUser;
    /// A change of a user; what is absent stays.
    patch UserPatch;
    /// A user as the database keeps it. The previous release writes users without what a search finds them by.
    stored StoredUser;
    required {
        /// Whom the user belongs to.
        organization_id: OrganizationId, patch "The new organization.";
        /// What people call the user.
        name: Name, patch "The new name.";
    }
    defaulted {
        /// The groups that open servers.
        groups: BTreeSet<GroupName> = "BTreeSet::new", patch "All groups from now on.";
        /// What the user may do in the console.
        role: Role = "plain_user", patch "The new role.";
        /// A disabled user has no session and gets none, and cannot sign in.
        disabled: bool = "bool::default", patch "Whether the user is disabled.";
    }
    optional {
        /// The mailbox, unique in the cluster; machines have none.
        email: Email, patch "The new mailbox; `null` removes it.";
    }
    removable {
        /// The account that the user signs in with, since the first sign-in.
        identity: Identity, patch "`null` forgets the account that the user signs in with; the next sign-in under the \
            user's verified e-mail address links another one.";
    }
    derived |user| {
        /// The words that a search finds the user by.
        words: BTreeSet<String> = words_of(&user.name, user.email.as_ref());
        /// The name as lists are ordered by it.
        folded_name: String = fold(user.name.as_str());
    }
}

fn plain_user() -> Role {
    Role::User
}
