//! Logs: one line per event, JSON unless somebody watches on a terminal.
//!
//! `serve` writes them to standard output, since they are all that it has to say; commands, whose results are there, to
//! standard error. What a line looks like is in `line.rs`, what never gets into one in `redact.rs`, how a loop that fails
//! is kept from filling the disk in `repeats.rs`, and how a running process is made to say more in `detail.rs`.

mod context;
mod detail;
mod line;
mod redact;
mod repeats;

use std::io;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use futures_util::stream;
use tokio::signal::unix::{SignalKind, signal};
use tracing::callsite::Identifier;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use self::line::Line;
use self::repeats::Repeats;
use crate::domain::clock::{Clock as _, SystemClock};
use crate::runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};

const TASK: Task =
    Task::new("log-repeats", "Sums up in the log what was said too often to be written each time.", repeats::WINDOW);

/// The release of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this program was built from, as far as the build has it in `POSTERN_COMMIT`.
pub const COMMIT: &str = match option_env!("POSTERN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

const DEFAULT_FILTER: &str = "info,mongodb=warn,rustls=warn";

/// What is shown for a while when it is asked for.
const DETAILED_FILTER: &str = "debug,mongodb=info,rustls=info,hyper=info";

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
    /// Where lines go, and whether they are for a person there.
    output: Option<(Output, bool)>,
    repeats: Arc<Mutex<Repeats<Identifier>>>,
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

impl Logs {
    /// Starts logging. `POSTERN_LOG` chooses what is shown, in the syntax of `tracing-subscriber`'s `EnvFilter`.
    pub fn start(output: Output) -> Self {
        let (filter, handle) = reload::Layer::new(chosen("POSTERN_LOG", DEFAULT_FILTER));
        let output = Some((output, output.is_terminal()));
        let logs = Self { filter: Some(handle), output, ..Self::default() };
        let lines = Lines(logs.clone());
        // A second start (in tests) keeps the first one's.
        drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
        logs
    }

    /// Shows more for a while whenever SIGUSR1 comes; `POSTERN_LOG_DEBUG` chooses what, in the syntax of `POSTERN_LOG`.
    ///
    /// # Errors
    /// When the signal cannot be listened to.
    pub fn follow_signals(&self) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut signal = signal(SignalKind::user_defined1())?;
        let logs = self.clone();
        let asked = stream::poll_fn(move |context| signal.poll_recv(context));
        Ok(detail::follow(asked, detail::SPAN, move |more| logs.show(more)))
    }

    fn show(&self, more: bool) {
        let filter =
            if more { chosen("POSTERN_LOG_DEBUG", DETAILED_FILTER) } else { chosen("POSTERN_LOG", DEFAULT_FILTER) };
        // It fails only when nothing is logged any more.
        let _ = self.filter.as_ref().map(|handle| handle.reload(filter));
        tracing::info!(
            event = "log.detail",
            more,
            "the log has {} detail from now on",
            if more { "more" } else { "its usual" }
        );
    }

    /// Starts the task that sums up what was left out of the log, where no other event does so first.
    pub fn sum_repeats(&self, tasks: &Reconciler) {
        tasks.start(TASK, Sums(self.clone()));
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<Identifier>> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, lines: &[Line]) {
        let Some((output, pretty)) = self.output else { return };
        let host = self.host.get().map(String::as_str);
        let text: String = lines.iter().map(|line| if pretty { line.pretty() } else { line.json(host) }).collect();
        output.write(&text);
    }

    /// Names the host in every line from now on.
    pub fn name_host(&self, name: &str) {
        drop(self.host.set(name.to_owned()));
    }
}

/// What a variable of the environment chooses to show, `otherwise` without a sound one.
fn chosen(variable: &str, otherwise: &str) -> EnvFilter {
    EnvFilter::try_from_env(variable).unwrap_or_else(|_unset| EnvFilter::new(otherwise))
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

/// Writes the sums that are due.
struct Sums(Logs);

impl Work for Sums {
    async fn run(&mut self) -> Outcome {
        let sums = self.0.repeats().owed(Instant::now());
        self.0.write(&sums);
        Ok(Done::default())
    }

    async fn close(&mut self) {
        let sums = self.0.repeats().all_owed();
        self.0.write(&sums);
    }
}

/// Turns events into lines.
struct Lines(Logs);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, spans: Context<'_, S>) {
        context::begin(attributes, id, &spans);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, spans: Context<'_, S>) {
        context::add(values, id, &spans);
    }

    fn on_event(&self, event: &Event<'_>, spans: Context<'_, S>) {
        let line = Line::of(event, SystemClock.now()).within(context::around(event, &spans));
        // What says that something is wrong may say so in a loop; what happens to people is logged each time.
        let lines = if *event.metadata().level() <= Level::WARN {
            self.0.repeats().pass(event.metadata().callsite(), line, Instant::now())
        } else {
            vec![line]
        };
        self.0.write(&lines);
    }
}
