//! Which machine this is, told from any copy of it.
//!
//! A copy of a disk has the same files, a copy of a folder the same kernel. So both count: the boot of the kernel
//! ([`boot_id`]) and the folder's place on its file system with the moment that it was made. All of it stays
//! the same while the machine runs, whatever is started again on it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use super::boot::boot_id;

/// A mark of this machine, for processes that work in `folder`: 32 hexadecimal digits that tell nothing else.
///
/// # Errors
/// The folder cannot be looked at.
pub fn instance(folder: &Path) -> io::Result<String> {
    let place = fs::metadata(folder)?;
    // Not every file system knows when a file was made.
    let made = place.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let mut digest = Sha256::new();
    digest.update(boot_id());
    for number in [u128::from(place.dev()), u128::from(place.ino()), made.as_nanos()] {
        digest.update(number.to_be_bytes());
    }
    Ok(data_encoding::HEXLOWER.encode(digest.finalize().get(..16).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_itself_after_every_change_and_its_copy_is_not() {
        let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let before = instance(original.path()).unwrap();
        fs::write(original.path().join("host.key"), "key").unwrap();
        fs::write(copy.path().join("host.key"), "key").unwrap();
        assert_eq!(instance(original.path()).unwrap(), before);
        assert_ne!(instance(copy.path()).unwrap(), before);
        assert!(instance(&original.path().join("none")).is_err());
    }
}
