//! The certificate authorities of the cluster.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which side of a tunnel an authority vouches for. They are two roots, so that no client can pose as a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityKind {
    /// Signs the certificates in profiles.
    Client,
    /// Signs the certificates of daemons.
    Server,
}

impl AuthorityKind {
    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What an authority is still used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityState {
    /// Signs what is new; one per kind.
    Issuing,
    /// What it signed is believed; it signs nothing.
    Trusted,
    /// Not believed any more.
    Retired,
}
