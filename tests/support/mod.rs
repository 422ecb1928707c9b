//! What several test binaries share. Not every binary uses every part.
#![allow(dead_code, reason = "each test binary uses a part of the support code")]

pub(crate) mod faketime;
pub(crate) mod issuer;
pub(crate) mod mongod;
pub(crate) mod mongosh;
pub(crate) mod netns;
pub(crate) mod oidc_provider;
pub(crate) mod openvpn;
