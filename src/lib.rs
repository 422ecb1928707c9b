//! Postern: a self-hosted company VPN with replicated hosts.
//!
//! The folders are floors; each may only use the ones below it (`tests/floors.rs` enforces the table).
//!
//! - Floor 0: [`domain`] holds the nouns and the pure rules, [`runtime`] the tokio plumbing without VPN words,
//!   [`metrics`] the numbers about this process.
//! - Floor 1: [`store`] is MongoDB, [`keys`] seals secrets, [`pki`] is X.509, [`openvpn`] is what we know about
//!   OpenVPN, [`firewall`] is nftables and forwarding, [`oidc`] is sign-in at an identity provider. They do not know
//!   each other.
//! - Floor 2: [`services`] are the rules that change something, each with its audit entry.
//! - Floor 3: [`web`] (listeners, API) and [`daemon`] (this host's `openvpn` processes); the database is the only
//!   road between them. [`jobs`] is periodic work under a lease.
//! - Floor 4: [`config`], [`telemetry`], [`commands`].

pub mod commands;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod firewall;
pub mod jobs;
pub mod keys;
pub mod metrics;
pub mod oidc;
pub mod openvpn;
pub mod pki;
pub mod runtime;
pub mod services;
pub mod store;
pub mod telemetry;
pub mod web;
