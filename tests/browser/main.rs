//! The self-serve pages in a real browser: what an employee does from sign-in to a tunnel, on the end-to-end
//! laboratory, and every page in every state against the rules of accessibility.
//!
//! Run by `make browser`; `make browser BROWSER="story --nocapture"` runs some. A test that fails prints where the
//! browser was, what it saw and said, and the tails of the logs of all processes of its laboratory, and leaves a picture
//! in `target/screenshots`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test ends at the first surprise, and prints what it measured"
)]

#[path = "../support/mod.rs"]
mod support;

use support::{faketime, issuer, mongod, netns, oidc_provider, openvpn};

#[path = "../support/browser.rs"]
mod browser;
mod door;
mod manager;
mod portal;
mod rules;
mod visitor;

#[path = "../e2e/api.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests")]
mod api;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests")]
mod client;
#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests")]
mod cluster;
#[path = "../e2e/host.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests")]
mod host;
#[path = "../e2e/lab.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests")]
mod lab;
#[path = "../e2e/page.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests")]
mod page;
#[path = "../e2e/wait.rs"]
mod wait;

mod first_run;
mod harness;
mod keyboard;
mod outage;
mod pages;
mod people;
mod refusals;
mod stateless;
mod story;
mod tickets;
