//! Postern: a self-hosted company VPN with replicated hosts.
//!
//! The folders are floors; each may only use the ones below it. All but the topmost are crates of the workspace, so an edit
//! is compiled for its floor and those above it, and what a floor may use stands in its manifest (`tests/floors` keeps
//! the table).
//!
//! - Floor 0: [`domain`] holds the nouns and the pure rules, [`runtime`] the tokio plumbing without VPN words,
//!   [`metrics`] the numbers about this process.
//! - Floor 1: [`store`] is MongoDB, [`keys`] seals secrets, [`pki`] is X.509, [`openvpn`] is what we know about
//!   OpenVPN, [`firewall`] is nftables and forwarding, [`oidc`] is sign-in at an identity provider. They do not know
//!   each other.
//! - Floor 2: [`services`] are the rules that change something, each with its audit entry.
//! - Floor 3: [`web`] (listeners, API) and [`daemon`] (this host's `openvpn` processes); the database is the only
//!   road between them.
//! - Floor 4, the program: [`config`], [`telemetry`], [`commands`].

pub mod commands;
pub mod config;
pub use daemon;
pub use domain;
pub use firewall;
pub use keys;
pub use metrics;
pub use oidc;
pub use openvpn;
pub use pki;
pub use runtime;
pub use services;
pub use store;
pub mod telemetry;
pub use web;
