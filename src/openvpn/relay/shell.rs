//! The sockets of the relay: the daemon's on one side, one for Postern on the other.

use std::fs::Permissions;
use std::future::pending;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use super::RelayError;
use super::core::Core;
use super::process::Lock;
use crate::{RuntimeDir, RuntimeDirError};

/// How long a daemon may take to open its management socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(10);
/// Between two tries to connect to it.
const RETRY: Duration = Duration::from_millis(10);
/// The most read at once, in bytes.
const READ_SIZE: usize = 16 * 1024;
/// Beyond so many bytes that the daemon has not taken, the manager is not read.
const MAX_UNTAKEN: usize = 256 * 1024;

/// Serves the daemon of a directory until it closes its management socket.
///
/// # Errors
/// Another relay serves it, or the daemon opens no socket.
pub async fn serve(dir: &RuntimeDir) -> Result<(), RelayError> {
    // It needs nothing but its sockets. Where this is refused, there was nothing to give up.
    let none = CapabilitySet::empty();
    let _ = set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none });
    let _lock = Lock::take(dir).await?;
    let listener = listen(&dir.file(RuntimeDir::RELAY))?;
    let daemon = connect(&dir.file(RuntimeDir::MANAGEMENT)).await.map_err(RelayError::System)?;
    let ended = relay(daemon, &listener).await;
    tracing::debug!(?ended, "the daemon's connection ended");
    Ok(())
}

fn listen(path: &Path) -> Result<UnixListener, RelayError> {
    let listening = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    listening().map_err(|error| RuntimeDirError::Io(path.to_owned(), error).into())
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    let until = Instant::now() + SOCKET_LIMIT;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_not_yet) => tokio::time::sleep(RETRY).await,
            Ok(stream) => return Ok(stream),
        }
    }
}

/// The manager's connection, if there is one.
#[derive(Debug, Default)]
struct Manager(Option<(OwnedReadHalf, OwnedWriteHalf)>);

impl Manager {
    /// The bytes that it says; 0 at its end.
    async fn read(reader: Option<&mut OwnedReadHalf>, buffer: &mut [u8]) -> usize {
        match reader {
            Some(reader) => reader.read(buffer).await.unwrap_or(0),
            None => pending().await,
        }
    }

    /// How many bytes it took; 0 at its end.
    async fn write(writer: Option<&mut OwnedWriteHalf>, bytes: &[u8]) -> usize {
        match writer {
            Some(writer) => writer.write(bytes).await.unwrap_or(0),
            None => pending().await,
        }
    }
}

async fn relay(daemon: UnixStream, listener: &UnixListener) -> io::Result<()> {
    let (mut from_daemon, mut daemon) = daemon.into_split();
    let mut core = Core::default();
    let mut manager = Manager::default();
    let (mut said, mut asked) = (vec![0; READ_SIZE], vec![0; READ_SIZE]);
    loop {
        let due = core.due();
        let late = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        let (reader, writer) = match &mut manager.0 {
            Some((reader, writer)) => (Some(reader), Some(writer)),
            None => (None, None),
        };
        let gone = tokio::select! {
            count = from_daemon.read(&mut said) => match count? {
                0 => return Ok(()),
                count => {
                    core.daemon_said(said.get(..count).unwrap_or_default(), Instant::now());
                    false
                }
            },
            count = daemon.write(&core.to_daemon), if !core.to_daemon.is_empty() => {
                core.to_daemon.drain(..count?);
                false
            }
            count = Manager::read(reader, &mut asked), if core.to_daemon.len() < MAX_UNTAKEN => {
                count == 0 || core.manager_said(asked.get(..count).unwrap_or_default()).is_err()
            }
            count = Manager::write(writer, &core.to_manager), if !core.to_manager.is_empty() => {
                core.to_manager.drain(..count);
                count == 0
            }
            connected = listener.accept() => {
                // The newest speaks for Postern: the one before it is frozen, or has lost its way.
                if let Ok((stream, _)) = connected {
                    core.manager_came();
                    manager.0 = Some(stream.into_split());
                }
                false
            }
            () = late => {
                core.on_time(Instant::now());
                false
            }
        };
        if gone || core.must_dismiss() {
            core.manager_left();
            manager.0 = None;
        }
    }
}
