//! What the numbers were measured on, and with.

use std::fs;
use std::process::Command;

use postern::domain::clock::{Clock as _, SystemClock};

/// The machine, the versions, the moment.
#[derive(Debug)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Asks the machine and the programs.
    pub(crate) fn gather() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let field = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
            value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let memory = memory.strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024;
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self(vec![
            ("date", SystemClock.now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
            ("command", "`make bench`".to_owned()),
            ("machine", format!("{cores} cores of {}, {memory} MiB", field("/proc/cpuinfo", "model name"))),
            ("load before", load.split(' ').take(1).collect()),
            ("kernel", kernel.trim().to_owned()),
            ("postern", env!("CARGO_PKG_VERSION").to_owned()),
            ("openvpn", first_words("openvpn", 2)),
            ("mongod", first_words(crate::mongod::binary(), 3)),
            ("rustc", first_words("rustc", 2)),
        ])
    }

    /// Names and values, in an order for reading.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// The beginning of what a program says of its version.
fn first_words(program: impl AsRef<std::ffi::OsStr>, words: usize) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().next().unwrap_or("unknown");
    line.split_whitespace().take(words).collect::<Vec<_>>().join(" ")
}
