//! A machine that runs `postern serve`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::drain::Drain;
use super::ids::HostId;
use super::text::{HostName, PublicAddress};

/// What a process does; several in one process are the rule in small set-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessRole {
    /// Public pages for employees.
    Portal,
    /// Admin pages and the API.
    Console,
    /// The `openvpn` daemons.
    Vpn,
    /// Periodic work.
    Jobs,
}

impl ProcessRole {
    /// The word in configuration and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Console => "console",
            Self::Vpn => "vpn",
            Self::Jobs => "jobs",
        }
    }
}

/// A host, as far as policy knows it. Its heartbeats tell whether it is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Its name, unique in the cluster.
    pub name: HostName,
    /// Where clients reach it: the `remote` lines of profiles.
    pub public_addresses: Vec<PublicAddress>,
    /// What its process does.
    pub roles: BTreeSet<ProcessRole>,
    /// The public half of its key (X25519): what is sealed to it, only it can open.
    pub public_key: [u8; 32],
    /// The order to take it out of service, while it stands: the host is in no new profile and admits nobody.
    #[serde(default)]
    pub drain: Option<Drain>,
}

impl Host {
    /// Whether it is to leave service.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }
}

/// A host that was removed from the cluster. Its key makes no host any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedHost {
    /// What its id was.
    pub id: HostId,
    /// What its name was. Another machine may have the name since.
    pub name: HostName,
    /// The public half of its key.
    #[serde(skip)]
    pub public_key: [u8; 32],
    /// When it was removed.
    pub removed_at: Timestamp,
}

impl std::fmt::Display for RemovedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, removed_at, .. } = self;
        write!(
            f,
            "this machine was host {name} and has been removed from the cluster ({removed_at:.0}); its key is not accepted \
             any more: to make it a host again, delete host.key in host.data_dir and join with a new token"
        )
    }
}

/// Whether a host is of use right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Heard of lately.
    Online,
    /// Heard of lately; its clients are being moved.
    Draining,
    /// Its last three heartbeats are missing.
    Offline,
}
