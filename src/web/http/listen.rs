//! Sockets: accepting connections, TLS, and how connections end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::http::patience::{Places, Timed};

/// A request's headers take no more bytes than this.
const HEADER_BYTES: usize = 16 * 1024;

/// A client that has not sent its headers (or its part of the TLS handshake) by then is hung up on.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// How long requests that are being answered may go on after the stop.
const GRACE: Duration = Duration::from_secs(2);

/// How many connections one listener holds; others wait in the kernel.
const CONNECTIONS: usize = 2048;

/// Pause after a failed accept, which mostly means that file descriptors ran out.
const BREATH: Duration = Duration::from_millis(100);

/// The files of a listener with TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and its chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

impl TlsFiles {
    /// Whether a listener could use them.
    ///
    /// # Errors
    /// [`WebError::Tls`] names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), WebError> {
        tls(self).map(drop)
    }
}

/// Why the listeners did not start; each is for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address is taken, or not one of this machine.
    #[error("the {name} listener cannot listen on {address}")]
    Bind {
        /// Which listener.
        name: &'static str,
        /// Where it was to listen.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A TLS file cannot be read or does not hold what it should.
    #[error("the TLS file {path} cannot be used")]
    Tls {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A `url` is none.
    #[error("{name}.url must be an http or https URL, not {url:?}")]
    Url {
        /// Of which listener.
        name: &'static str,
        /// What stands there.
        url: String,
    },
}

/// Binds the socket of a listener.
pub(crate) async fn bind(name: &'static str, address: SocketAddr) -> Result<TcpListener, WebError> {
    TcpListener::bind(address).await.map_err(|source| WebError::Bind { name, address, source })
}

/// Reads certificate and key: TLS 1.2 and 1.3, HTTP/1.1.
pub(crate) fn tls(files: &TlsFiles) -> Result<TlsAcceptor, WebError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| WebError::Tls { path: path.to_owned(), source: Box::new(error) })
    };
    let wrong = |path: &Path, error: Box<dyn std::error::Error + Send + Sync>| WebError::Tls {
        path: path.to_owned(),
        source: error,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&files.certificate_file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&files.certificate_file, Box::new(error)))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key_file)?)
        .map_err(|error| wrong(&files.key_file, Box::new(error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(&files.certificate_file, Box::new(error)))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When the certificate that a listener shows ends; `None` for one that cannot be read.
pub(crate) fn certificate_end(files: &TlsFiles) -> Option<Timestamp> {
    let shown = CertificateDer::pem_file_iter(&files.certificate_file).ok()?.next()?.ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&shown).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// Answers connections until `stop`, so many of each peer as `places` has; then lets the requests at hand finish for a moment.
pub(crate) fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    places: Places,
    tracker: &TaskTracker,
    stop: CancellationToken,
) {
    let tasks = tracker.clone();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    tracker.spawn(async move {
        loop {
            let (connection, place) = tokio::select! {
                () = stop.cancelled() => return,
                both = async { (listener.accept().await, Arc::clone(&free).acquire_owned().await) } => both,
            };
            let (stream, peer) = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(event = "http.accept_failed", %error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let Some(of_peer) = places.take(peer.ip()) else {
                tracing::warn!(event = "http.crowded", peer = %peer.ip(),
                    "a connection was closed: its network has as many as it may; if it is a proxy, name it in proxy.trusted");
                continue;
            };
            let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
            tasks.spawn(async move {
                let _places = (place, of_peer);
                connect(stream, peer, tls, router, &stop).await;
            });
        }
    });
}

async fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: &CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, peer, router, stop).await };
    tokio::select! {
        () = stop.cancelled() => {}
        secured = tokio::time::timeout(HEADER_TIME, tls.accept(stream)) => match secured {
            Ok(Ok(secured)) => answer(secured, peer, router, stop).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_elapsed) => tracing::debug!(%peer, "a TLS handshake took too long"),
        },
    }
}

async fn answer<S>(stream: S, peer: SocketAddr, router: Router, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.oneshot(request).await.map_err(|never: Infallible| match never {})
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_header_size(HEADER_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(Timed::new(stream)), service));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}
