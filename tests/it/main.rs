//! Integration tests against a real MongoDB and a real `openvpn`, one file per area.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod api_access;
mod api_input;
mod api_profiles;
mod api_rig;
mod backup;
mod bus;
mod canary;
mod cli;
mod commands;
mod console;
mod console_access;
mod console_hosts;
mod console_live;
mod console_rig;
mod daemon;
mod deploy;
mod doctor;
mod drain;
mod firewall;
mod grafana;
mod haproxy;
mod host_user;
mod join;
mod join_tokens;
mod keys;
mod metrics;
mod migrate;
mod oidc;
mod oidc_certified;
mod openapi;
mod openvpn;
mod openvpn_rig;
mod openvpn_transcripts;
mod owner_link;
mod owners;
mod pages;
mod pki;
mod policy;
mod private;
mod removal;
mod roles;
mod self_service;
mod self_service_limits;
mod self_service_rig;
mod self_service_sign_in;
mod store;
mod system_pages;
mod tokens;
