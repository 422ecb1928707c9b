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
//! the collections into the shape of this release, [`lease`] decides which process does periodic work, and
//! [`private`] runs a `mongod` of our own where none is configured.

pub mod access;
pub mod audit;
pub mod authorities;
pub mod backup;
pub mod bus;
pub mod check;
pub mod cluster;
pub mod conditions;
pub mod connect;
pub mod dump;
pub mod entity;
pub mod error;
pub mod events;
pub mod groups;
pub mod heartbeat;
pub mod host_user;
pub mod hosts;
pub mod jobs;
pub mod lease;
pub mod logins;
pub mod looks;
pub mod migrate;
pub mod moves;
pub mod order;
pub mod organizations;
pub mod policy;
pub mod private;
pub mod profiles;
pub mod rates;
pub mod removed;
pub mod replay;
pub mod replies;
pub mod retention;
pub mod server_keys;
pub mod servers;
pub mod sessions;
pub mod settings;
pub mod statements;
pub mod tickets;
pub mod tokens;
pub mod usage;
pub mod users;

pub use bus::{Bus, BusMessage, BusSettings, Subscription};
pub use connect::{Settings, Store};
pub use error::StoreError;
pub use events::{Emitter, Nudge};
