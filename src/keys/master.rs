//! The master key: 256 bits in a file, never in the database.
//!
//! It seals the authorities' keys and the other secrets of the cluster. The roles portal, console and jobs need it; a
//! host that only serves VPN must not have it. The file's key is never used itself, only keys derived from it.

use std::io;
use std::io::{Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use super::host::HostKey;
use super::keyfile::KEY_LENGTH;
use super::seal::{Context, Fingerprint, Sealed, SealingKey};
use super::secret::Secret;
use super::stream::{Opener, Preface, Sealer, StreamError};
use super::{KeyError, keyfile};

/// The master key, ready to seal and open.
#[derive(Debug)]
pub struct MasterKey {
    seal: SealingKey,
    passwords: SealingKey,
    files: SealingKey,
}

impl MasterKey {
    /// Reads the key file at `path`: 64 hexadecimal digits and an optional newline, as `openssl rand -hex 32` makes
    /// it, with mode 0600 or less.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::Exposed`], [`KeyError::NotAKey`] and [`KeyError::File`], each a sentence for
    /// the operator.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(&*keyfile::read(path)?))
    }

    /// Like [`load`](Self::load), but makes a key when there is none. Only for the private database, whose data and
    /// key are born together; anywhere else a fresh key in the place of a lost one would hide the loss.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(&*keyfile::read_or_create(path)?))
    }

    /// The key whose file holds `bytes`.
    pub fn from_bytes(bytes: &[u8; KEY_LENGTH]) -> Self {
        let derive = |purpose| SealingKey::derive(bytes, purpose);
        Self { seal: derive("master"), passwords: derive("master passwords"), files: derive("master files") }
    }

    /// Seals `plaintext` for the place `context`.
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Sealed {
        self.seal.seal(context, plaintext)
    }

    /// Opens what was sealed for the place `context`; errors as of [`SealingKey::open`].
    pub fn open(&self, context: &Context<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.seal.open(context, sealed)
    }

    /// The password that belongs to a place: the same whenever it is asked for, and stored nowhere.
    pub fn password(&self, context: &Context<'_>) -> Secret<String> {
        self.passwords.password(context)
    }

    /// The key pair that hosts seal their requests to; the public half may be known to everybody.
    pub fn request_key(&self) -> HostKey {
        HostKey::from_bytes(&self.seal.seed("host requests"))
    }

    /// Seals a file. `head` is what may be read without the key.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn seal_stream<W: Write>(&self, head: &[u8], to: W) -> io::Result<Sealer<W>> {
        Sealer::begin(&self.files, self.fingerprint(), head, to)
    }

    /// Opens a sealed file, of which the preface has been read.
    ///
    /// # Errors
    /// [`KeyError::OtherKey`] names the key that is needed.
    pub fn open_stream<R: Read>(&self, preface: Preface, from: R) -> Result<Opener<R>, StreamError> {
        Opener::begin(&self.files, self.fingerprint(), preface, from)
    }

    /// The name of this key, to be stored beside the data and compared at start.
    pub fn fingerprint(&self) -> Fingerprint {
        self.seal.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context<'_> = Context { collection: "settings", id: "oidc", field: "secret" };

    #[test]
    fn a_created_master_key_opens_what_it_sealed_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(MasterKey::load(&path), Err(KeyError::Missing { .. })));
        let sealed = MasterKey::load_or_create(&path).unwrap().seal(&CONTEXT, b"secret");
        let again = MasterKey::load(&path).unwrap();
        assert_eq!(*again.open(&CONTEXT, &sealed).unwrap(), b"secret");
        assert_eq!(again.fingerprint(), MasterKey::load_or_create(&path).unwrap().fingerprint());
    }

    #[test]
    fn a_password_belongs_to_its_place_and_key() {
        let [key, other] = [[1; 32], [2; 32]].map(|bytes| MasterKey::from_bytes(&bytes));
        let password = key.password(&CONTEXT);
        assert_eq!(password.expose(), key.password(&CONTEXT).expose());
        assert_eq!(password.expose().len(), 64);
        assert_ne!(password.expose(), key.password(&Context { id: "other", ..CONTEXT }).expose());
        assert_ne!(password.expose(), other.password(&CONTEXT).expose());
    }

    #[test]
    fn a_wrong_master_key_is_named() {
        let [right, wrong] = [[1; 32], [2; 32]].map(|bytes| MasterKey::from_bytes(&bytes));
        let error = wrong.open(&CONTEXT, &right.seal(&CONTEXT, b"secret")).unwrap_err();
        assert!(error.to_string().contains(&right.fingerprint().to_string()), "{error}");
    }

    #[test]
    fn one_secret_gives_unrelated_keys_to_its_uses() {
        let local = SealingKey::derive(&[1; 32], "host local");
        assert_ne!(MasterKey::from_bytes(&[1; 32]).fingerprint(), local.fingerprint());
    }
}
