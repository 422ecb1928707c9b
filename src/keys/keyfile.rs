//! A 256-bit key in a file: 64 hexadecimal digits and a newline, for its owner only.
//!
//! A new file is written under another name, synced, and then *linked* to its place: linking fails if the place is
//! taken, so that two processes which start together end up with one key, and a crash leaves either no key or a whole
//! one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::{KeyError, random};

/// Length of a key in bytes.
pub(super) const KEY_LENGTH: usize = 32;

/// Key bytes that are overwritten on drop.
pub(super) type KeyBytes = Zeroizing<[u8; KEY_LENGTH]>;

/// Reads the key at `path`.
pub(super) fn read(path: &Path) -> Result<KeyBytes, KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(KeyError::Missing { path: path.to_owned() }),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if is_exposed(metadata.mode(), metadata.gid()) {
        return Err(KeyError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    // One byte more than the longest good file, with room for all, so that no copy is left by growing.
    let longest = 2 * KEY_LENGTH + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(2 * longest));
    file.take(longest as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    decode(&text).ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })
}

/// Reads the key at `path`, or makes one there if the place is empty.
pub(super) fn read_or_create(path: &Path) -> Result<KeyBytes, KeyError> {
    match read(path) {
        Err(KeyError::Missing { .. }) => {}
        found => return found,
    }
    create(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
    read(path)
}

/// Whether permission bits `mode` let anybody but the owner (and root) get at a file of group `gid`. Reading by
/// root's own group is let pass: systemd credentials look like that.
fn is_exposed(mode: u32, gid: u32) -> bool {
    let harmless = if gid == 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !harmless != 0
}

fn decode(text: &[u8]) -> Option<KeyBytes> {
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    if digits.len() != 2 * KEY_LENGTH {
        return None;
    }
    let mut key = KeyBytes::default();
    HEXLOWER_PERMISSIVE.decode_mut(digits, key.as_mut_slice()).is_ok().then_some(key)
}

fn create(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = Draft(folder.join(format!(".key-{:032x}", random::u128())));
    let key: KeyBytes = random::bytes().into();
    let text = Zeroizing::new(HEXLOWER.encode(key.as_slice()) + "\n");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match std::fs::hard_link(&draft.0, path) {
        // Somebody else was faster: theirs is the key.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    drop(draft);
    File::open(folder)?.sync_all()
}

/// The name under which a key is written before it gets its place; gone on drop.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It may never have been made, and a left-over draft is never read.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    use super::*;

    fn write(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn sixty_four_digits_are_a_key() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["ab".repeat(32), "AB".repeat(32), "ab".repeat(32) + "\n"] {
            assert_eq!(*read(&write(folder.path(), &text, 0o400)).unwrap(), [0xab; 32]);
        }
    }

    #[test]
    fn anything_else_is_not_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let digits = "ab".repeat(32);
        for text in ["", "\n", &digits[1..], &format!("{digits}a"), &format!("{digits}\n\n"), &format!(" {digits}")] {
            let result = read(&write(folder.path(), text, 0o600));
            assert!(matches!(result, Err(KeyError::NotAKey { .. })), "{text:?} must not be a key");
        }
        let result = read(&write(folder.path(), &"xy".repeat(32), 0o600));
        assert!(matches!(result, Err(KeyError::NotAKey { .. })));
    }

    #[test]
    fn an_exposed_file_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o604, 0o620, 0o666] {
            let error = read(&write(folder.path(), &"ab".repeat(32), mode)).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { .. }), "{mode:o}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        assert!(is_exposed(0o100_640, 1000));
        assert!(!is_exposed(0o100_440, 0), "how systemd shows a credential");
    }

    #[test]
    fn a_missing_file_is_its_own_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(&folder.path().join("key")), Err(KeyError::Missing { .. })));
    }

    #[test]
    fn a_created_key_is_private_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = read_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_or_create(&path).unwrap(), key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn processes_that_start_together_get_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let barrier = Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                *read_or_create(&path).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_broken_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "half a key", 0o600);
        assert!(matches!(read_or_create(&path), Err(KeyError::NotAKey { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a key");
    }
}
