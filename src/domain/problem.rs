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
#[schema(as = HostProblemCode)]
pub enum ProblemCode {
    /// The machine lacks something that daemons need (`openvpn`, `nft`, tun, a capability).
    Vpn,
    /// Postern's firewall table is missing or differs from what policy wants, and could not be repaired.
    Firewall,
    /// The kernel does not forward packets, and that could not be switched on.
    Forwarding,
    /// A firewall table other than Postern's drops what Postern forwards.
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
    /// What the host reports of itself cannot be read, or not all of it.
    Report,
    /// The host sends no heartbeats, so its other problems are unknown.
    Offline,
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
        Self::Report,
        Self::Offline,
    ];

    /// The word in API, health pages and metrics.
    pub const fn as_str(self) -> &'static str {
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
            Self::Report => "report",
            Self::Offline => "offline",
        }
    }

    /// What it is, in few words for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Vpn => "Cannot run servers",
            Self::Firewall => "Firewall",
            Self::Forwarding => "Forwarding",
            Self::ForeignFirewall => "Another firewall",
            Self::NetworkCollision => "Network collision",
            Self::DaemonFailed => "Daemon failed",
            Self::DaemonHung => "Daemon hangs",
            Self::DaemonUnreached => "Not reached from outside",
            Self::OpenvpnVersion => "OpenVPN version",
            Self::Clock => "Clock",
            Self::ClonedHost => "Cloned host",
            Self::Snapshot => "Policy not confirmed",
            Self::Mongo => "Database",
            Self::Report => "Unreadable report",
            Self::Offline => "Offline",
        }
    }

    /// Whether new traffic should go to other hosts while it lasts. A machine that was cloned goes on serving: its clone
    /// is the one that is refused.
    pub fn is_grave(self) -> bool {
        matches!(self, Self::Firewall | Self::Forwarding | Self::ForeignFirewall | Self::DaemonHung)
    }

    /// Whether others find it, so that the host's own report does not carry it.
    pub fn is_found_by_others(self) -> bool {
        matches!(self, Self::DaemonUnreached | Self::Report | Self::Offline)
    }

    /// Whether it says why a daemon does not serve, so that nothing else needs to be said of that daemon.
    pub fn is_about_a_daemon(self) -> bool {
        matches!(self, Self::NetworkCollision | Self::DaemonFailed | Self::DaemonHung)
    }
}

/// A host reports no more problems than this; beyond, it is ill anyway.
pub const MOST_PROBLEMS: usize = 64;

/// A detail is no longer than this, in characters.
pub const LONGEST_DETAIL: usize = 600;

/// One thing that is wrong with a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = HostProblem)]
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

impl Problem {
    /// The same with a detail that is not too long to be kept and shown.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        if let Some((end, _)) = self.detail.char_indices().nth(LONGEST_DETAIL) {
            self.detail.truncate(end);
            self.detail.push('…');
        }
        self
    }
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

    #[test]
    fn a_detail_is_cut_between_characters() {
        let problem = |detail: &str| Problem {
            code: ProblemCode::Clock,
            server_id: None,
            detail: detail.to_owned(),
            since: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(problem("äö").clipped(), problem("äö"));
        let long = problem(&"ä".repeat(LONGEST_DETAIL + 5)).clipped();
        assert_eq!(long.detail.chars().count(), LONGEST_DETAIL + 1);
    }
}
