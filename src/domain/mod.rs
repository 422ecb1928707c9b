//! The nouns of Postern and the rules about them: pure, no I/O, no async, no clock and no randomness of its own
//! (both are passed in).
//!
//! A noun's `serde` form *is* its form in the API, so that the two cannot part ways. How it is stored is declared with
//! it ([`entity`]) where that is the same field by field, and is the business of `store` otherwise. Values parse into
//! types that cannot hold a bad one (a name without control characters, a network without host bits), so a rule about a
//! value stands in one place: its type.

pub mod access;
pub mod audit;
pub mod authority;
pub mod chain;
pub mod clock;
pub mod command_line;
pub mod drain;
pub mod effect;
pub mod entity;
pub mod explain;
pub mod group;
pub mod host;
pub mod host_network;
pub mod ids;
pub mod job;
pub mod join;
pub mod limits;
pub mod login;

pub mod network;
pub mod oidc;
pub mod organization;
pub mod patch;
pub mod presence;
pub mod probe;
pub mod problem;
pub mod profile;
pub mod reach;
pub mod reply;
pub mod retention;
pub mod role;
pub mod search;
pub mod secret;
pub mod server;
pub mod session;
pub mod session_search;
pub mod settings;
pub mod spec;
pub mod task;
pub mod text;
pub mod ticket;
pub mod token;
pub mod tunnel;
pub mod usage;
pub mod user;
pub mod user_list;

/// A test value of each noun, for tests alone: the program does not hold them.
#[cfg(any(test, feature = "samples"))]
#[path = "../../tests/samples/values.rs"]
pub mod samples;

/// The cluster-wide number that every change of policy increases by one.
///
/// A document carries the revision of the change that last touched it; the API shows it as the `ETag`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Revision(pub i64);

/// A noun together with the revision of the change that last touched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised<T> {
    /// The revision of its last change.
    pub rev: Revision,
    /// The noun itself.
    pub value: T,
}
