//! The directory of one daemon: what it is started from and what it leaves behind.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest path of a unix socket (`sun_path` of `unix(7)`, less the closing zero).
const MAX_SOCKET_PATH: usize = 107;

/// Why a directory cannot be a daemon's.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// The management socket's path would not fit; choose a shorter data directory.
    #[error("the path {0} is too long for a socket")]
    PathTooLong(PathBuf),
    /// The file system refused.
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
}

/// A directory that only its owner may enter: OpenVPN makes its socket writable for everybody.
///
/// Everything in it can be lost: it is written anew at each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// The configuration.
    pub const CONFIG: &str = "daemon.conf";
    /// Client authorities, PEM.
    pub const AUTHORITIES: &str = "authorities.pem";
    /// The daemon's certificate, PEM.
    pub const CERTIFICATE: &str = "certificate.pem";
    /// The daemon's private key, PEM.
    pub const KEY: &str = "key.pem";
    /// The tls-crypt-v2 server key.
    pub const TLS_CRYPT: &str = "tls-crypt-v2.key";
    /// The management socket.
    pub const MANAGEMENT: &str = "management.sock";
    /// The socket of its [`relay`](super::relay).
    pub const RELAY: &str = "relay.sock";
    /// Held by its relay.
    pub const RELAY_LOCK: &str = "relay.lock";
    /// What the relay had to say.
    pub const RELAY_LOG: &str = "relay.log";
    /// Written by the daemon.
    pub const PID: &str = "daemon.pid";
    /// The daemon's output.
    pub const LOG: &str = "daemon.log";
    /// What [`process`](super::process) remembers.
    pub const STATE: &str = "process.json";

    /// Makes the directory, or takes over an existing one and closes it to others. `path` is absolute.
    pub fn prepare(path: impl Into<PathBuf>) -> Result<Self, RuntimeDirError> {
        let dir = Self(path.into());
        let socket = dir.file(Self::MANAGEMENT);
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(RuntimeDirError::PathTooLong(socket));
        }
        let closed = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir.0)?;
            std::fs::set_permissions(&dir.0, Permissions::from_mode(0o700))
        };
        closed().map_err(|error| RuntimeDirError::Io(dir.0.clone(), error))?;
        Ok(dir)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it, by one of the names above.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner may read, whole or not at all; it is on the disk when this returns.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), RuntimeDirError> {
        let path = self.file(name);
        let unfinished = self.file(&format!("{name}.new"));
        let written = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(content)?;
            // The name must not be on the disk before the content is: a machine that loses its power would find a file
            // that is whole by its name and empty.
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(&self.0)?.sync_all()
        };
        written().map_err(|error| RuntimeDirError::Io(path.clone(), error))
    }

    /// Empties the log once it is longer than `limit` bytes; the daemon goes on writing at its new end.
    pub fn trim_log(&self, limit: u64) -> Result<(), RuntimeDirError> {
        let path = self.file(Self::LOG);
        let trimmed = || {
            let log = OpenOptions::new().write(true).open(&path)?;
            if log.metadata()?.len() > limit { log.set_len(0) } else { Ok(()) }
        };
        trimmed().map_err(|error| RuntimeDirError::Io(path.clone(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_readable_by_their_owner_only() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::prepare(temporary.path().join("a/b")).unwrap();
        dir.write(RuntimeDir::KEY, b"secret").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.file(RuntimeDir::KEY)), 0o600);
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let refused = RuntimeDir::prepare(temporary.path().join("x".repeat(100)));
        assert!(matches!(refused, Err(RuntimeDirError::PathTooLong(_))));
    }
}
