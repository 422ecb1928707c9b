//! Policy as a snapshot, profiles, sessions, usage.

pub mod profiles;
pub mod sessions;
pub mod snapshot;
pub mod usage;
