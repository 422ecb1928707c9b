//! Logs: one line per event, JSON unless somebody watches on a terminal.
//!
//! `serve` writes them to standard output, since they are all that it has to say; commands, whose results are there, to
//! standard error. What a line looks like is in `line.rs`, what never gets into one in `redact.rs`, and how a loop that fails
//! is kept from filling the disk in `repeats.rs`.

mod line;
mod redact;
mod repeats;

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use tracing::{Event, Level, Subscriber, callsite::Identifier};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::{line::Line, repeats::Repeats};
use crate::domain::clock::{Clock as _, SystemClock};

/// The release of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const DEFAULT_FILTER: &str = "info,mongodb=warn,rustls=warn";

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The running log; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    host: Arc<OnceLock<String>>,
}

impl Logs {
    /// Starts logging. `POSTERN_LOG` chooses what is shown, in the syntax of `tracing-subscriber`'s `EnvFilter`.
    pub fn start(output: Output) -> Self {
        let filter = EnvFilter::try_from_env("POSTERN_LOG").unwrap_or_else(|_unset| EnvFilter::new(DEFAULT_FILTER));
        let logs = Self::default();
        let lines = Lines { output, pretty: output.is_terminal(), logs: logs.clone(), repeats: Mutex::default() };
        // A second start (in tests) keeps the first one's.
        drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
        logs
    }

    /// Names the host in every line from now on.
    pub fn name_host(&self, name: &str) {
        drop(self.host.set(name.to_owned()));
    }
}

impl Output {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        }
    }

    /// Writes whole lines; where nobody reads them any more, there is nobody to tell.
    fn write(self, text: &str) {
        drop(match self {
            Self::Stdout => io::stdout().lock().write_all(text.as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(text.as_bytes()),
        });
    }
}

/// Turns events into lines.
struct Lines {
    output: Output,
    pretty: bool,
    logs: Logs,
    repeats: Mutex<Repeats<Identifier>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event, SystemClock.now());
        // What says that something is wrong may say so in a loop; what happens to people is told each time.
        let lines = if *event.metadata().level() <= Level::WARN {
            let place = event.metadata().callsite();
            self.repeats.lock().unwrap_or_else(PoisonError::into_inner).pass(place, line, Instant::now())
        } else {
            vec![line]
        };
        let host = self.logs.host.get().map(String::as_str);
        let text: String = lines.iter().map(|line| if self.pretty { line.pretty() } else { line.json(host) }).collect();
        self.output.write(&text);
    }
}
