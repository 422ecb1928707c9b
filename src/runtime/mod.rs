//! (being written)

pub mod random;
//! Tokio plumbing without a word about VPNs: how the process starts its tasks and ends ([`lifecycle`]), and how long
//! to wait before trying again ([`backoff`]).
pub mod backoff;
pub mod lifecycle;
