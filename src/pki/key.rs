//! A P-256 private key, of a root or of a leaf, in the form that the X.509 library takes.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroize as _;

use super::PkiError;
use domain::secret::Secret;

/// The key pair; its bytes are overwritten on drop.
pub(super) struct PrivateKey(KeyPair);

impl PrivateKey {
    pub(super) fn generate() -> Result<Self, PkiError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads PKCS #8 in PEM form.
    pub(super) fn from_pem(text: &str) -> Result<Self, PkiError> {
        KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ECDSA_P256_SHA256).map(Self).ok().ok_or(PkiError::InvalidKey)
    }

    /// PKCS #8 (RFC 5958) in PEM form.
    pub(super) fn pem(&self) -> Secret<String> {
        Secret::new(self.0.serialize_pem())
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}
