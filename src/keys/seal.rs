//! Authenticated encryption of small secrets, each bound to the place where it is stored.
//!
//! A sealed value is `version (1) | fingerprint of the key (8) | nonce (24) | XChaCha20-Poly1305 ciphertext and tag`.
//! The nonce is random: with 192 bits that is safe for any number of values under one key. The associated data is the
//! [`Context`], so a ciphertext copied to another record or field does not open. The fingerprint tells a wrong key
//! from a damaged value; it is derived from the key by HKDF and says nothing about it.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::keyfile::{KEY_LENGTH, KeyBytes};
use super::secret::Secret;
use super::{KeyError, random};

const VERSION: u8 = 1;
const FINGERPRINT_LENGTH: usize = 8;
const NONCE_LENGTH: usize = 24;

/// The place where a sealed value is stored; it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// The collection, or the kind of file.
    pub collection: &'a str,
    /// The record's id.
    pub id: &'a str,
    /// The field of the record.
    pub field: &'a str,
}

impl Context<'_> {
    /// Each part with its length before it, so that no two contexts have the same bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.collection, self.id, self.field] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

/// Names a key without giving it away; safe to store and to show. 64 bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_LENGTH]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Fingerprint {
    pub(super) fn from_bytes(bytes: [u8; FINGERPRINT_LENGTH]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; FINGERPRINT_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sealed value as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes to store, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The key that opens it; nothing if the value is too short to be one.
    pub fn sealed_by(&self) -> Option<Fingerprint> {
        self.split().map(|(_, fingerprint, _, _)| fingerprint)
    }

    fn split(&self) -> Option<(u8, Fingerprint, &[u8; NONCE_LENGTH], &[u8])> {
        let (version, rest) = self.0.split_first()?;
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        Some((*version, Fingerprint(*fingerprint), nonce, ciphertext))
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A key that seals and opens.
pub struct SealingKey {
    key: KeyBytes,
    fingerprint: Fingerprint,
}

impl SealingKey {
    /// The key for `purpose` that follows from a stored secret (HKDF-SHA256, RFC 5869). Keys of different purposes
    /// tell nothing about each other.
    pub(super) fn derive(secret: &[u8; KEY_LENGTH], purpose: &str) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(b"postern keys 1"), secret);
        let expand = |what: &str, out: &mut [u8]| {
            hkdf.expand_multi_info(&[purpose.as_bytes(), b"/", what.as_bytes()], out)
                .expect("HKDF-SHA256 gives up to 8160 bytes");
        };
        let mut key = KeyBytes::default();
        expand("seal", key.as_mut_slice());
        let mut fingerprint = Fingerprint([0; FINGERPRINT_LENGTH]);
        expand("fingerprint", &mut fingerprint.0);
        Self { key, fingerprint }
    }

    /// Seals `plaintext` for the place `context`.
    #[expect(clippy::missing_panics_doc, reason = "the expectation is an invariant")]
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Sealed {
        let nonce: [u8; NONCE_LENGTH] = random::bytes();
        let payload = Payload { msg: plaintext, aad: &context.to_bytes() };
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is shorter than the 256 GiB limit of ChaCha20");
        Sealed([&[VERSION][..], &self.fingerprint.0, &nonce, &ciphertext].concat())
    }

    /// Opens what was sealed for the place `context`.
    ///
    /// # Errors
    /// [`KeyError::OtherKey`] names the key that is needed; [`KeyError::Refused`] is a damaged or moved value;
    /// [`KeyError::Malformed`] is not a sealed value at all.
    pub fn open(&self, context: &Context<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Some((VERSION, sealed_by, nonce, ciphertext)) = sealed.split() else {
            return Err(KeyError::Malformed("sealed value"));
        };
        if sealed_by != self.fingerprint {
            return Err(KeyError::OtherKey { sealed_by, ours: self.fingerprint });
        }
        let payload = Payload { msg: ciphertext, aad: &context.to_bytes() };
        let plaintext = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        plaintext.map(Zeroizing::new).ok().ok_or(KeyError::Refused)
    }

    /// A password of 256 bits that follows from the key and the place (HKDF-SHA256), in hexadecimal digits. A key that
    /// gives passwords seals nothing.
    pub(super) fn password(&self, context: &Context<'_>) -> Secret<String> {
        let mut bytes = KeyBytes::default();
        Hkdf::<Sha256>::new(Some(b"postern passwords 1"), &*self.key)
            .expand(&context.to_bytes(), bytes.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        Secret::new(HEXLOWER.encode(bytes.as_slice()))
    }

    /// Bytes for a key of another kind that belongs to this one.
    pub(super) fn seed(&self, purpose: &str) -> KeyBytes {
        let mut bytes = KeyBytes::default();
        Hkdf::<Sha256>::new(Some(b"postern seeds 1"), &*self.key)
            .expand(purpose.as_bytes(), bytes.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        bytes
    }

    /// The name of this key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: Context<'_> = Context { collection: "authorities", id: "aut_1", field: "key" };

    fn key() -> SealingKey {
        SealingKey::derive(&[7; 32], "test")
    }

    #[test]
    fn what_was_sealed_opens_in_its_place() {
        let sealed = Sealed::from(key().seal(&CONTEXT, b"secret").into_bytes());
        assert_eq!(*key().open(&CONTEXT, &sealed).unwrap(), b"secret");
        assert_eq!(sealed.sealed_by(), Some(key().fingerprint()));
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        assert_ne!(key().seal(&CONTEXT, b"secret"), key().seal(&CONTEXT, b"secret"));
    }

    #[test]
    fn a_ciphertext_moved_to_another_place_is_refused() {
        let sealed = key().seal(&CONTEXT, b"secret");
        for other in [
            Context { collection: "settings", ..CONTEXT },
            Context { id: "aut_2", ..CONTEXT },
            Context { field: "certificate", ..CONTEXT },
            Context { collection: "authoritiesaut_1", id: "", ..CONTEXT },
            Context { id: "aut_1key", field: "", ..CONTEXT },
        ] {
            assert!(matches!(key().open(&other, &sealed), Err(KeyError::Refused)), "{other:?}");
        }
    }

    #[test]
    fn another_key_is_told_apart_from_damage() {
        for other in [SealingKey::derive(&[8; 32], "test"), SealingKey::derive(&[7; 32], "other")] {
            let error = other.open(&CONTEXT, &key().seal(&CONTEXT, b"secret")).unwrap_err();
            let KeyError::OtherKey { sealed_by, ours } = error else { panic!("{error}") };
            assert_eq!((sealed_by, ours), (key().fingerprint(), other.fingerprint()));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", key()), format!("SealingKey({})", key().fingerprint()));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused(plaintext in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>()) {
            let mut bytes = key().seal(&CONTEXT, &plaintext).into_bytes();
            let bit = at.index(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key().open(&CONTEXT, &bytes.into()).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            prop_assert!(key().open(&CONTEXT, &bytes.into()).is_err());
        }
    }
}
