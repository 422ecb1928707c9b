//! What the process takes from tokio and the operating system, without a word about VPNs: how it starts its tasks and
//! ends ([`lifecycle`]), how long to wait before trying again ([`backoff`]), randomness ([`random`]), and which run of the machine
//! it is ([`boot`]).

pub mod backoff;
pub mod boot;
pub mod lifecycle;
pub mod random;
