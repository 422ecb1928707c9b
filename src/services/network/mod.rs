//! Servers, their keys and authorities, which hosts run them, and how they are reached.

pub mod attachments;
pub mod authorities;
pub mod probes;
pub mod server_keys;
pub mod server_view;
pub mod servers;
