//! A `mongod` of our own, for a machine on which no database is configured.
//!
//! It is the same store in the same shape as anywhere (a replica set, of one member, with authentication), only that
//! Postern starts it, watches it and stops it. It listens on the loopback address alone, on a port that is drawn once
//! and remembered; key file and password are drawn too and readable by us alone.
//!
//! # Theory of operation
//! Several processes may want it at once: `serve`, and beside it a command such as `postern token create`. Whoever
//! holds the advisory lock on the file `lock` is the *keeper*: it runs `mongod` and restarts it if it ends. The others
//! connect to what the file `access.json` says, and stand by: when the keeper goes, the lock becomes free, and one of
//! them takes over. So it does not matter who came first or leaves last.
//!
//! The keeping is done by a thread, not a task, because `setpriv --pdeathsig` ties a child to the thread that started
//! it: the thread lives as long as the [`PrivateDatabase`], and should the process be killed, `mongod` goes with it.

mod process;

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::StoreError;
use crate::bus::events::{random, random_hex};
use process::ServerProcess;
use runtime::backoff::Backoff;

/// Name of the one user.
const USER: &str = "postern";
/// Name of the replica set.
pub(super) const SET: &str = "postern";
/// How long another process may take to bring the database up.
const STANDBY_LOOK: Duration = Duration::from_millis(10);
/// How often one that stands by asks for the lock.
const STANDBY_PERIOD: Duration = Duration::from_millis(200);
/// How often the keeper looks whether `mongod` lives.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// The private database, up as long as one process holds such a value; stops it when the last is dropped.
#[derive(Debug)]
pub struct PrivateDatabase {
    uri: String,
    thread: Option<(SyncSender<()>, std::thread::JoinHandle<()>)>,
}

impl PrivateDatabase {
    /// Brings up the database in the folder `database` of `data_dir`, or finds it running. `mongod` is the program to
    /// use; without it, PATH is searched.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] when there is no `mongod`, or it does not run: the sentence says what to do.
    pub async fn open(data_dir: &Path, mongod: Option<&Path>) -> Result<Self, StoreError> {
        let place = Place::prepare(data_dir.join("database"), mongod)?;
        let (stop, stopped) = sync_channel(1);
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("mongod-keeper".into())
            .spawn(move || keep(&place, &stopped, tell))
            .map_err(StoreError::unexpected)?;
        let mut opened = Self { uri: String::new(), thread: Some((stop, thread)) };
        opened.uri = told.await.map_err(StoreError::unexpected)??;
        Ok(opened)
    }

    /// The connection string, with the password.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Stops keeping it, which takes up to some seconds if this process was the keeper. Call it when all else that
    /// uses the database has ended. (Dropping does the same, and blocks.)
    pub async fn close(self) {
        if let Err(error) = tokio::task::spawn_blocking(move || drop(self)).await {
            tracing::warn!(
                event = "mongod.close_failed",
                error = &error as &dyn std::error::Error,
                "closing the private database"
            );
        }
    }
}

impl Drop for PrivateDatabase {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// What processes need to know to use the database, as it stands in `access.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Access {
    /// Port on the loopback address; the same at every start, unless somebody else took it.
    pub(super) port: u16,
    /// Password of the one user.
    pub(super) password: String,
    /// Whether the set and its user exist.
    pub(super) initialized: bool,
    /// Whether a keeper brought it up and has not stopped it.
    pub(super) running: bool,
}

impl Access {
    pub(super) fn credentials(&self) -> String {
        format!("{USER}:{}@", self.password)
    }

    fn uri(&self) -> String {
        format!("mongodb://{}127.0.0.1:{}/?replicaSet={SET}&authSource=admin", self.credentials(), self.port)
    }
}

/// The folder and the programs.
pub(super) struct Place {
    folder: PathBuf,
    pub(super) mongod: PathBuf,
    pub(super) setpriv: Option<PathBuf>,
}

impl Place {
    fn prepare(folder: PathBuf, mongod: Option<&Path>) -> Result<Self, StoreError> {
        let place = Self { folder, mongod: find_mongod(mongod)?, setpriv: on_path("setpriv") };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(place.data())
            .map_err(|error| place.refused("create the folder", &error))?;
        Ok(place)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("mongod.log")
    }

