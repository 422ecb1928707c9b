//! End-to-end tests: the `postern` binary, real OpenVPN daemons and clients, a real MongoDB, on machines that are
//! network namespaces. They know Postern only by its contract: commands, configuration, HTTP, profiles.
//!
//! Each test makes a laboratory of its own ([`lab`]) and in it, mostly, a cluster ([`cluster`]). They need root. Run
//! them by `make e2e`, which limits how many run at a time; `make e2e E2E="crash --nocapture"` runs some, and
//! prints what was measured. A test that fails prints the tails of the logs of all processes of its laboratory.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test ends at the first surprise, and prints what it measured"
)]

#[path = "../support/mod.rs"]
mod support;

use support::{faketime, mongod, netns, openvpn};

mod access;
mod api;
mod client;
mod cluster;
mod flows;
mod host;
mod joining;
mod lab;
mod page;
mod wait;

mod alone;
mod canary;
mod clocks;
mod collision;
mod drain;
mod failover;
mod firewall;
mod fresh;
mod generations;
mod health;
mod join;
mod layout;
mod membership;
mod moving;
mod old_profiles;
mod removal;
mod telemetry;
mod upgrade;
mod wide;
