//! Integration tests against a real MongoDB and a real `openvpn`, one file per area.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod migrate;
mod store;
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod keys;
mod pki;
