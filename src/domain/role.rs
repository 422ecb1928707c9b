//! Who may do what: the one matrix of roles and permissions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a person or a token is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = "user")]
pub enum Role {
    /// Everything, the roles of others included.
    Owner,
    /// Everything but owners and admins, and how people sign in.
    Admin,
    /// The network: servers, hosts, sessions.
    Operator,
    /// The people: users, their profiles and sessions.
    Helpdesk,
    /// Reads everything, the audit log included, and changes nothing.
    Auditor,
    /// No administration at all: an employee.
    User,
}

/// One right to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See organizations, users, servers, hosts, profiles and sessions.
    Read,
    /// Read the audit log.
    ReadAudit,
    /// Create, rename and delete organizations.
    ManageOrganizations,
    /// Create, change, disable and delete users; issue and revoke their profiles.
    ManageUsers,
    /// Create, change and delete servers; attach and detach hosts.
    ManageServers,
    /// Change and remove hosts.
    ManageHosts,
    /// End a session.
    EndSessions,
    /// Read and change the cluster's settings.
    ManageSettings,
    /// Change how people sign in: the issuer, its client, whom it speaks for.
    ManageSignIn,
    /// Make and revoke API tokens that can do no more than oneself.
    ManageTokens,
}

impl Permission {
    /// All of them, for tests that walk the matrix.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::ReadAudit,
        Self::ManageOrganizations,
        Self::ManageUsers,
        Self::ManageServers,
        Self::ManageHosts,
        Self::EndSessions,
        Self::ManageSettings,
        Self::ManageSignIn,
        Self::ManageTokens,
    ];
}

impl Role {
    /// All of them, the mightiest first.
    pub const ALL: [Self; 6] = [Self::Owner, Self::Admin, Self::Operator, Self::Helpdesk, Self::Auditor, Self::User];

    /// The matrix.
    pub fn may(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Owner => true,
            // Whoever chooses the issuer chooses who is owner.
            Self::Admin => permission != P::ManageSignIn,
            Self::Operator => matches!(permission, P::Read | P::ManageServers | P::ManageHosts | P::EndSessions),
            Self::Helpdesk => matches!(permission, P::Read | P::ManageUsers | P::EndSessions),
            Self::Auditor => matches!(permission, P::Read | P::ReadAudit),
            Self::User => false,
        }
    }

    /// Whether the holder of this role may change somebody's role from `from` to `to`: owners may all; others only
    /// between roles that can do strictly less than they can, so nobody raises anybody to their own level.
    pub fn may_change_role(self, from: Self, to: Self) -> bool {
        self == Self::Owner || (from.is_below(self) && to.is_below(self))
    }

    /// Whether the holder of this role may manage somebody of the role `of`, the person's profiles and links included:
    /// owners everybody, others whoever can do strictly less than they can, and so everybody without any right.
    pub fn may_manage(self, of: Self) -> bool {
        self.may_change_role(of, of)
    }

    /// Whether the holder of this role may hand `role` to a program, and take it back: nobody makes a token mightier than
    /// themselves.
    pub fn may_grant(self, role: Self) -> bool {
        self == role || self.may_manage(role)
    }

    fn is_below(self, other: Self) -> bool {
        let covered = Permission::ALL.iter().all(|p| !self.may(*p) || other.may(*p));
        let less = Permission::ALL.iter().any(|p| !self.may(*p) && other.may(*p));
        covered && less
    }

    /// The word used in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Helpdesk => "helpdesk",
            Self::Auditor => "auditor",
            Self::User => "user",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("must be one of {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_owners_raises_anybody_to_their_own_level() {
        for actor in Role::ALL {
            for from in Role::ALL {
                assert_eq!(actor.may_change_role(from, actor), actor == Role::Owner, "{actor:?} {from:?}");
                assert_eq!(actor.may_change_role(from, Role::Owner), actor == Role::Owner);
            }
        }
        assert!(Role::Admin.may_change_role(Role::User, Role::Helpdesk));
        assert!(!Role::Admin.may_change_role(Role::Owner, Role::User));
        assert!(!Role::Helpdesk.may_change_role(Role::User, Role::Auditor));
    }

    #[test]
    fn nobody_grants_more_than_their_own() {
        for actor in Role::ALL {
            for role in Role::ALL.into_iter().filter(|role| actor.may_grant(*role)) {
                assert!(Permission::ALL.iter().all(|p| !role.may(*p) || actor.may(*p)), "{actor:?} {role:?}");
                assert!(role != Role::Owner || actor == Role::Owner, "{actor:?}");
            }
            assert!(actor.may_grant(actor));
        }
        assert!(Role::Admin.may_grant(Role::Auditor));
    }

    #[test]
    fn a_user_administers_nothing() {
        assert!(Permission::ALL.iter().all(|p| !Role::User.may(*p)));
    }

    #[test]
    fn roles_survive_their_words() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{}\"", role.as_str()));
        }
    }
}
