//! The relay of a daemon: a tiny process that holds its management connection and outlives Postern as the daemon does.
//!
//! OpenVPN asks its manager about every client, asks once, and lets the client wait for a minute if nobody answers; most
//! clients then give up for good. Postern may be restarting, in a crash loop or frozen at that moment. So the manager that
//! the daemon sees is this process. What Postern and the daemon say passes through it unchanged, and a question that
//! Postern has left open for [`PATIENCE`] is answered here, in the way that harms nobody: a newcomer is sent to another
//! host, a client that renews its keys goes on. Whoever must not go on is ended by Postern, once it is back and compares.
//!
//! `core` is the rule, without input and output; `shell` owns the sockets; `process` starts it, knows it again and ends
//! it. One lock file for each daemon's directory makes sure that there is one relay at most. It ends when the daemon
//! closes its socket.

mod core;
mod process;
mod shell;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::RuntimeDirError;

pub use process::{end, ensure};
pub use shell::serve;

/// How long a question may wait for Postern: well within what a person takes for a slow connect, and longer than a
/// restart of Postern or a look at the database takes.
pub const PATIENCE: Duration = Duration::from_millis(2500);

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The program cannot be started.
    #[error("the relay {0} cannot be started")]
    NotRunnable(PathBuf, #[source] io::Error),
    /// Another one holds the daemon's connection.
    #[error("another relay serves {0}")]
    Another(PathBuf),
    /// Its files could not be read or written.
    #[error(transparent)]
    Files(#[from] RuntimeDirError),
    /// The kernel refused something.
    #[error("a system call of the relay failed")]
    System(#[source] io::Error),
}
