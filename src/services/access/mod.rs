//! Who may connect: profiles, the snapshot that answers, sessions, explanations, effects.

pub mod admission;
pub mod effect;
pub mod explain;
pub mod lookup;
pub mod profile_view;
pub mod profiles;
pub mod sessions;
pub mod snapshot_file;
pub mod usage;
