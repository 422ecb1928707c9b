//! Asks a provider: pooled connections, no redirects, bounded in time and size.
//!
//! Each issuer has a client of its own, with a pool of its own: a connection that was opened under the rules of one
//! issuer must not serve another, for which the same host may be out of reach.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use openidconnect::url::Url;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::Reach;
use super::connect::{ConnectError, Connector, DEADLINE, Resolve, SystemResolver};
use super::proxies::Proxies;

/// The largest answer; real ones have a few kilobytes.
const LARGEST: usize = 1024 * 1024;
/// How long an unused connection is kept: less than the five seconds of Apache and Node, the shortest of the usual
/// servers. A code that is sent just as the server closes is lost with its sign-in.
const IDLE: Duration = Duration::from_secs(4);
/// How many unused connections to one host are kept.
const MOST_IDLE: usize = 8;

/// Why a provider gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Neither https nor http on loopback, or with a password in it.
    #[error("its address {0} is not https")]
    Url(String),
    /// It cannot be read as a URL at all.
    #[error("its address {url} is not a URL")]
    NotAUrl {
        /// What was to be asked.
        url: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The name leads only to addresses that must not be asked.
    #[error("{0} leads to an address that must not be asked in the name of this issuer")]
    Address(String),
    /// The name cannot be resolved, or nobody answers there.
    #[error("{host} cannot be reached")]
    Connect {
        /// Whom we tried to reach.
        host: String,
        /// The first of what the addresses gave.
        source: legacy::Error,
    },
    /// The proxy of the environment cannot be reached, or does not connect us.
    #[error("{host} cannot be reached through the proxy")]
    Proxy {
        /// Whom we tried to reach.
        host: String,
        /// What the proxy said.
        source: legacy::Error,
    },
    /// TLS did not come about.
    #[error("no secure connection to {host}")]
    Tls {
        /// Whom we tried to reach.
        host: String,
        /// What TLS said.
        source: legacy::Error,
    },
    /// The conversation broke off or was not HTTP.
    #[error("the conversation with {host} broke off")]
    Conversation {
        /// Who it was with.
        host: String,
        /// What HTTP said.
        source: Box<dyn Error + Send + Sync>,
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
            Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Conversation { .. }
            | Self::Slow(_) => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

pub(super) fn not_a_url(url: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> HttpError {
    HttpError::NotAUrl { url: url.into(), source: source.into() }
}

/// What the clients of all issuers have in common.
#[derive(Debug, Clone)]
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    resolver: Arc<dyn Resolve>,
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
        Self { tls: trusting(roots), proxies: Proxies::default(), resolver: Arc::new(SystemResolver) }
    }

    /// The same, through `proxies`.
    pub(super) fn through(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// A client that asks under the rules for `issuer`.
    pub(super) fn client_of(&self, issuer: &Url) -> HttpClient {
        let reach = Reach::of(issuer);
        let (proxies, resolver) = (self.proxies.clone(), Arc::clone(&self.resolver));
        let connector = Connector::new(reach.clone(), proxies, resolver, Arc::clone(&self.tls));
        // The tasks of the connections end with the pool, or with the runtime: no stop waits for them.
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(connector);
        HttpClient { reach, client }
    }
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for every version");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// Asks in the name of one issuer. Clones share the connections.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    reach: Reach,
    client: legacy::Client<Connector, Full<Bytes>>,
}

impl HttpClient {
    /// Whether `url` may be asked, as far as can be told before its name is resolved.
    pub(super) fn allows(&self, url: &Url) -> bool {
        self.reach.allows_url(url)
    }

    /// The body behind `url`, if the answer is a plain success.
    pub(super) async fn get(&self, url: &Url) -> Result<Vec<u8>, HttpError> {
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = url.as_str().parse().map_err(|cause| not_a_url(url.to_string(), cause))?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(HttpError::Status { host: host_of(url), status: answer.status().as_u16() });
        }
        Ok(answer.into_body())
    }

    /// Sends `request`. Redirects and faults of the server are errors; other answers are the caller's to read.
    pub(super) async fn send(&self, mut request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let url: Url =
            request.uri().to_string().parse().map_err(|cause| not_a_url(request.uri().to_string(), cause))?;
        if !self.allows(&url) {
            return Err(HttpError::Url(url.to_string()));
        }
        // What was looked at is what is asked: a URL has one form for each host, a URI has several.
        *request.uri_mut() = url.as_str().parse().map_err(|cause| not_a_url(url.to_string(), cause))?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("postern"));
        let exchange = async {
            let request = request.map(|body| Full::new(Bytes::from(body)));
            let answer = self.client.request(request).await.map_err(|cause| failed(host_of(&url), cause))?;
            read(answer, &url).await
        };
        tokio::time::timeout(DEADLINE, exchange).await.unwrap_or_else(|_| Err(HttpError::Slow(host_of(&url))))
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// No answer: because there was no connection, or because it broke.
fn failed(host: String, source: legacy::Error) -> HttpError {
    match source.source().and_then(|cause| cause.downcast_ref()) {
        Some(ConnectError::Refused) => HttpError::Address(host),
        Some(ConnectError::Unreachable(_)) => HttpError::Connect { host, source },
        Some(ConnectError::Proxy(_)) => HttpError::Proxy { host, source },
        Some(ConnectError::Tls(_)) => HttpError::Tls { host, source },
        None => HttpError::Conversation { host, source: source.into() },
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
    let body = Limited::new(body, LARGEST).collect().await.map_err(|source| {
        if source.is::<LengthLimitError>() {
            HttpError::TooLarge(host_of(url))
        } else {
            HttpError::Conversation { host: host_of(url), source }
        }
    })?;
    Ok(Response::from_parts(head, body.to_bytes().into()))
}

#[cfg(test)]
mod tests;
