//! One-time records: known by the hash of a secret that their holder has, good for ten minutes, spent by use.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ServerId, UserId};
use super::login::Surface;
use super::text::Name;

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_mins(10);

/// A sign-in that was begun and has not come back yet. Whoever brings the state back must also hold the cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInTicket {
    /// The hash of the cookie that the browser got.
    pub cookie_hash: [u8; 32],
    /// What the ID token must repeat.
    pub nonce: String,
    /// What proves that the code is ours (RFC 7636).
    pub pkce_verifier: String,
    /// The issuer that the browser was sent to; the answer of another one is refused.
    pub issuer: String,
    /// The address that the browser was told to come back to, which the exchange of the code repeats.
    pub redirect_url: String,
    /// Where to go then.
    pub return_to: String,
    /// The pages that the sign-in leads to; the answer counts nowhere else (SEC-OIDC-02).
    #[serde(default)]
    pub surface: Surface,
    /// Whether it is a dry run, which signs nobody in.
    #[serde(default)]
    pub is_test: bool,
}

/// A link that signs its opener in to the console as owner, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerLinkTicket {
    /// Who made it, as the audit log names actors.
    pub made_by: String,
}

/// A profile that the holder of a link may fetch once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileTicket {
    /// Whose profile it becomes.
    pub user_id: UserId,
    /// Where it leads.
    pub server_id: ServerId,
    /// What it is called.
    pub name: Name,
    /// Who made the ticket, as the audit log names actors.
    pub made_by: String,
}

/// Something that waits to be spent, until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket<T> {
    /// What it is good for.
    pub body: T,
    /// Until when.
    pub expires_at: Timestamp,
}
