//! Servers, their keys and authorities, what reached them, and moves between hosts.

pub mod authorities;
pub mod moves;
pub mod probes;
pub mod server_keys;
pub mod servers;
