//! How a machine becomes a host by one command: what a join token stands for, and what the machine says of itself.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{HostId, JoinTokenId, ServerId};
use super::text::{Comment, HostName};

/// How long a join token is good, in seconds: one minute to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 60, maximum = 86400, example = 3600)]
pub struct JoinLifetime(u32);

impl JoinLifetime {
    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl Default for JoinLifetime {
    /// An hour.
    fn default() -> Self {
        Self(3600)
    }
}

impl TryFrom<u32> for JoinLifetime {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        (60..=86_400).contains(&seconds).then_some(Self(seconds)).ok_or("must be between 60 and 86400 seconds (a day)")
    }
}

impl From<JoinLifetime> for u32 {
    fn from(lifetime: JoinLifetime) -> Self {
        lifetime.0
    }
}

/// What a join token lets one machine do, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTicket {
    /// Names the token without being it.
    pub token_id: JoinTokenId,
    /// The name that the machine takes.
    pub host_name: HostName,
    /// The servers that it is attached to at once.
    pub server_ids: BTreeSet<ServerId>,
    /// Who made the token, as the audit log names actors.
    pub made_by: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// Until when it is good. What came of it is remembered for some time longer.
    pub good_until: Timestamp,
    /// Whether the machine may be given the database user of the web process, where it can have none of its own. Tokens
    /// of the previous release do not say so, and then it may not.
    #[serde(default)]
    pub share_database_user: bool,
    /// The id that a new host gets, so that every attempt with this token is about the same one. The previous release
    /// drew it when the token was used.
    #[serde(default)]
    pub new_host_id: Option<HostId>,
    /// Who has used it.
    #[serde(default)]
    pub redeemed: Option<Redeemed>,
    /// What the machine found out about itself.
    #[serde(default)]
    pub checks: Vec<MachineCheck>,
}

/// Who has used a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    /// The host that came of it.
    pub host_id: HostId,
    /// By its key: the same machine may ask again, for instance after a crash half-way.
    pub public_key: [u8; 32],
    /// As whom it comes to the database; not known of a host that joined by the previous release.
    #[serde(default)]
    pub database_user: Option<DatabaseUser>,
}

/// As whom a host comes to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseUser {
    /// As a user of its own, which may not change policy and ends when the host is removed.
    Own,
    /// As the user for all hosts that `database.uri_for_hosts` of the web process names.
    SharedByHosts,
    /// As the user of the web process, which may read and change everything.
    SharedWithWeb,
    /// As nobody: the database asks no one who they are.
    NotAsked,
}

/// One thing that a new machine looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineCheck {
    /// What it looked at, in a few words.
    pub name: Comment,
    /// Whether it is in order.
    pub passed: bool,
    /// What it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Comment>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Comment>,
}

/// A machine says no more than this many things about itself.
pub const MOST_CHECKS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_a_minute_to_a_day() {
        for (seconds, good) in [(59, false), (60, true), (86_400, true), (86_401, false), (0, false)] {
            assert_eq!(JoinLifetime::try_from(seconds).is_ok(), good, "{seconds}");
        }
    }
}
