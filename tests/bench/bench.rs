//! The benchmarks: what Postern promises to take in time and memory, measured at the real thing.
//!
//! The release binary, real OpenVPN daemons and clients, and a real MongoDB beside them on the same cores, in the
//! laboratory of the end-to-end tests. Nothing here fails because something is slow: the numbers are printed beside
//! their targets. It fails when something could not be measured.
//!
//! `make bench` runs everything and refreshes `BENCHMARKS.md`; `make bench BENCH=issue` runs the sections whose name
//! contains a word, and only prints. It needs root, and a machine that does nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement ends at the first surprise, and prints what it measured"
)]

#[path = "../support/mod.rs"]
mod support;

use support::{faketime, mongod, netns, openvpn};

/// The laboratory of the end-to-end tests, of which the benchmarks use a part.
macro_rules! laboratory {
    ($($name:ident = $path:literal),*) => {$(
        #[path = $path]
        #[allow(dead_code, clippy::print_stderr, reason = "the end-to-end tests use the rest")]
        mod $name;
    )*};
}

laboratory!(
    api = "../e2e/api.rs",
    client = "../e2e/client.rs",
    cluster = "../e2e/cluster.rs",
    host = "../e2e/host.rs",
    lab = "../e2e/lab.rs",
    page = "../e2e/page.rs",
    wait = "../e2e/wait.rs"
);

mod caller;
mod machine;
mod process;
mod report;
mod seed;
mod tunnel;

mod admission;
mod build;
mod connect;
mod disable;
mod issue;
mod lists;
mod memory;
mod propagation;
mod start;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use report::{Report, Row};

/// A part of the benchmarks that can be run alone.
struct Section {
    name: &'static str,
    /// What was done, for who wants to judge the numbers.
    method: &'static str,
    measure: fn() -> Vec<Row>,
}

const SECTIONS: [Section; 9] = [
    Section { name: "start", method: start::METHOD, measure: start::measure },
    Section { name: "memory", method: memory::METHOD, measure: memory::measure },
    Section { name: "propagation", method: propagation::METHOD, measure: propagation::measure },
    Section { name: "issue", method: issue::METHOD, measure: issue::measure },
    Section { name: "lists", method: lists::METHOD, measure: lists::measure },
    Section { name: "admission", method: admission::METHOD, measure: admission::measure },
    Section { name: "connect", method: connect::METHOD, measure: connect::measure },
    Section { name: "disable", method: disable::METHOD, measure: disable::measure },
    Section { name: "build", method: build::METHOD, measure: build::measure },
];

fn main() -> ExitCode {
    // cargo passes `--bench`; what does not look like an option narrows.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |section: &&Section| words.is_empty() || words.iter().any(|word| section.name.contains(word.as_str()));
    let sections: Vec<_> = SECTIONS.iter().filter(wanted).collect();
    if sections.is_empty() {
        println!("no section is called {words:?}; there are: {}", SECTIONS.map(|section| section.name).join(", "));
        return ExitCode::FAILURE;
    }

    let mut report = Report::new();
    for section in &sections {
        println!("== {}", section.name);
        let from = Instant::now();
        match catch_unwind(AssertUnwindSafe(section.measure)) {
            Ok(rows) => report.add(section.name, section.method, rows),
            Err(_panic) => report.missed(section.name), // the panic has printed itself
        }
        println!("== {}: {:.0} s", section.name, from.elapsed().as_secs_f64());
    }
    println!("\n{}", report.table());
    if words.is_empty() && report.is_complete() {
        report.write();
    }
    if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
