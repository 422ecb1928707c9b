//! What is wrong with a host: a closed list of codes, each with a sentence for the administrator.
//!
//! The health pages, the API, the console, the alerts and `postern doctor` all name a problem by its code, so that
//! they cannot disagree. An empty list means that the host is well.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::ServerId;

/// Which kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The machine lacks something that daemons need (`openvpn`, `nft`, tun, a capability).
    Vpn,
    /// Postern's firewall table is missing or differs from what policy wants, and could not be repaired.
    Firewall,
    /// The kernel does not forward packets, and that could not be switched on.
    Forwarding,
    /// A firewall table of somebody else drops what Postern forwards.
    ForeignFirewall,
    /// The network of a server holds an address or a route that this machine needs.
    NetworkCollision,
    /// A daemon does not run although it should.
    DaemonFailed,
    /// A daemon runs but does not answer on its management socket.
    DaemonHung,
    /// No other host reaches a daemon from outside.
    DaemonUnreached,
    /// The version of `openvpn` has a known hole or a known fault.
    OpenvpnVersion,
    /// The clock of the machine differs from the database's.
    Clock,
    /// Another live machine has the same host key.
    ClonedHost,
    /// The policy that this host knows has not been confirmed for a while.
    Snapshot,
    /// The database does not answer.
    Mongo,
}

impl ProblemCode {
    /// All codes.
    pub const ALL: &[Self] = &[
        Self::Vpn,
        Self::Firewall,
        Self::Forwarding,
        Self::ForeignFirewall,
        Self::NetworkCollision,
        Self::DaemonFailed,
        Self::DaemonHung,
        Self::DaemonUnreached,
        Self::OpenvpnVersion,
        Self::Clock,
        Self::ClonedHost,
        Self::Snapshot,
        Self::Mongo,
    ];

    /// The word in API, health pages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vpn => "vpn",
            Self::Firewall => "firewall",
            Self::Forwarding => "forwarding",
            Self::ForeignFirewall => "foreign_firewall",
            Self::NetworkCollision => "network_collision",
            Self::DaemonFailed => "daemon_failed",
            Self::DaemonHung => "daemon_hung",
            Self::DaemonUnreached => "daemon_unreached",
            Self::OpenvpnVersion => "openvpn_version",
            Self::Clock => "clock",
            Self::ClonedHost => "cloned_host",
            Self::Snapshot => "snapshot",
            Self::Mongo => "mongo",
        }
    }

    /// Whether new traffic should go to other hosts while it lasts.
    pub fn is_grave(self) -> bool {
        matches!(self, Self::Firewall | Self::Forwarding | Self::ForeignFirewall | Self::DaemonHung | Self::ClonedHost)
    }
}

/// One thing that is wrong with a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Which kind of thing.
    pub code: ProblemCode,
    /// The server whose daemon it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<ServerId>,
    /// What is wrong and what helps, in words; never a secret.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_word_for_all_who_name_it() {
        for code in ProblemCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
