//! The roster on disk, for the Postern that adopts the daemon after us.

use std::time::Duration;

use tokio::time::Instant;

use super::roster::{Client, Roster, Saved};
use crate::openvpn::{RuntimeDir, process::Running};

const FILE: &str = "roster.json";

/// Changes within this time become one write.
const PATIENCE: Duration = Duration::from_millis(100);

/// Writes the roster of one process to its file, a moment after it changed.
#[derive(Debug)]
pub(super) struct Keepsake {
    dir: RuntimeDir,
    pid: i32,
    started: u64,
    due: Option<Instant>,
}

impl Keepsake {
    /// For the roster of a process.
    pub(super) fn of(running: &Running, dir: &RuntimeDir) -> Self {
        Self { dir: dir.clone(), pid: running.pid(), started: running.started(), due: None }
    }

    /// What an earlier Postern left about the same process. An unreadable file is none.
    pub(super) fn load(&self) -> Vec<(u64, Client)> {
        let saved =
            std::fs::read(self.dir.file(FILE)).ok().and_then(|text| serde_json::from_slice::<Saved>(&text).ok());
        let same = |saved: &Saved| saved.pid == self.pid && saved.started == self.started;
        saved.filter(same).map(|saved| saved.clients).unwrap_or_default()
    }

    /// The roster has changed.
    pub(super) fn touch(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + PATIENCE);
    }

    /// When the next write is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the roster.
    pub(super) fn write(&mut self, roster: &Roster) {
        self.due = None;
        let saved = Saved { pid: self.pid, started: self.started, clients: roster.to_saved() };
        let written = serde_json::to_vec(&saved)
            .map_err(|error| error.to_string())
            .and_then(|text| self.dir.write(FILE, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!(
                event = "daemon.roster_unwritten",
                error,
                "the roster of a daemon cannot be written; a restart will have to guess"
            );
        }
    }
}
