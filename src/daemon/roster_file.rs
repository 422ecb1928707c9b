//! The roster on disk, for the Postern that adopts the daemon after us.
//!
//! A task of its own writes it, so that no client waits for a disk. It writes the newest there is; what comes while it
//! writes is one write, the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::roster::{Client, Roster, Saved};
use openvpn::RuntimeDir;
use openvpn::process::Running;
use runtime::causes::chain;

const FILE: &str = "roster.json";

/// Changes within this time become one write.
const PATIENCE: Duration = Duration::from_millis(100);

/// The task that writes the file in one daemon's directory.
#[derive(Debug)]
pub(super) struct RosterWriter {
    dir: RuntimeDir,
    newest: watch::Sender<Option<Arc<Saved>>>,
    writer: JoinHandle<()>,
}

impl RosterWriter {
    /// Starts the task on `tracker`. It ends once this is dropped and the newest roster is written.
    pub(super) fn open(dir: &RuntimeDir, tracker: &TaskTracker) -> Self {
        let (newest, changes) = watch::channel(None);
        let writer = tracker.spawn(write(dir.clone(), changes));
        Self { dir: dir.clone(), newest, writer }
    }

    /// The file, for the roster of a process.
    pub(super) fn file(&self, running: &Running) -> RosterFile {
        RosterFile {
            dir: self.dir.clone(),
            newest: self.newest.clone(),
            pid: running.pid(),
            started: running.started(),
            due: None,
        }
    }

    /// Waits until nothing is written any more.
    pub(super) async fn close(self) {
        let Self { newest, writer, .. } = self;
        drop(newest);
        if let Err(error) = writer.await {
            tracing::error!(event = "daemon.roster_writer_crashed", %error, "the task that writes a daemon's roster file crashed");
        }
    }
}

async fn write(dir: RuntimeDir, mut changes: watch::Receiver<Option<Arc<Saved>>>) {
    while changes.changed().await.is_ok() {
        let Some(saved) = changes.borrow_and_update().clone() else { continue };
        let dir = dir.clone();
        let written = spawn_blocking(move || {
            let text = serde_json::to_vec(&*saved).map_err(|error| error.to_string())?;
            dir.write(FILE, &text).map_err(|error| chain(&error))
        });
        if let Err(error) = written.await.unwrap_or_else(|crash| Err(crash.to_string())) {
            tracing::warn!(
                event = "daemon.roster_unwritten",
                error,
                "a daemon's roster file cannot be written; a restart would have to guess who is connected"
            );
        }
    }
}

/// Has the roster of one process written, a moment after it changed.
#[derive(Debug)]
pub(super) struct RosterFile {
    dir: RuntimeDir,
    newest: watch::Sender<Option<Arc<Saved>>>,
    pid: i32,
    started: u64,
    due: Option<Instant>,
}

impl RosterFile {
    /// What was left about the same process, by this Postern or an earlier one. An unreadable file is none.
    pub(super) fn load(&self) -> Vec<(u64, Client)> {
        let same = |saved: &Saved| saved.pid == self.pid && saved.started == self.started;
        let newest = self.newest.borrow().as_deref().filter(|saved| same(saved)).cloned();
        let read = || serde_json::from_slice::<Saved>(&std::fs::read(self.dir.file(FILE)).ok()?).ok().filter(same);
        newest.or_else(read).map(|saved| saved.clients).unwrap_or_default()
    }

    /// The roster has changed.
    pub(super) fn touch(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + PATIENCE);
    }

    /// When the next write is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Has the roster written; does not wait for it.
    pub(super) fn write(&mut self, roster: &Roster) {
        self.due = None;
        let saved = Saved { pid: self.pid, started: self.started, clients: roster.to_saved() };
        self.newest.send_replace(Some(Arc::new(saved)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[tokio::test]
    async fn the_newest_roster_is_on_the_disk_when_the_writer_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::prepare(folder.path().join("d")).unwrap();
        let writer = RosterWriter::open(&dir, &TaskTracker::new());
        let mut roster_file =
            RosterFile { dir: dir.clone(), newest: writer.newest.clone(), pid: 7, started: 9, due: None };
        let mut roster = Roster::default();
        for n in 1..=3 {
            let mut session = samples::session(n);
            session.profile_id = samples::id(100 + n);
            roster.admitted(
                openvpn::management::Cid(u64::try_from(n).unwrap()),
                Client::admitted(session, String::new(), String::new()),
            );
            roster_file.write(&roster);
            assert_eq!(roster_file.load(), roster.to_saved(), "whatever the disk has by now");
        }
        drop(roster_file);
        writer.close().await;
        let saved: Saved = serde_json::from_slice(&std::fs::read(dir.file(FILE)).unwrap()).unwrap();
        assert_eq!((saved.pid, saved.clients), (7, roster.to_saved()));
    }

    #[tokio::test]
    async fn an_empty_or_garbled_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::prepare(folder.path().join("d")).unwrap();
        let writer = RosterWriter::open(&dir, &TaskTracker::new());
        let roster_file = RosterFile { dir: dir.clone(), newest: writer.newest.clone(), pid: 7, started: 9, due: None };
        for content in ["", "{\"pid\": 7, \"sta", "\0\0\0"] {
            dir.write(FILE, content.as_bytes()).unwrap();
            assert!(roster_file.load().is_empty(), "{content:?}");
        }
    }
}
