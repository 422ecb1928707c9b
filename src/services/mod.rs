//! The rules that change something, by area.
//!
//! Pages, API and command line all end here, so they cannot disagree. Each verb takes an [`Act`] first: who asks, in
//! the course of which request. It checks the asker's right, then changes policy through `Core::change`, which
//! runs one transaction (revision, documents, audit entry) and, once that is committed, nudges the other processes.
//!
//! What must become true on hosts is not done here. It is written down; the host's reconcilers make it true.

pub mod access;
mod act;
pub mod bus;
pub mod cluster;
pub mod error;
pub mod evidence;
pub mod hosts;
pub mod identity;
pub mod network;
mod patch;
pub mod people;
pub mod refusal;
pub mod tasks;
mod wiring;

use std::time::Duration;

pub(crate) use act::Warnings;
pub use act::{Act, described};
pub use bus::nudges::Nudge;
pub use domain::patch::Removable;
pub(crate) use domain::patch::given;
pub use domain::server::AttachmentKey;
pub use error::ServiceError;
pub use keys::host::{HostKey, HostPublicKey};
pub(crate) use patch::{check_revision, difference};
pub use refusal::{InvalidReason, Missing, Refusal};
pub use store::access::profiles::ProfileFilter;
pub use store::access::sessions::{EndedSession, SessionFilter};
pub use store::entity::{COUNTED, Page, PageRequest};
pub use store::evidence::audit::AuditFilter;
pub use store::hosts::records::DaemonStatus;
pub use store::order::{Order, OrderBy};
pub use store::people::users::UserFilter;
pub use store::{Bus, BusMessage, Subscription};
pub use wiring::{Access, Builder, Cluster, Core, Evidence, Hosts, Identities, Network, People, Services};

/// Reads that a page waits for are given up after this, so that it can say so while its reader still waits.
const SOON: Duration = Duration::from_secs(2);
