//! Whether a fresh machine believes the certificate that a listener shows, or has to be told which one it is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::crypto::ring;

use crate::TlsFiles;
use services::hosts::joining::CertificatePin;

/// The SHA-256 of the certificate in `files`, unless it leads to a root of the web and is for `host`.
pub(crate) fn pin(files: &TlsFiles, host: &str, now: Timestamp) -> Option<CertificatePin> {
    let text = std::fs::read(&files.certificate_file).ok()?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().ok()?;
    let (shown, between) = chain.split_first()?;
    if is_believed(shown, between, host, now) {
        return None;
    }
    Some(CertificatePin(Sha256::digest(shown).into()))
}

/// By the roots of the web only: what this machine was told to believe, the next one was not.
fn is_believed(shown: &CertificateDer<'_>, between: &[CertificateDer<'_>], host: &str, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
        return false;
    };
    let Ok(name) = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']')) else { return false };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)));
    verifier.verify_server_cert(shown, between, &name, &[], now).is_ok()
}
