//! The way to the cluster's admin listener: one request, one connection.
//!
//! Nothing is sent before the other side has shown that it is the cluster: by the very certificate that the token
//! names, or, where the token names none, by one that this machine has reason to believe.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::{TlsConnector, rustls};
use url::{Host, Url};

use crate::keys::join::CertificatePin;

/// From the name to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest answer.
const LARGEST: usize = 1024 * 1024;

/// What is kept of a refusal (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// A good answer.
pub(super) struct Answer<T> {
    /// What it says.
    pub(super) body: T,
    /// The clock of whoever answered.
    pub(super) date: Option<Timestamp>,
}

/// The cluster said no.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// The cluster's admin listener.
pub(super) struct Wire {
    url: Url,
    tls: Arc<ClientConfig>,
}

impl Wire {
    /// The listener at `url`, which shows the certificate `pin`, if that is said.
    pub(super) fn to(url: Url, pin: Option<CertificatePin>) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let config = match pin {
            Some(pin) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
                .with_no_client_auth(),
            None => builder.with_root_certificates(roots()).with_no_client_auth(),
        };
        Ok(Self { url, tls: Arc::new(config) })
    }

    /// Sends JSON and reads JSON.
    ///
    /// # Errors
    /// [`Refused`] with the cluster's own words, or what went wrong on the way.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<Answer<T>> {
        match tokio::time::timeout(DEADLINE, self.exchange(path, body)).await {
            Ok(answer) => answer.with_context(|| format!("{} did not let this machine in", self.url)),
            Err(_elapsed) => bail!("{} did not answer within {} seconds", self.url, DEADLINE.as_secs()),
        }
    }

    async fn exchange<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<Answer<T>> {
        let host = self.url.host_str().context("the address has no host")?;
        let port = self.url.port_or_known_default().context("the address has no port")?;
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((plain, port)).await.context("it cannot be reached")?;
        let request = Request::post(format!("/api/v1{path}"))
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("postern/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body.to_string())))?;
        if self.url.scheme() == "http" {
            return converse(stream, request).await;
        }
        let name = match self.url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
            Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
            _ => ServerName::try_from(plain.to_owned())?,
        };
        let connected = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        converse(connected.context("it did not show that it is the cluster; nothing was sent")?, request).await
    }
}

/// What this machine believes; the web's roots where it has none.
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

async fn converse<T: DeserializeOwned>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Answer<T>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let answer = sender.send_request(request).await.context("the conversation broke off")?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|cause| anyhow::anyhow!("the answer broke off: {cause}"))?.to_bytes();
        if !head.status.is_success() {
            let told = serde_json::from_slice::<Problem>(&body).ok().map(|problem| problem.detail);
            ensure!(told.is_some(), "it answered with status {} and is no Postern admin listener", head.status);
            return Err(Refused(told.unwrap_or_default()).into());
        }
        let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok()).and_then(read_date);
        let body = serde_json::from_slice(&body).context("its answer is not what a Postern of this release says")?;
        Ok(Answer { body, date })
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may be through before its last bytes are read; what went wrong with it, the exchange tells.
        _ = &mut connection => exchange.await,
    }
}

/// The one form of dates that HTTP programs send (RFC 9110, section 5.6.7).
fn read_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

/// Believes one certificate, whatever it says of itself.
#[derive(Debug)]
struct Pinned {
    pin: CertificatePin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = CertificatePin(Sha256::digest(shown).into());
        if shown == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!(
            "the certificate shown has the fingerprint {shown}, the token was made for {}: somebody may be in between, or \
             the certificate was changed since; compare with an administrator, and make a new token",
            self.pin
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        let date = read_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.as_second(), 784_111_777);
        assert_eq!(read_date("soon"), None);
    }
}
