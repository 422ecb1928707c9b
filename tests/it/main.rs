//! Integration tests against a real MongoDB and a real `openvpn`, one file per area.

#[path = "../support/mod.rs"]
mod support;

mod store;
