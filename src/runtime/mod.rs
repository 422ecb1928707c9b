//! What the process takes from tokio and the operating system, without a word about VPNs: how it starts its tasks and
//! ends ([`lifecycle`]), what it does again and again ([`reconcile`]), how long to wait before trying again ([`backoff`]),
//! randomness ([`random`]), what caused an error ([`causes`]), which run of the machine it is ([`boot`]), and which
//! machine, told from its copies ([`instance`]).

pub mod backoff;
pub mod boot;
pub mod causes;
pub mod instance;
pub mod lifecycle;
pub mod random;
pub mod reconcile;
