//! Asks a provider: one request, one connection, no redirects, bounded in time and size.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use openidconnect::url::{Host, Url};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use super::address::Reach;

/// From the name to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The largest answer; real ones have a few kilobytes.
const LARGEST: usize = 1024 * 1024;

/// Why a provider gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Neither https nor http on loopback, or with a password in it.
    #[error("its address {0} is not https")]
    Url(String),
    /// The name leads only to addresses that must not be asked.
    #[error("{0} leads to an address that must not be asked in the name of this issuer")]
    Address(String),
    /// The name cannot be resolved, or nobody answers there.
    #[error("{host} cannot be reached")]
    Connect {
        /// Whom we tried to reach.
        host: String,
        /// The last of what the addresses gave.
        source: io::Error,
    },
    /// TLS did not come about.
    #[error("no secure connection to {host}")]
    Tls {
        /// Whom we tried to reach.
        host: String,
        /// What TLS said.
        source: io::Error,
    },
    /// The conversation broke off or was not HTTP.
    #[error("the conversation with {host} broke off")]
    Conversation {
        /// Who it was with.
        host: String,
        /// What HTTP said.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("{0} did not answer within {seconds} seconds", seconds = DEADLINE.as_secs())]
    Slow(String),
    /// The answer was a redirect; providers' endpoints have none.
    #[error("{0} answered with a redirect")]
    Redirect(String),
    /// The answer was larger than a mebibyte.
    #[error("{0} answered with more than a mebibyte")]
    TooLarge(String),
    /// The answer was a fault of the server, or a request for fewer requests.
    #[error("{host} answered with status {status}")]
    Status {
        /// Who answered.
        host: String,
        /// Its status code.
        status: u16,
    },
    /// The answer is not the document that was asked for.
    #[error("{host} did not answer with {expected}")]
    Document {
        /// Who answered.
        host: String,
        /// What was asked for.
        expected: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The metadata are those of another issuer (`OpenID` Connect Discovery section 4.3).
    #[error("{0} has the metadata of another issuer")]
    OtherIssuer(String),
    /// The metadata name no token endpoint, which the code flow needs.
    #[error("{0} names no token endpoint")]
    NoTokenEndpoint(String),
}

impl HttpError {
    /// Whether it may pass by itself. What does not is for an admin to look at.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } | Self::Conversation { .. } | Self::Slow(_) => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// The client.
#[derive(Debug)]
pub(super) struct Http {
    tls: Result<Arc<ClientConfig>, String>,
}

impl Http {
    /// Trusts what the machine trusts, so that a company's own authority works; a machine without any root certificates
    /// (a bare container) gets the web's.
    pub(super) fn new() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Self {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|config| Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
            .map_err(|cause| cause.to_string());
        Self { tls }
    }

    /// The body behind `url`, if the answer is a plain success.
    pub(super) async fn get(&self, url: &Url, reach: &Reach) -> Result<Vec<u8>, HttpError> {
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = url.as_str().parse().map_err(|_| HttpError::Url(url.to_string()))?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.send(request, reach).await?;
        if answer.status() != StatusCode::OK {
            return Err(HttpError::Status { host: host_of(url), status: answer.status().as_u16() });
        }
        Ok(answer.into_body())
    }

    /// Sends `request`. Redirects and faults of the server are errors; other answers are the caller's to read.
    pub(super) async fn send(&self, request: Request<Vec<u8>>, reach: &Reach) -> Result<Response<Vec<u8>>, HttpError> {
        let url: Url = request.uri().to_string().parse().map_err(|_| HttpError::Url(request.uri().to_string()))?;
        tokio::time::timeout(DEADLINE, self.send_to(&url, request, reach))
            .await
            .unwrap_or_else(|_| Err(HttpError::Slow(host_of(&url))))
    }

    async fn send_to(
        &self,
        url: &Url,
        request: Request<Vec<u8>>,
        reach: &Reach,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        if !reach.allows_url(url) {
            return Err(HttpError::Url(url.to_string()));
        }
        let request = prepared(request, url)?;
        let stream = connect(url, reach).await?;
        if url.scheme() == "http" {
            return converse(stream, request, url).await;
        }
        let failed = |source| HttpError::Tls { host: host_of(url), source };
        let config = self.tls.as_ref().map_err(|cause| failed(io::Error::other(cause.clone())))?;
        let name = match url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
            Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
            _ => ServerName::try_from(host_of(url)).map_err(|cause| failed(io::Error::other(cause)))?,
        };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(failed)?;
        converse(stream, request, url).await
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// Made fit for a connection of its own: the path alone, `Host`, and no second request.
fn prepared(mut request: Request<Vec<u8>>, url: &Url) -> Result<Request<Full<Bytes>>, HttpError> {
    let unusable = || HttpError::Url(url.to_string());
    let host = match url.port() {
        Some(port) => format!("{}:{port}", host_of(url)),
        None => host_of(url),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| unusable())?;
    let headers = request.headers_mut();
    headers.insert(HOST, host.parse().map_err(|_| unusable())?);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(USER_AGENT, HeaderValue::from_static("postern"));
    Ok(request.map(|body| Full::new(Bytes::from(body))))
}

/// Connects to an address that was looked at, so that no second look-up can give another.
async fn connect(url: &Url, reach: &Reach) -> Result<TcpStream, HttpError> {
    let failed = |source| HttpError::Connect { host: host_of(url), source };
    let port = url.port_or_known_default().unwrap_or(443);
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        _ => tokio::net::lookup_host((host_of(url), port)).await.map_err(failed)?.collect(),
    };
    let allowed: Vec<_> = found.into_iter().filter(|address| reach.allows_address(url, address.ip())).collect();
    if allowed.is_empty() {
        return Err(HttpError::Address(host_of(url)));
    }
    let stream = TcpStream::connect(&*allowed).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    url: &Url,
) -> Result<Response<Vec<u8>>, HttpError> {
    let broken = |source| HttpError::Conversation { host: host_of(url), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        read(answer, url).await
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may be through before its last bytes are read; what went wrong with it, the exchange tells.
        _ = &mut connection => exchange.await,
    }
}

async fn read(answer: Response<Incoming>, url: &Url) -> Result<Response<Vec<u8>>, HttpError> {
    let status = answer.status();
    if status.is_redirection() {
        return Err(HttpError::Redirect(host_of(url)));
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(HttpError::Status { host: host_of(url), status: status.as_u16() });
    }
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(|cause| match cause.downcast::<hyper::Error>() {
        Ok(source) => HttpError::Conversation { host: host_of(url), source: *source },
        Err(other) => {
            debug_assert!(other.is::<LengthLimitError>(), "a limited body has no other error");
            HttpError::TooLarge(host_of(url))
        }
    })?;
    Ok(Response::from_parts(head, body.to_bytes().into()))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

    use super::*;

    /// A server with a certificate of its own for `name`.
    struct Server {
        acceptor: TlsAcceptor,
        certificate: CertificateDer<'static>,
        listener: TcpListener,
    }

    impl Server {
        async fn named(name: &str) -> Self {
            let rcgen::CertifiedKey { cert, signing_key } =
                rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key)
                .unwrap();
            Self {
                acceptor: TlsAcceptor::from(Arc::new(config)),
                certificate: cert.der().clone(),
                listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            }
        }

        /// Answers one request, if the client gets as far as that.
        async fn serve(&self) {
            let (stream, _) = self.listener.accept().await.unwrap();
            let Ok(mut stream) = self.acceptor.accept(stream).await else { return };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /keys?a=b HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            stream.shutdown().await.unwrap();
        }

        /// What a client gets that trusts `root`.
        async fn asked(&self, root: &CertificateDer<'static>) -> Result<Vec<u8>, HttpError> {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone()).unwrap();
            let url: Url =
                format!("https://localhost:{}/keys?a=b", self.listener.local_addr().unwrap().port()).parse().unwrap();
            let (client, reach) = (Http::trusting(roots), Reach::of(&url));
            tokio::join!(client.get(&url, &reach), self.serve()).0
        }
    }

    #[tokio::test]
    async fn a_certificate_that_is_trusted_and_names_the_host_is_taken() {
        let server = Server::named("localhost").await;
        assert_eq!(server.asked(&server.certificate).await.unwrap(), b"{}");
    }

    #[tokio::test]
    async fn a_certificate_of_others_or_for_others_is_refused() {
        let (server, other) = (Server::named("localhost").await, Server::named("sso.example.com").await);
        let answer = server.asked(&other.certificate).await;
        assert!(matches!(answer, Err(HttpError::Tls { .. })), "{answer:?}");
        let answer = other.asked(&other.certificate).await;
        assert!(matches!(answer, Err(HttpError::Tls { .. })), "{answer:?}");
    }
}
