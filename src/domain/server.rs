//! The virtual VPN server.

use serde::{Deserialize, Serialize};

/// The transport of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// One datagram per packet: the default and the faster one.
    Udp,
    /// For networks that let nothing else out.
    Tcp,
}

impl Protocol {
    /// The word of OpenVPN's `remote` line and of nftables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}
