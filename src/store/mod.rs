//! MongoDB: the truth that all hosts share.
//!
//! # Contract
//! - Writes are acknowledged by a majority, reads come from the primary. What a write answered survives a failover.
//! - "Absent" is an option, not an error. A document that this release cannot read is
//!   [`StoreError::Corrupt`], never skipped. What hosts report of themselves is the exception: a report that cannot be
//!   read is told as such, so that no host hides the others.
//! - [`StoreError::Unavailable`] after a write means that the outcome is unknown: writes are made so that repeating
//!   them does no harm (own ids, compared revisions, `$max`).
//! - The driver has no time limit of its own. Every call made for somebody who waits goes through [`Store::deadline`]
//!   or [`Store::write`].
//!
//! # Theory of operation
//! The collections hold what is true, at a cluster-wide revision; the capped collection `events` only says where to
//! look ([`bus`]). [`connect`] holds the connections, [`check`] tries at start whatever we rely on, [`migrate`] brings
//! the collections into the shape of this release, [`bus::lease`] decides which process does periodic work, and
//! [`private`] runs a `mongod` of our own where none is configured.

pub mod access;
pub mod areas;
pub mod bus;
pub mod check;
pub mod cluster;
pub mod connect;
pub mod dump;
pub mod entity;
pub mod error;
pub mod evidence;
pub mod hosts;
pub mod identity;
pub mod migrate;
pub mod network;
pub mod order;
pub mod pause;
pub mod people;
pub mod policy;
pub mod private;
mod reports;

pub use bus::events::{Emitter, Nudge};
pub use bus::{Bus, BusMessage, BusSettings, Subscription};
pub use connect::{Settings, Store};
pub use error::StoreError;
