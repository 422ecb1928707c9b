//! Starting the relay of a daemon, knowing whether there is one, and ending it.
//!
//! Whoever holds the lock of a directory is its relay. It writes into the locked file which process it is, so that one
//! that is frozen can be ended.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::RelayError;
use crate::process::start_time;
use crate::{RuntimeDir, RuntimeDirError};

/// How long a relay may wait for the one before it, whose daemon has just ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const STEP: Duration = Duration::from_millis(10);

/// Which process holds the lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: i32,
    started: u64,
}

/// The lock of a directory; let go when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

fn open(dir: &RuntimeDir) -> Result<File, RelayError> {
    let path = dir.file(RuntimeDir::RELAY_LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    opened.map_err(|error| RuntimeDirError::Io(path, error).into())
}

fn try_lock(file: &File) -> Result<bool, RelayError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(RelayError::System(error)),
    }
}

impl Lock {
    /// Takes the lock for this process.
    pub(super) async fn take(dir: &RuntimeDir) -> Result<Self, RelayError> {
        let mut file = open(dir)?;
        if !freed(&file, LOCK_PATIENCE).await? {
            return Err(RelayError::Another(dir.path().to_owned()));
        }
        let own = rustix::process::getpid();
        let holder = Holder { pid: own.as_raw_nonzero().get(), started: start_time(own).unwrap_or_default() };
        let mut written = || {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&serde_json::to_vec(&holder).map_err(io::Error::from)?)
        };
        written().map_err(RelayError::System)?;
        Ok(Self { _file: file })
    }
}

/// Starts the relay of a directory, unless there is one. It may take a moment until its socket is there.
pub fn ensure(program: &Path, dir: &RuntimeDir) -> Result<(), RelayError> {
    if !try_lock(&open(dir)?)? {
        return Ok(());
    }
    let not_runnable = |error| RelayError::NotRunnable(program.to_owned(), error);
    let log = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(dir.file(RuntimeDir::RELAY_LOG))
        .map_err(not_runnable)?;
    // An upgrade may have taken the file away that this process was started from.
    let program = if program.exists() { program } else { Path::new("/proc/self/exe") };
    let mut relay = tokio::process::Command::new(program);
    relay.arg0("postern").arg("relay").arg(dir.path()).env_clear().current_dir(dir.path()).process_group(0);
    relay.stdin(Stdio::null()).stdout(log.try_clone().map_err(not_runnable)?).stderr(log);
    // It is not waited for: the runtime takes its exit status, should it end before this process.
    drop(relay.spawn().map_err(not_runnable)?);
    Ok(())
}

/// Waits for the end of the relay whose daemon has ended, and ends it after `patience`.
pub async fn end(dir: &RuntimeDir, patience: Duration) -> Result<(), RelayError> {
    let mut file = open(dir)?;
    if !freed(&file, patience).await? {
        kill(&mut file)?;
        freed(&file, LOCK_PATIENCE).await?;
    }
    Ok(())
}

/// Waits until nobody holds a lock, and tells whether it is so.
async fn freed(file: &File, patience: Duration) -> Result<bool, RelayError> {
    let until = Instant::now() + patience;
    while !try_lock(file)? {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(true)
}

/// Ends the process that holds a lock at once.
fn kill(file: &mut File) -> Result<(), RelayError> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).map_err(RelayError::System)?;
    // One that has not yet said which process it is has only just begun.
    let Ok(holder) = serde_json::from_str::<Holder>(&text) else { return Ok(()) };
    let Some(pid) = Pid::from_raw(holder.pid) else { return Ok(()) };
    let killed = pidfd_open(pid, PidfdFlags::empty()).and_then(|process| {
        // The descriptor is open, so the number cannot pass to another process between this look and the signal.
        if start_time(pid) == Some(holder.started) { pidfd_send_signal(process, Signal::KILL) } else { Ok(()) }
    });
    match killed {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(RelayError::System(error.into())),
    }
}
