//! Reading certificates: our own back from the database, and imported ones of any maker.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::PkiError;

/// What Postern wants to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 over the DER form: what OpenVPN reports as `tls_digest_sha256_0` (there with colons).
    pub fingerprint: [u8; 32],
    /// The serial number, lower-case hexadecimal without leading zero bytes.
    pub serial: String,
    /// Begin of the validity.
    pub not_before: Timestamp,
    /// End of the validity.
    pub not_after: Timestamp,
    /// The first common name of the subject, if there is one and it is text. Hostile in an imported certificate.
    pub common_name: Option<String>,
    /// Whether it may sign others (basic constraints, RFC 5280 4.2.1.9).
    pub is_ca: bool,
}

/// Reads the first certificate of a PEM text; text around it, as `openssl x509 -text` writes, is skipped.
///
/// # Errors
/// [`PkiError::InvalidCertificate`].
pub fn read_certificate(text: &str) -> Result<CertificateFacts, PkiError> {
    let der = certificate_der(text)?;
    let certificate = parse(&der)?;
    let serial = certificate.raw_serial();
    let significant = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len().saturating_sub(1));
    let common_name = certificate.subject().iter_common_name().next();
    Ok(CertificateFacts {
        fingerprint: Sha256::digest(&der).into(),
        serial: HEXLOWER.encode(serial.get(significant..).unwrap_or_default()),
        not_before: timestamp(certificate.validity().not_before)?,
        not_after: timestamp(certificate.validity().not_after)?,
        common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
        is_ca: certificate.is_ca(),
    })
}

/// The DER form of the first certificate in `text`.
pub(super) fn certificate_der(text: &str) -> Result<Vec<u8>, PkiError> {
    let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|error| invalid(&error))?;
    if pem.label != "CERTIFICATE" {
        return Err(invalid(&format_args!("it is a {:?}", pem.label)));
    }
    Ok(pem.contents)
}

/// Parses a certificate that fills `der`.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| invalid(&error))?;
    if rest.is_empty() { Ok(certificate) } else { Err(invalid(&"bytes after its end")) }
}

fn timestamp(time: ASN1Time) -> Result<Timestamp, PkiError> {
    Timestamp::from_second(time.timestamp()).map_err(|error| invalid(&error))
}

fn invalid(reason: &dyn std::fmt::Display) -> PkiError {
    PkiError::InvalidCertificate { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_certificates_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(read_certificate(&String::from_utf8_lossy(&bytes)).is_err());
        }
    }
}
