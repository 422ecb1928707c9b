//! The audit log: who did what to which object, and how it went.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chain::link::Link;
use super::ids::{AuditId, HostId, LoginId, RequestId, TokenId, UserId};
use super::login::Who;
use super::role::{Permission, Role};

/// Who acts. Nothing changes without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A program with an API token.
    Token {
        /// Which token.
        id: TokenId,
        /// What it may do.
        role: Role,
    },
    /// A person who is signed in, about what is the person's own.
    Person {
        /// Who.
        user: UserId,
        /// By which login.
        login: LoginId,
    },
    /// A person at the console, about what is everybody's.
    Admin {
        /// Who.
        who: Who,
        /// By which login.
        login: LoginId,
        /// What the person may do, as of this request.
        role: Role,
    },
    /// Whoever holds a one-time link for a user.
    Holder(UserId),
    /// A host, about itself.
    Host(HostId),
    /// Somebody with a shell on a machine of the cluster: the named command.
    Shell(&'static str),
    /// Postern itself: the named rule.
    System(&'static str),
}

impl Actor {
    /// Whether the actor holds a right.
    pub fn may(&self, permission: Permission) -> bool {
        match self {
            Self::Token { role, .. } | Self::Admin { role, .. } => role.may(permission),
            Self::Shell(_) => true,
            // What is one's own needs no permission, and gives none.
            Self::Person { .. } | Self::Holder(_) | Self::Host(_) | Self::System(_) => false,
        }
    }

    /// Whether the actor may manage users of a role, their profiles and links included.
    pub fn may_manage(&self, of: Role) -> bool {
        self.may_change_role(of, of)
    }

    /// Whether the actor may change a user's role from one to another.
    pub fn may_change_role(&self, from: Role, to: Role) -> bool {
        match self {
            Self::Token { role, .. } | Self::Admin { role, .. } => role.may_change_role(from, to),
            Self::Shell(_) => true,
            Self::Person { .. } | Self::Holder(_) | Self::Host(_) | Self::System(_) => false,
        }
    }
}

impl Actor {
    /// Whether the actor may make and revoke API tokens of a role.
    pub fn may_grant(&self, role: Role) -> bool {
        match self {
            Self::Token { role: own, .. } | Self::Admin { role: own, .. } => own.may_grant(role),
            Self::Shell(_) => true,
            Self::Person { .. } | Self::Holder(_) | Self::Host(_) | Self::System(_) => false,
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token { id, .. } => id.fmt(f),
            Self::Person { user: id, .. } | Self::Holder(id) | Self::Admin { who: Who::User(id), .. } => id.fmt(f),
            Self::Admin { who: Who::OwnerLink, login, .. } => write!(f, "owner_link:{login}"),
            Self::Host(id) => id.fmt(f),
            Self::Shell(command) => write!(f, "shell:{command}"),
            Self::System(rule) => write!(f, "system:{rule}"),
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        /// The closed set of recorded acts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// The word in the audit log.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

actions! {
    /// A copy of the database was begun.
    BackupCreate = "backup.create";
    /// The database was restored from a copy.
    BackupRestore = "backup.restore";
    /// The cluster was made read-only.
    ClusterPause = "cluster.pause";
    /// The cluster may be changed again.
    ClusterResume = "cluster.resume";
    /// An organization was made.
    OrganizationCreate = "organization.create";
    /// An organization was changed.
    OrganizationUpdate = "organization.update";
    /// An organization was deleted.
    OrganizationDelete = "organization.delete";
    /// A user was made.
    UserCreate = "user.create";
    /// A user was changed.
    UserUpdate = "user.update";
    /// A user was disabled.
    UserDisable = "user.disable";
    /// A user was enabled again.
    UserEnable = "user.enable";
    /// A user was deleted, profiles included.
    UserDelete = "user.delete";
    /// A group was given another name.
    GroupRename = "group.rename";
    /// Everybody was taken out of a group.
    GroupDelete = "group.delete";
    /// A profile was issued.
    ProfileIssue = "profile.issue";
    /// A profile was given another name.
    ProfileRename = "profile.rename";
    /// A profile was revoked.
    ProfileRevoke = "profile.revoke";
    /// A server was made.
    ServerCreate = "server.create";
    /// A server was changed.
    ServerUpdate = "server.update";
    /// A server was deleted.
    ServerDelete = "server.delete";
    /// A host was attached to a server.
    HostAttach = "host.attach";
    /// A host was detached from a server.
    HostDetach = "host.detach";
    /// A daemon's certificate was signed and its secrets sealed.
    AttachmentCertify = "attachment.certify";
    /// A host came into being.
    HostRegister = "host.register";
    /// A join token was made.
    JoinTokenCreate = "join_token.create";
    /// A join token was withdrawn.
    JoinTokenWithdraw = "join_token.withdraw";
    /// A machine showed a join token, and became a host or was refused.
    HostJoin = "host.join";
    /// A host was changed.
    HostUpdate = "host.update";
    /// A host was ordered out of service.
    HostDrain = "host.drain";
    /// A host was taken back into service.
    HostResume = "host.resume";
    /// A host was removed.
    HostDelete = "host.delete";
    /// A server got another key, and its profiles were revoked.
    ServerRotate = "server.rotate";
    /// Somebody looked at sessions that are over.
    SessionRead = "session.read";
    /// Somebody asked for the end of a session.
    SessionEnd = "session.end";
    /// Somebody signed in for the first time, and a prepared user became theirs.
    UserClaim = "user.claim";
    /// Somebody signed in, or was refused.
    LoginStart = "login.start";
    /// A login was ended.
    LoginEnd = "login.end";
    /// A one-time link was made.
    TicketCreate = "ticket.create";
    /// A link that opens the console as owner was made.
    OwnerLinkCreate = "owner_link.create";
    /// Settings were changed.
    SettingsUpdate = "settings.update";
    /// The key that signs the checkpoints of the audit log was made.
    AuditKeyCreate = "audit_key.create";
    /// The audit log was exported.
    AuditExport = "audit.export";
    /// A request was refused: the caller is not authenticated or lacks the right.
    AccessDeny = "access.deny";
    /// Entries of the audit log were deleted at their age.
    AuditExpire = "audit.expire";
    /// Somebody asked for a run of a periodic job.
    JobRequest = "job.request";
    /// An authority was made.
    AuthorityCreate = "authority.create";
    /// An API token was made.
    TokenCreate = "token.create";
    /// An API token was revoked.
    TokenRevoke = "token.revoke";
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// `success`, or `denied`.
    pub outcome: String,
    /// In the course of which request.
    pub request_id: Option<RequestId>,
    /// What changed: field → `[before, after]`, or the fields of a new object. Never a secret.
    pub changes: serde_json::Value,
    /// Its place in the chain of the process that recorded it; `null` for entries from before there were chains.
    pub link: Option<Link>,
}
