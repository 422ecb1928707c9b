//! Opens connections in the name of one issuer.
//!
//! [`Connector`] is what the HTTP client is given, so each of its connections comes from here, and none comes about
//! without the rules of [`Reach`]: names are resolved, what the rules refuse is left out, and one of the addresses that
//! remain is connected to. A later answer of the DNS cannot matter, because nobody asks again.
//!
//! The race between addresses is ours, since hyper-util's connector races the two families only: of several addresses in
//! one family, a silent one would use up the time of all that come after it.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use openidconnect::url::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tower::{Service, ServiceExt as _};

use super::address::Reach;
use super::proxies::Proxies;

/// From the name to the last byte of the answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long an attempt is alone before the next address is tried as well (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// IANA's port of SOCKS.
const SOCKS_PORT: u16 = 1080;

type Tcp = TokioIo<TcpStream>;
/// To the host, or to a proxy, which may itself be spoken to by TLS.
type Path = MaybeHttpsStream<Tcp>;
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Finds the addresses of a host.
pub(super) trait Resolve: fmt::Debug + Send + Sync {
    /// In the order in which they are to be preferred (RFC 6724).
    fn resolve(&self, host: String, port: u16) -> Pending<io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the machine.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> Pending<io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The rules leave no address.
    #[error("no address of it may be asked")]
    Refused,
    /// The name cannot be resolved, or nobody answers at any address.
    #[error(transparent)]
    Unreachable(#[from] io::Error),
    /// The proxy cannot be reached, or does not connect us.
    #[error(transparent)]
    Proxy(Box<dyn Error + Send + Sync>),
    /// The host did not prove who it is.
    #[error(transparent)]
    Tls(Box<dyn Error + Send + Sync>),
}

/// Opens connections to hosts, ready for HTTP.
#[derive(Debug, Clone)]
pub(super) struct Connector(HttpsConnector<Route>);

impl Connector {
    /// Opens what `reach` allows.
    pub(super) fn new(reach: Reach, proxies: Proxies, resolver: Arc<dyn Resolve>, tls: Arc<ClientConfig>) -> Self {
        let dial = Dial { resolver };
        let to_proxy = HttpsConnector::from((dial.clone(), Arc::clone(&tls)));
        Self((Route { reach, proxies, dial, to_proxy }, tls).into())
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Path>;
    type Error = ConnectError;
    type Future = Pending<Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    /// The deadline stands here too, because the pool finishes what a request that ended otherwise has begun.
    fn call(&mut self, to: Uri) -> Self::Future {
        let connection = self.0.call(to);
        Box::pin(async move {
            let connection = timeout(DEADLINE, connection).await.map_err(io::Error::from)?;
            connection.map_err(|cause| match cause.downcast() {
                Ok(ours) => *ours,
                Err(tls) => ConnectError::Tls(tls),
            })
        })
    }
}

/// Finds the way to a host: direct, or through a proxy.
#[derive(Debug, Clone)]
struct Route {
    reach: Reach,
    proxies: Proxies,
    dial: Dial,
    to_proxy: HttpsConnector<Dial>,
}

impl Service<Uri> for Route {
    type Response = Path;
    type Error = ConnectError;
    type Future = Pending<Result<Path, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let route = self.clone();
        Box::pin(async move { route.open(to).await })
    }
}

impl Route {
    async fn open(self, to: Uri) -> Result<Path, ConnectError> {
        let url: Url = to.to_string().parse().map_err(io::Error::other)?;
        if let Some(proxy) = self.proxies.towards(&url, &to) {
            if !self.reach.allows_by_proxy(&url) {
                return Err(ConnectError::Refused);
            }
            return self.through(&proxy, to).await.map_err(ConnectError::Proxy);
        }
        let mut addresses = self.dial.addresses(&to).await?;
        addresses.retain(|address| self.reach.allows_address(&url, address.ip()));
        if addresses.is_empty() {
            return Err(ConnectError::Refused);
        }
        Ok(MaybeHttpsStream::Http(TokioIo::new(race(addresses).await?)))
    }

    /// The proxy is named by whoever runs this machine, so it may stand anywhere.
    async fn through(self, proxy: &Intercept, to: Uri) -> Result<Path, Box<dyn Error + Send + Sync>> {
        let place = proxy.uri().clone();
        if matches!(place.scheme_str(), Some("socks5" | "socks5h")) {
            let mut socks = SocksV5::new(place, self.dial);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            return Ok(MaybeHttpsStream::Http(socks.oneshot(to).await?));
        }
        let mut tunnel = Tunnel::new(place, self.to_proxy);
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        Ok(tunnel.oneshot(to).await?)
    }
}

/// Connects to whatever a name leads to: proxies are dialled like this, hosts only by [`Route`].
#[derive(Debug, Clone)]
struct Dial {
    resolver: Arc<dyn Resolve>,
}

impl Service<Uri> for Dial {
    type Response = Tcp;
    type Error = io::Error;
    type Future = Pending<io::Result<Tcp>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { Ok(TokioIo::new(race(dial.addresses(&to).await?).await?)) })
    }
}

impl Dial {
    async fn addresses(&self, to: &Uri) -> io::Result<Vec<SocketAddr>> {
        let host = to.host().unwrap_or_default();
        let default = match to.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => SOCKS_PORT,
        };
        let port = to.port_u16().unwrap_or(default);
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        match literal {
            Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
            Err(_) => self.resolver.resolve(host.to_owned(), port).await,
        }
    }
}

/// Connects to the one of `addresses` that answers first (RFC 8305 section 5). Each attempt is alone for
/// [`ATTEMPT_DELAY`], or until it fails; then the next one begins as well.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = interleaved(&addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        let ended = if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(address));
            timeout(ATTEMPT_DELAY, attempts.next()).await.unwrap_or_default()
        } else {
            let Some(ended) = attempts.next().await else { break };
            Some(ended)
        };
        match ended {
            Some(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Some(Err(cause)) => drop(failure.get_or_insert(cause)),
            None => {}
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// The two families by turns, beginning with that of the first address (RFC 8305 section 4).
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == begins_with_v6);
    let turns = preferred.len().max(others.len());
    (0..turns).flat_map(|turn| [preferred.get(turn), others.get(turn)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_and_the_preferred_one_begins() {
        let addresses = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(
            interleaved(&addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"])),
            addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]),
        );
        assert_eq!(interleaved(&addresses(&["1.0.0.1:1", "[::1]:1"])), addresses(&["1.0.0.1:1", "[::1]:1"]));
        assert_eq!(interleaved(&[]), []);
    }

    #[tokio::test]
    async fn a_race_that_nobody_wins_ends_with_the_first_failure() {
        // Bound, but nobody listens.
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = closed.local_addr().unwrap();
        let failure = race(vec![address, address]).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(race(Vec::new()).await.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
