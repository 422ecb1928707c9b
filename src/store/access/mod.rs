//! Policy as a snapshot, profiles, sessions, usage.

pub(crate) mod change;
pub mod profiles;
pub mod session_orders;
pub mod sessions;
pub mod snapshot;
pub mod usage;
