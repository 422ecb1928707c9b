//! One issued credential: one user, one server, one device.

use std::{fmt, net::Ipv4Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{ProfileId, ServerId, UserId},
    text::Name,
};

/// The SHA-256 of a certificate's DER form: what a daemon reports about a client, and how a profile is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a profile still opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileState {
    /// It connects, as long as its user may.
    Active,
    /// It never connects again.
    Revoked,
}

/// A profile. Its private key is nowhere in it: the key is made at delivery, sent once and forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it leads.
    pub server_id: ServerId,
    /// The device, as its owner calls it.
    pub name: Name,
    /// Its fixed address in the server's network, the same on every host.
    pub address: Ipv4Addr,
    /// Whether it still opens anything.
    pub state: ProfileState,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When its certificate ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it last connected; unknown and never look alike.
    pub last_connected_at: Option<Timestamp>,
    /// Which certificate it is.
    #[serde(skip)]
    pub fingerprint: Fingerprint,
}
