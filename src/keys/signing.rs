//! The key that signs the audit log: Ed25519 (RFC 8032).
//!
//! The private half is 32 bytes, sealed under the master key where it rests. The public half is published: as
//! a PEM file (`SubjectPublicKeyInfo`, RFC 8410) that other programs read too.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{KeyError, random};
use domain::chain::{Hex, Signature};

/// What stands before the 32 bytes of a key in its `SubjectPublicKeyInfo` (RFC 8410, section 10.1).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const TAG: &str = "PUBLIC KEY";

/// A key pair.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

impl SigningKey {
    /// A new private half.
    pub fn generate() -> Zeroizing<[u8; 32]> {
        Zeroizing::new(random::bytes())
    }

    /// The pair of a private half.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if these are not 32 bytes.
    pub fn from_bytes(private: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(private).map(Self).map_err(|_rejected| KeyError::Malformed("signing key"))
    }

    /// Signs.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(bytes).as_ref());
        Hex(signature)
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.public_key().as_ref());
        VerifyingKey(public)
    }
}

/// The public half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if these are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_length| KeyError::Malformed("public key"))
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A short name for it: the first 16 hexadecimal digits of its SHA-256.
    pub fn name(&self) -> String {
        let hash = Sha256::digest(self.0);
        HEXLOWER.encode(hash.as_slice().get(..8).unwrap_or_default())
    }

    /// Its bytes in base64, on one line.
    pub fn to_text(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads [`Self::to_text`].
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_digits| KeyError::Malformed("public key"))?;
        Self::from_bytes(&bytes)
    }

    /// As a PEM file.
    pub fn to_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new(TAG, [SPKI.as_slice(), &self.0].concat()), config)
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if it does not hold an Ed25519 public key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed("PEM file of an Ed25519 public key");
        let found = pem::parse(text).map_err(|_framing| malformed())?;
        let bytes = found.contents().strip_prefix(SPKI.as_slice()).filter(|_| found.tag() == TAG);
        Self::from_bytes(bytes.ok_or_else(malformed)?)
    }

    /// Whether the private half of this key made a signature of these bytes.
    pub fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, &signature.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8032, section 7.1, test 2; RFC 8410, section 10.1 for the frame.
    #[test]
    fn it_is_the_ed25519_of_the_rfc() {
        let private: [u8; 32] = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public: [u8; 32] = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let key = SigningKey::from_bytes(&private).unwrap();
        assert_eq!(key.public().as_bytes(), &public);
        let signature = key.sign(&[0x72]);
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d\
                        8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(signature.0, hex::<64>(expected));
        assert!(key.public().verifies(&[0x72], &signature));
        assert!(!key.public().verifies(&[0x73], &signature));
        let pem = key.public().to_pem();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA"), "{pem}");
        assert_eq!(VerifyingKey::from_pem(&pem).unwrap(), key.public());
        assert_eq!(VerifyingKey::from_text(&key.public().to_text()).unwrap(), key.public());
    }

    #[test]
    fn other_files_are_no_keys() {
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", vec![1, 2, 3]));
        let short = pem::encode(&pem::Pem::new(TAG, SPKI.to_vec()));
        for bad in ["", "ssh-ed25519 AAAA", certificate.as_str(), short.as_str()] {
            assert!(VerifyingKey::from_pem(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let private = SigningKey::generate();
        let shown = format!("{:?}", SigningKey::from_bytes(&*private).unwrap());
        assert!(!shown.contains(&HEXLOWER.encode(&*private)) && !shown.contains(&format!("{private:?}")), "{shown}");
    }
}
