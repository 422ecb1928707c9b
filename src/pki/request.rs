//! Keys of leaves, and requests to sign them.

use rcgen::{CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SubjectPublicKeyInfo};
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use super::PkiError;
use super::key::PrivateKey;
use domain::secret::Secret;

const REQUEST_LABEL: &str = "CERTIFICATE REQUEST";

/// A new private key, made where it will be used.
pub struct LeafKey(PrivateKey);

impl LeafKey {
    /// A new P-256 key.
    ///
    /// # Errors
    /// [`PkiError::Signing`] if the operating system gives no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        PrivateKey::generate().map(Self)
    }

    /// Reads back what [`pem`](Self::pem) wrote: a host asks again for a certificate with the key it has.
    ///
    /// # Errors
    /// [`PkiError::InvalidKey`].
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        PrivateKey::from_pem(text).map(Self)
    }

    /// The private key (PKCS #8, RFC 5958).
    pub fn pem(&self) -> Secret<String> {
        self.0.pem()
    }

    /// The public half.
    #[expect(clippy::missing_panics_doc, reason = "the expectation is an invariant")]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(
            SubjectPublicKeyInfo::from_der(&self.0.subject_public_key_info()).expect("a key pair has a public key"),
        )
    }

    /// A request (PKCS #10, RFC 2986) that proves possession of the key and asks for nothing: the subject is empty,
    /// because the signer decides on it.
    ///
    /// # Errors
    /// [`PkiError::Signing`].
    pub fn csr_pem(&self) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.pem()?)
    }
}

impl std::fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafKey(…)")
    }
}

/// A P-256 public key whose owner is known to hold the private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(super) SubjectPublicKeyInfo);

impl PublicKey {
    /// The key of a request (PKCS #10 in PEM form), once its signature proved that the requester holds the
    /// private half. Subject and extensions are not looked at.
    ///
    /// # Errors
    /// [`PkiError::InvalidRequest`].
    pub fn from_csr_pem(text: &str) -> Result<Self, PkiError> {
        let invalid = |reason| PkiError::InvalidRequest { reason };
        let (_, pem) = parse_x509_pem(text.as_bytes()).ok().ok_or(invalid("not PEM"))?;
        if pem.label != REQUEST_LABEL {
            return Err(invalid("PEM of something else"));
        }
        let (rest, request) = X509CertificationRequest::from_der(&pem.contents).ok().ok_or(invalid("not PKCS #10"))?;
        if !rest.is_empty() {
            return Err(invalid("bytes after its end"));
        }
        let spki = request.certification_request_info.subject_pki.raw;
        let key = SubjectPublicKeyInfo::from_der(spki).ok().ok_or(invalid("unknown kind of key"))?;
        if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(invalid("the key is not P-256"));
        }
        request.verify_signature().ok().ok_or(invalid("its signature does not prove possession of the key"))?;
        Ok(Self(key))
    }

    /// SHA-256 over the key's DER form (`SubjectPublicKeyInfo`, RFC 5280 4.1.2.7): names the key.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.subject_public_key_info()).into()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};

    use super::*;

    fn request() -> (LeafKey, String) {
        let key = LeafKey::generate().unwrap();
        let request = key.csr_pem().unwrap();
        (key, request)
    }

    /// A request in PEM form around arbitrary bytes.
    fn framed(der: &[u8]) -> String {
        format!("-----BEGIN {REQUEST_LABEL}-----\n{}\n-----END {REQUEST_LABEL}-----\n", STANDARD.encode(der))
    }

    fn der(request: &str) -> Vec<u8> {
        parse_x509_pem(request.as_bytes()).unwrap().1.contents
    }

    #[test]
    fn a_request_gives_the_key_that_made_it() {
        let (key, request) = request();
        assert_eq!(PublicKey::from_csr_pem(&request).unwrap(), key.public_key());
        assert_ne!(LeafKey::generate().unwrap().public_key().sha256(), key.public_key().sha256());
        assert_eq!(LeafKey::from_pem(key.pem().expose()).unwrap().public_key(), key.public_key());
    }

    #[test]
    fn a_request_for_somebody_elses_key_is_refused() {
        let (theirs, _) = request();
        let (_, request) = request();
        let spki = theirs.0.subject_public_key_info();
        let mut forged = der(&request);
        let ours = PublicKey::from_csr_pem(&request).unwrap();
        let ours_bytes = ours.0.der_bytes();
        let at = forged.windows(ours_bytes.len()).position(|window| window == ours_bytes).unwrap();
        forged[at..at + ours_bytes.len()].copy_from_slice(&spki[spki.len() - ours_bytes.len()..]);
        let error = PublicKey::from_csr_pem(&framed(&forged)).unwrap_err();
        assert!(error.to_string().contains("possession"), "{error}");
    }

    #[test]
    fn a_request_for_another_kind_of_key_is_refused() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
            let error = PublicKey::from_csr_pem(&request).unwrap_err();
            assert!(error.to_string().contains("not P-256"), "{error}");
            assert!(matches!(LeafKey::from_pem(&key.serialize_pem()), Err(PkiError::InvalidKey)));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let (key, request) = request();
        let mut longer = der(&request);
        longer.push(0);
        for text in ["", "request", key.pem().expose(), &request[..request.len() / 2], &framed(&longer)] {
            assert!(matches!(PublicKey::from_csr_pem(text), Err(PkiError::InvalidRequest { .. })));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", LeafKey::generate().unwrap()), "LeafKey(…)");
    }

    proptest! {
        #[test]
        fn hostile_requests_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(PublicKey::from_csr_pem(&framed(&bytes)).is_err());
            prop_assert!(PublicKey::from_csr_pem(&String::from_utf8_lossy(&bytes)).is_err());
        }

        #[test]
        fn a_changed_request_is_refused_or_has_the_same_key(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let (key, request) = request();
            let mut changed = der(&request);
            let at = at.index(changed.len());
            changed[at] ^= with;
            if let Ok(read) = PublicKey::from_csr_pem(&framed(&changed)) {
                prop_assert_eq!(read, key.public_key());
            }
        }
    }
}
