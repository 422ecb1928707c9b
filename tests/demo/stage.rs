//! What the tour is told on, and taken down from: also when somebody interrupts it.

use std::fmt::Display;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::netns;

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: i32 = 130;

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The files of the tour, in one folder, and the watch for signals.
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// From now on, whatever makes temporary files makes them on the stage.
    pub(crate) fn set() -> Self {
        let folder = tempfile::Builder::new().prefix("postern-demo-").tempdir().unwrap().keep();
        tempfile::env::override_temp_dir(&folder).unwrap();
        let stage = Self { folder };
        stage.watch();
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Whoever interrupts the tour pulls the machines away from under it. What is taken down already must not be
            // taken down again, nor told of: this thread waits for the end of the process.
            while IS_INTERRUPTED.load(Ordering::SeqCst) {
                std::thread::park();
            }
            tell(panic);
        }));
        stage
    }

    fn watch(&self) {
        let folder = self.folder.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut interrupt = signal(SignalKind::interrupt()).unwrap();
                let mut terminate = signal(SignalKind::terminate()).unwrap();
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            IS_INTERRUPTED.store(true, Ordering::SeqCst);
            println!("\nInterrupted. Everything is being taken down.");
            Self { folder }.clear();
            process::exit(INTERRUPTED);
        });
    }

    /// Takes down whatever is still there.
    pub(crate) fn clear(&self) {
        netns::remove_own();
        // What was killed may still be closing its files.
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir_all(&self.folder).is_err() && self.folder.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Tells, with the time that has passed.
pub(crate) struct Narrator {
    began: Instant,
}

impl Narrator {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// A heading.
    #[expect(clippy::unused_self, reason = "it is the narrator who tells it")]
    pub(crate) fn chapter(&self, title: &str) {
        Self::say(format_args!("\n{title}"));
    }

    /// Something that has just happened.
    pub(crate) fn line(&self, text: impl Display) {
        Self::say(format_args!("  {:5.1} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    /// The last words.
    pub(crate) fn end(&self, text: &str) {
        Self::say(format_args!("\n{text} ({})", seconds(self.began.elapsed())));
    }

    fn say(text: impl Display) {
        if !IS_INTERRUPTED.load(Ordering::SeqCst) {
            println!("{text}");
        }
    }
}

/// A span for people.
pub(crate) fn seconds(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{:.2} s", span.as_secs_f64())
    } else {
        format!("{:.1} s", span.as_secs_f64())
    }
}
