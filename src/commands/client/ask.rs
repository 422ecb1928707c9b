//! Asking back before something that cannot be undone.

use std::io::{IsTerminal as _, Write as _};

use super::{
    Client,
    error::{ClientError, exit},
    table::written_out,
};

impl Client {
    /// Goes on only if the caller meant it: said so beforehand, or says so now.
    pub(super) fn confirm(&self, what: &str) -> Result<(), ClientError> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(ClientError::usage(format!("to {what} needs --yes where nobody can be asked")));
        }
        let mut err = std::io::stderr().lock();
        write!(err, "Really {}? [y/N] ", written_out(what))?;
        err.flush()?;
        let mut reply = String::new();
        std::io::stdin().read_line(&mut reply)?;
        if matches!(reply.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(ClientError::new(exit::FAILED, "nothing was changed"))
    }
}
