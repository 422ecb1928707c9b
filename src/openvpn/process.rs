//! Starting, finding again and ending a daemon: the only place that spawns `openvpn`.
//!
//! A daemon outlives Postern. It runs in a process group of its own with its output in a file, and what is needed to
//! know it again lies beside its configuration: process id, start time in the kernel's count, and the hash of the
//! configuration it was started with. A later Postern adopts it if all of that still fits, and the command line too.
//! Its end is noticed by a pidfd, which works for children and adopted processes alike and never means another
//! process. A service manager must be told to leave daemons alone when it stops Postern (systemd: `KillMode=process`).

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{RuntimeDir, RuntimeDirError};

/// How long `openvpn --version` may take.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// `openvpn` cannot be run; install it, or name its path.
    #[error("{0} cannot be run")]
    NotRunnable(PathBuf, #[source] io::Error),
    /// It does not say which version it is.
    #[error("{0} does not say that it is OpenVPN")]
    NotOpenVpn(PathBuf),
    /// Too old: it lacks management commands or fixes that Postern relies on.
    #[error("OpenVPN {0} is too old, {MINIMUM} or later is needed", MINIMUM = Version::MINIMUM)]
    TooOld(Version),
    /// Its files could not be read or written.
    #[error(transparent)]
    Files(#[from] RuntimeDirError),
    /// The kernel refused to watch or signal it.
    #[error("the daemon cannot be watched or signalled")]
    System(#[source] io::Error),
}

/// A version of OpenVPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2 in 2.6.14.
    pub major: u16,
    /// 6 in 2.6.14.
    pub minor: u16,
    /// 14 in 2.6.14.
    pub patch: u16,
}

impl Version {
    /// The oldest that Postern works with.
    pub const MINIMUM: Self = Self { major: 2, minor: 6, patch: 2 };

    /// From the first line of `openvpn --version`: `OpenVPN 2.6.14 x86_64-…`. What follows a number (`_rc1`) is not
    /// looked at; a missing patch number is 0.
    fn parse(output: &str) -> Option<Self> {
        let word = output.strip_prefix("OpenVPN ")?.split_whitespace().next()?;
        let mut numbers = word.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| part.split_at(end).0);
            digits.parse().ok()
        });
        Some(Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next().flatten().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// An `openvpn` program that is new enough.
#[derive(Debug, Clone)]
pub struct OpenVpn {
    program: PathBuf,
    version: Version,
}

impl OpenVpn {
    /// Asks the program at this absolute path for its version.
    pub async fn at(program: &Path) -> Result<Self, ProcessError> {
        let not_runnable = |error| ProcessError::NotRunnable(program.to_owned(), error);
        let asked = tokio::process::Command::new(program)
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(VERSION_DEADLINE, asked)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(not_runnable)?;
        // Its exit status is not asked: `--version` counts as a usage error in some versions.
        let version = Version::parse(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| ProcessError::NotOpenVpn(program.to_owned()))?;
        if version < Version::MINIMUM {
            return Err(ProcessError::TooOld(version));
        }
        Ok(Self { program: program.to_owned(), version })
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes the configuration and starts a daemon from it, detached. Its keys must lie in `dir` already.
    ///
    /// It waits for `HoldRelease` on its management socket. The log of a daemon before it is lost.
    pub fn start(&self, dir: &RuntimeDir, config: &str) -> Result<Running, ProcessError> {
        dir.write(RuntimeDir::CONFIG, config.as_bytes())?;
        remove(dir, RuntimeDir::MANAGEMENT)?;
        // Should this process end before it has written which one it started, the next one looks for it.
        remove(dir, RuntimeDir::STATE)?;
        let child = self.spawn(dir).map_err(|error| ProcessError::NotRunnable(self.program.clone(), error))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| system(Errno::SRCH))?;
        let running = Running::watch(pid, hash(config))?;
        let state = State { pid: pid.as_raw_nonzero().get(), started: running.started, config: running.config };
        let state = serde_json::to_vec(&state).map_err(|error| ProcessError::System(error.into()))?;
        dir.write(RuntimeDir::STATE, &state)?;
        Ok(running)
    }

    fn spawn(&self, dir: &RuntimeDir) -> io::Result<std::process::Child> {
        let log = dir.file(RuntimeDir::LOG);
        remove_if_there(&log)?;
        // Appending, so that the log can be emptied while it is written.
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
        Command::new(&self.program)
            .arg("--config")
            .arg(dir.file(RuntimeDir::CONFIG))
            .current_dir(dir.path())
            .env_clear()
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// A daemon that runs, or ran a moment ago.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    started: u64,
    config: [u8; 32],
    pidfd: AsyncFd<OwnedFd>,
}

/// The record of a daemon's process in its directory.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    pid: i32,
    started: u64,
    config: [u8; 32],
}

impl Running {
    /// Finds the daemon that was started from this directory, if it still runs. Needs a tokio runtime.
    pub fn adopt(dir: &RuntimeDir) -> Result<Option<Self>, ProcessError> {
        let Some(state) = remembered(dir).or_else(|| found(dir)) else { return Ok(None) };
        let Some(pid) = Pid::from_raw(state.pid) else { return Ok(None) };
        let running = match Self::watch(pid, state.config) {
            Ok(running) => running,
            Err(ProcessError::System(error)) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // The pidfd is open, so the number cannot pass to another process between these looks and later signals.
        let same = running.started == state.started && is_daemon_of(pid, dir) && running.is_alive();
        if !same {
            // A child of ours that has ended is reaped now.
            running.reap()?;
        }
        Ok(same.then_some(running))
    }

    fn watch(pid: Pid, config: [u8; 32]) -> Result<Self, ProcessError> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(system)?;
        #[expect(deprecated, reason = "sound for an OwnedFd, which keeps its descriptor; the successor is unsafe")]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE).map_err(ProcessError::System)?;
        let (started, _) = stat(pid).ok_or_else(|| system(Errno::SRCH))?;
        Ok(Self { pid, started, config, pidfd })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// When it was started, in clock ticks since the machine was (`proc_pid_stat(5)`, field 22).
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Whether it was started with exactly this configuration.
    pub fn runs(&self, config: &str) -> bool {
        self.config == hash(config)
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(started, state)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Asks it to end: it tells its clients and goes, within 2 s.
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once.
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match pidfd_send_signal(self.pidfd.get_ref(), signal) {
            // Already gone, which is what was wanted.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(system(error)),
        }
    }

    /// Waits for its end, and buries it if it was our child. May be dropped and called again.
    pub async fn gone(&self) -> Result<(), ProcessError> {
        self.pidfd.readable().await.map_err(ProcessError::System)?.retain_ready();
        self.reap()
    }

    /// Takes the exit status of a child that has ended, without waiting for it.
    fn reap(&self) -> Result<(), ProcessError> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(self.pidfd.get_ref())), options) {
            // An adopted daemon is the child of another process; a second call finds it reaped.
            Ok(_) | Err(Errno::CHILD) => Ok(()),
            Err(error) => Err(system(error)),
        }
    }

    /// The same with a deadline; tells whether it is gone.
    pub async fn wait_gone(&self, deadline: Duration) -> Result<bool, ProcessError> {
        match tokio::time::timeout(deadline, self.gone()).await {
            Ok(gone) => gone.map(|()| true),
            Err(_late) => Ok(false),
        }
    }
}