    fn refused(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::misconfigured(format!(
            "cannot {what} of the private database in {}: {error}",
            self.folder.display()
        ))
    }

    fn read_access(&self) -> Option<Access> {
        serde_json::from_slice(&fs::read(self.folder.join("access.json")).ok()?).ok()
    }

    pub(super) fn write_access(&self, access: &Access) -> Result<(), StoreError> {
        let text = serde_json::to_vec(access).map_err(StoreError::unexpected)?;
        self.write_secret("access.json", &text)
    }

    /// Whole or not at all, and for our eyes only (`mongod` insists on that for its key file).
    fn write_secret(&self, name: &str, text: &[u8]) -> Result<(), StoreError> {
        let new = self.folder.join(format!("{name}.new"));
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            io::Write::write_all(&mut file, text)?;
            file.sync_all()?;
            fs::rename(&new, self.folder.join(name))
        };
        write().map_err(|error| self.refused("write a file", &error))
    }

    /// What is remembered, or drawn now.
    fn access(&self) -> Result<Access, StoreError> {
        if !self.key().exists() {
            self.write_secret("key", random_hex()?.as_bytes())?;
        }
        match self.read_access() {
            Some(access) => Ok(Access { running: false, ..access }),
            None => Ok(Access { port: 0, password: random_hex()?, initialized: false, running: false }),
        }
    }
}

/// The program that would be used: the given one, or that on PATH.
///
/// # Errors
/// [`StoreError::Misconfigured`] when there is none.
pub fn find_mongod(named: Option<&Path>) -> Result<PathBuf, StoreError> {
    let found = match named {
        Some(path) => Some(path.to_owned()).filter(|path| path.is_file()),
        None => on_path("mongod"),
    };
    found.ok_or_else(|| {
        StoreError::mendable(
            "no mongod was found for the private database",
            "install MongoDB's package mongodb-org-server, or name the program by database.mongod, or use a database of \
             your own by database.uri (`make run` fetches a mongod for trying Postern out)",
        )
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether the owner of the value went away within `time`.
fn stopped_within(stop: &Receiver<()>, time: Duration) -> bool {
    !matches!(stop.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

/// Stands by until the lock is free, then keeps the database, until the value is dropped.
fn keep(place: &Place, stop: &Receiver<()>, tell: oneshot::Sender<Result<String, StoreError>>) {
    let mut tell = Some(tell);
    let mut answer = |outcome: Result<String, StoreError>| {
        if let Some(tell) = tell.take() {
            let _ = tell.send(outcome);
        } else if let Err(error) = outcome {
            tracing::error!(event = "mongod.not_taken_over", "the private database cannot be taken over: {error}");
        }
    };
    let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(place.folder.join("lock"));
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => return answer(Err(place.refused("open the lock", &error))),
    };
    let mut period = STANDBY_LOOK;
    while lock.try_lock().is_err() {
        if let Some(access) = place.read_access().filter(|access| access.running) {
            answer(Ok(access.uri()));
            period = STANDBY_PERIOD;
        }
        if stopped_within(stop, period) {
            return;
        }
    }
    let (mut access, mut server) = match place.access().and_then(|access| ServerProcess::bring_up(place, access)) {
        Ok(brought_up) => brought_up,
        Err(error) => return answer(Err(error)),
    };
    answer(Ok(access.uri()));
    watch(place, &access, &mut server, stop);
    access.running = false;
    let _ = place.write_access(&access);
    server.stop();
}

/// Restarts `mongod` whenever it dies, until told to stop.
fn watch(place: &Place, access: &Access, server: &mut ServerProcess, stop: &Receiver<()>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !stopped_within(stop, WATCH_PERIOD) {
        let Some(status) = server.ended() else { continue };
        let pause = backoff.pause(random());
        tracing::error!(event = "mongod.ended", %status, log = %place.log().display(),
            "the private mongod ended; starting it again");
        if stopped_within(stop, pause) {
            return;
        }
        match ServerProcess::start(place, access.port) {
            Ok(restarted) => *server = restarted,
            Err(error) => tracing::error!(event = "mongod.not_started", "the private mongod does not start: {error}"),
        }
    }
}
