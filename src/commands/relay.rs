//! `postern relay`: the process that holds a daemon's management connection. `serve` starts it; nobody else needs to.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::openvpn::relay::RelayError;
use crate::openvpn::{RuntimeDir, relay};

/// Runs the relay of the daemon of a folder until that daemon ends.
pub(super) fn run(folder: PathBuf) -> anyhow::Result<ExitCode> {
    let dir = RuntimeDir::prepare(folder)?;
    // There may be many of it on a machine, and each has two sockets to look after: one thread will do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(relay::serve(&dir)) {
        // There is one; what was wanted is so.
        Ok(()) | Err(RelayError::Another(_)) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}
