//! A file for its owner only, which appears whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ClientError;

/// A file that is about to be written. It is opened before the content exists, because a profile is made only once: a
/// folder that cannot be written to is found out while nothing is lost.
pub(super) struct PrivateFile {
    place: PathBuf,
    draft: NamedTempFile,
    replace: bool,
}

impl PrivateFile {
    /// Opens a file for `place`; one that is there already is only replaced with `replace`.
    pub(super) fn open(place: &Path, replace: bool) -> Result<Self, ClientError> {
        if !replace && place.exists() {
            return Err(ClientError::usage(format!("{} is there already; --yes replaces it", place.display())));
        }
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Made with mode 0600.
        let draft = NamedTempFile::new_in(folder).map_err(|error| unwritable(place, &error))?;
        Ok(Self { place: place.to_owned(), draft, replace })
    }

    /// Where what comes piece by piece is written.
    pub(super) fn draft(&mut self) -> &mut impl Write {
        self.draft.as_file_mut()
    }

    /// Writes the content, or the rest of it, and puts the file in its place.
    pub(super) fn finish(mut self, content: &[u8]) -> Result<(), ClientError> {
        let failed = |error: std::io::Error| unwritable(&self.place, &error);
        self.draft.write_all(content).and_then(|()| self.draft.as_file().sync_all()).map_err(failed)?;
        let placed =
            if self.replace { self.draft.persist(&self.place) } else { self.draft.persist_noclobber(&self.place) };
        placed.map(drop).map_err(|error| unwritable(&self.place, &error.error))
    }
}

fn unwritable(place: &Path, error: &std::io::Error) -> ClientError {
    ClientError::new(1, format!("{} cannot be written: {error}", place.display()))
}