fn system(error: Errno) -> ProcessError {
    ProcessError::System(error.into())
}

fn remove(dir: &RuntimeDir, name: &str) -> Result<(), ProcessError> {
    let path = dir.file(name);
    remove_if_there(&path).map_err(|error| RuntimeDirError::Io(path, error).into())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The daemon of this directory by its command line, where nothing readable says which process it is: it holds the port,
/// and has clients. It was started with the configuration that lies there, which is written before each start.
fn found(dir: &RuntimeDir) -> Option<State> {
    let config = std::fs::read_to_string(dir.file(RuntimeDir::CONFIG)).unwrap_or_default();
    let processes = std::fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?));
    let daemon = pids.into_iter().find(|pid| is_daemon_of(*pid, dir))?;
    let state = State { pid: daemon.as_raw_nonzero().get(), started: start_time(daemon)?, config: hash(&config) };
    if let Ok(text) = serde_json::to_vec(&state)
        && let Err(error) = dir.write(RuntimeDir::STATE, &text)
    {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "what was learned of a daemon's process could not be written to its directory"
        );
    }
    Some(state)
}

/// What was written at the last start. An unreadable file is none.
fn remembered(dir: &RuntimeDir) -> Option<State> {
    serde_json::from_slice(&std::fs::read(dir.file(RuntimeDir::STATE)).ok()?).ok()
}

/// Whether the process was started as `… --config FILE` with the file of this directory. What stands before it is not
/// asked: `vpn.openvpn` may name a script that starts the program in its own way.
fn is_daemon_of(pid: Pid, dir: &RuntimeDir) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let config = dir.file(RuntimeDir::CONFIG);
    line.ends_with(&[b"\0--config\0", config.as_os_str().as_encoded_bytes(), b"\0"].concat())
}

/// Start time and state letter, from `/proc/PID/stat`. The name in parentheses may hold anything, so it is read from
/// behind it: state is the first field there, start time the twentieth.
fn stat(pid: Pid) -> Option<(u64, char)> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

/// When a process was started, in clock ticks since the machine was.
pub(super) fn start_time(pid: Pid) -> Option<u64> {
    stat(pid).map(|(started, _)| started)
}

fn hash(config: &str) -> [u8; 32] {
    Sha256::digest(config.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_first_line() {
        let parse = |text: &str| Version::parse(text).map(|version| version.to_string());
        assert_eq!(parse("OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\nlibrary").as_deref(), Some("2.6.14"));
        assert_eq!(parse("OpenVPN 2.7_rc1 x86_64").as_deref(), Some("2.7.0"));
        assert_eq!(parse("OpenVPN x").as_deref(), None);
        assert_eq!(parse("bash 5").as_deref(), None);
    }

    #[test]
    fn older_than_the_minimum_is_older() {
        assert!(Version::parse("OpenVPN 2.6.1 x").unwrap() < Version::MINIMUM);
        assert!(Version::parse("OpenVPN 2.5.11 x").unwrap() < Version::MINIMUM);
        assert!(Version::parse("OpenVPN 2.6.2 x").unwrap() >= Version::MINIMUM);
        assert!(Version::parse("OpenVPN 2.10.0 x").unwrap() >= Version::MINIMUM);
    }
}
