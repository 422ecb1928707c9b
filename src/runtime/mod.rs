//! Tokio plumbing without a word about VPNs: how the process starts its tasks and ends ([`lifecycle`]), how long to
//! wait before trying again ([`backoff`]), and the one source of randomness ([`random`]).

pub mod backoff;
pub mod lifecycle;
pub mod random;
