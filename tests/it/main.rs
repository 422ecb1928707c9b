//! Integration tests against a real MongoDB and a real `openvpn`, one file per area.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod firewall;
mod openvpn;
mod openvpn_rig;
mod openvpn_transcripts;
mod store;
