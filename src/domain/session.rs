//! One VPN connection of one profile through one host.

use std::net::{Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{HostId, ProfileId, ServerId, SessionId, UserId};

/// The course of a session, as the host that carries it records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who is connected.
    pub user_id: UserId,
    /// By which profile.
    pub profile_id: ProfileId,
    /// To which server.
    pub server_id: ServerId,
    /// Through which host.
    pub host_id: HostId,
    /// The address inside the tunnel.
    #[schema(value_type = String, format = Ipv4, example = "10.200.0.7")]
    pub address: Ipv4Addr,
    /// Where the client connects from; a port of 0 is not known.
    #[schema(value_type = String, example = "198.51.100.7:50123")]
    pub remote_address: SocketAddr,
    /// Since when.
    pub connected_at: Timestamp,
    /// Bytes from the client, as the host counts them.
    pub bytes_received: u64,
    /// Bytes to the client.
    pub bytes_sent: u64,
    /// The client's engine (`IV_VER`), which decides how it is best moved to another host.
    pub client_version: Option<String>,
    /// What the client's engine understands (`IV_PROTO`, a bit field of the management notes).
    pub client_protocol: Option<u32>,
}

/// Why a session ended, in the words of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The client went, or was lost.
    Disconnected,
    /// Policy does not admit it any more.
    Refused,
    /// The same profile connected anew.
    Superseded,
    /// Somebody asked for it.
    Requested,
    /// Its host leaves service, and told it to go to another one. Whether it was seen there is another question.
    Moved,
    /// Its daemon ended.
    DaemonEnded,
}

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It goes on.
    #[default]
    Live,
    /// It is over.
    Ended,
}
