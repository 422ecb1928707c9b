//! Logs: one line per event on standard error. JSON unless somebody watches on a terminal.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The release of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const DEFAULT_FILTER: &str = "info,mongodb=warn,rustls=warn";

/// Starts logging. `POSTERN_LOG` chooses what is shown, in the syntax of `tracing-subscriber`'s `EnvFilter`.
pub fn start() {
    let filter = EnvFilter::try_from_env("POSTERN_LOG").unwrap_or_else(|_unset| EnvFilter::new(DEFAULT_FILTER));
    let terminal = std::io::stderr().is_terminal();
    let pretty = terminal.then(|| fmt::layer().with_writer(std::io::stderr).with_target(false));
    let json = (!terminal).then(|| fmt::layer().json().flatten_event(true).with_writer(std::io::stderr));
    // A second start (in tests) keeps the first one's.
    drop(tracing_subscriber::registry().with(filter).with(pretty).with(json).try_init());
}
