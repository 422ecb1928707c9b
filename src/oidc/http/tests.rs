use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::LOCATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::*;

const ISSUER: &str = "https://sso.example.com";
const KEYS: &str = "https://sso.example.com/keys?a=b";

/// A certificate for `name` that nobody else vouches for.
fn certified(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (cert.der().clone(), TlsAcceptor::from(Arc::new(config)))
}

/// A provider's server, on loopback.
struct Server {
    certificate: CertificateDer<'static>,
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn named(name: &str) -> Self {
        let (certificate, acceptor) = certified(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, mut tasks) = (Arc::clone(&connections), JoinSet::new());
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let acceptor = acceptor.clone();
                clients.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request)));
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { certificate, address, connections, _tasks: tasks }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match request.uri().path() {
        "/large" => vec![b' '; LARGEST + 1].into(),
        _ => Bytes::from_static(b"{}"),
    };
    let mut answer = Response::new(Full::new(body));
    match request.uri().path() {
        "/keys" => assert_eq!(request.uri(), "/keys?a=b"),
        "/moved" => {
            *answer.status_mut() = StatusCode::FOUND;
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static(KEYS));
        }
        _ => {}
    }
    answer
}

/// What the tests' names lead to; others cannot be resolved.
#[derive(Debug, Default)]
struct Names(Vec<(&'static str, Vec<SocketAddr>)>);

impl Resolve for Names {
    fn resolve(&self, host: String, _port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        let found = self.0.iter().find(|(name, _)| *name == host).map(|(_, addresses)| addresses.clone());
        Box::pin(async { found.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

fn http(roots: &[&CertificateDer<'static>], names: Vec<(&'static str, Vec<SocketAddr>)>) -> Http {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add((*root).clone()).unwrap();
    }
    Http { tls: trusting(store), proxies: Proxies::default(), resolver: Arc::new(Names(names)) }
}

async fn ask(client: &HttpClient, url: &str) -> Result<Vec<u8>, HttpError> {
    client.get(&url.parse().unwrap()).await
}

fn client_of(http: &Http, issuer: &str) -> HttpClient {
    http.client_of(&issuer.parse().unwrap())
}

#[tokio::test]
async fn a_certificate_that_is_trusted_and_names_the_host_is_taken() {
    let server = Server::named("sso.example.com").await;
    let http = http(&[&server.certificate], vec![("sso.example.com", vec![server.address])]);
    assert_eq!(ask(&client_of(&http, ISSUER), KEYS).await.unwrap(), b"{}");
}

#[tokio::test]
async fn a_certificate_of_others_or_for_others_is_refused() {
    let (server, other) = (Server::named("sso.example.com").await, Server::named("other.example.com").await);
    for (trusted, asked) in [(&other, &server), (&other, &other)] {
        let http = http(&[&trusted.certificate], vec![("sso.example.com", vec![asked.address])]);
        let answer = ask(&client_of(&http, ISSUER), KEYS).await;
        assert!(matches!(answer, Err(HttpError::Tls { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn two_questions_take_one_connection() {
    let server = Server::named("sso.example.com").await;
    let http = http(&[&server.certificate], vec![("sso.example.com", vec![server.address])]);
    let client = client_of(&http, ISSUER);
    ask(&client, KEYS).await.unwrap();
    ask(&client, KEYS).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_is_neither_a_redirect_nor_too_large() {
    let server = Server::named("sso.example.com").await;
    let http = http(&[&server.certificate], vec![("sso.example.com", vec![server.address])]);
    let client = client_of(&http, ISSUER);
    let moved = ask(&client, "https://sso.example.com/moved").await;
    assert!(matches!(moved, Err(HttpError::Redirect(_))), "{moved:?}");
    let large = ask(&client, "https://sso.example.com/large").await;
    assert!(matches!(large, Err(HttpError::TooLarge(_))), "{large:?}");
}

#[tokio::test]
async fn a_host_is_reached_whose_first_address_is_silent() {
    let server = Server::named("sso.example.com").await;
    // A queue of connections that is full: what newcomers send is dropped.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = socket.listen(0).unwrap();
    let _first = TcpStream::connect(silent.local_addr().unwrap()).await.unwrap();

    let addresses = vec![silent.local_addr().unwrap(), server.address];
    let http = http(&[&server.certificate], vec![("sso.example.com", addresses)]);
    assert_eq!(ask(&client_of(&http, ISSUER), KEYS).await.unwrap(), b"{}");
}

#[tokio::test]
async fn a_host_is_reached_whose_first_address_refuses() {
    let server = Server::named("sso.example.com").await;
    // Bound, but nobody listens.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();

    let http = http(
        &[&server.certificate],
        vec![("sso.example.com", vec![address, server.address]), ("away.example.com", vec![address])],
    );
    assert_eq!(ask(&client_of(&http, ISSUER), KEYS).await.unwrap(), b"{}");
    let away = ask(&client_of(&http, "https://away.example.com"), "https://away.example.com/keys?a=b").await;
    assert!(matches!(away, Err(HttpError::Connect { .. })), "{away:?}");
}

#[tokio::test]
async fn an_address_that_is_refused_is_left_out_of_several() {
    let server = Server::named("sso.example.com").await;
    // The unspecified addresses lead to this machine, and are never to be asked.
    let everywhere = ["[::]:0", "0.0.0.0:0"].map(|address| address.parse::<SocketAddr>().unwrap());
    let trap = TcpListener::bind(&everywhere[..]).await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let refused = ["::", "0.0.0.0"].map(|address| SocketAddr::new(address.parse().unwrap(), port));

    let addresses = vec![refused[0], refused[1], server.address];
    let http = http(&[&server.certificate], vec![("sso.example.com", addresses)]);
    assert_eq!(ask(&client_of(&http, ISSUER), KEYS).await.unwrap(), b"{}");
    let ours = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_, first) = trap.accept().await.unwrap();
    assert_eq!(first.port(), ours.local_addr().unwrap().port(), "somebody came before us");
}

#[tokio::test]
async fn a_host_without_an_allowed_address_is_not_connected_to() {
    let server = Server::named("api.example.org").await;
    let http = http(&[&server.certificate], vec![("api.example.org", vec![server.address])]);
    let client = client_of(&http, ISSUER);
    let port = server.address.port();
    for url in ["https://api.example.org/keys", &format!("https://127.0.0.1:{port}"), "https://[::ffff:10.0.0.1]/"] {
        let answer = ask(&client, url).await;
        assert!(matches!(answer, Err(HttpError::Address(_))), "{url}: {answer:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_connection_of_one_issuer_does_not_serve_another() {
    let server = Server::named("sso.example.com").await;
    let http = http(&[&server.certificate], vec![("sso.example.com", vec![server.address])]);
    let own = client_of(&http, ISSUER);
    ask(&own, KEYS).await.unwrap();
    let answer = ask(&client_of(&http, "https://other.example.com"), KEYS).await;
    assert!(matches!(answer, Err(HttpError::Address(_))), "{answer:?}");
}

/// A proxy that speaks CONNECT and SOCKS5, and leads every host to one address, but `refused.example.com`.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn to(server: &Server, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, to, mut tasks) = (Arc::clone(&asked), server.address, JoinSet::new());
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, acceptor) = (Arc::clone(&log), acceptor.clone());
                clients.spawn(async move {
                    match acceptor {
                        Some(acceptor) => lead(acceptor.accept(stream).await.unwrap(), to, &log).await,
                        None => lead(stream, to, &log).await,
                    }
                });
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn lead(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr, log: &Mutex<Vec<String>>) {
    let mut head = vec![stream.read_u8().await.unwrap()];
    if head == [5] {
        // RFC 1928: version, methods; version, command, reserved, a name, its port.
        let methods = stream.read_u8().await.unwrap();
        stream.read_exact(&mut vec![0; methods.into()]).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..4], [5, 1, 0, 3]);
        let mut name = vec![0; request[4].into()];
        stream.read_exact(&mut name).await.unwrap();
        let port = stream.read_u16().await.unwrap();
        log.lock().unwrap().push(format!("SOCKS {}:{port}", String::from_utf8(name).unwrap()));
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    } else {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let refused = head.contains("refused.example.com");
        log.lock().unwrap().push(head);
        if refused {
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    }
    let mut onward = TcpStream::connect(to).await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
}

/// The proxies of this environment.
fn proxies(environment: &[(&str, &str)]) -> Proxies {
    Proxies::from_environment(|name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)).unwrap()
}

#[tokio::test]
async fn a_proxy_connects_to_hosts_whose_names_are_not_known_here() {
    let server = Server::named("sso.example.com").await;
    let proxy = Proxy::to(&server, None).await;
    let address = format!("http://us:s3cret@{}", proxy.address);
    let http = http(&[&server.certificate], Vec::new()).through(proxies(&[("HTTPS_PROXY", &address)]));
    let client = client_of(&http, ISSUER);
    ask(&client, KEYS).await.unwrap();
    ask(&client, KEYS).await.unwrap();
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1, "one tunnel serves both: {asked:?}");
    assert!(asked[0].starts_with("CONNECT sso.example.com:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("Proxy-Authorization: Basic dXM6czNjcmV0\r\n"), "{asked:?}");
}

#[tokio::test]
async fn no_proxy_and_this_machine_are_asked_directly() {
    let server = Server::named("sso.example.com").await;
    let proxy = Proxy::to(&server, None).await;
    let address = format!("http://{}", proxy.address);
    let http = http(&[&server.certificate], vec![("sso.example.com", vec![server.address])])
        .through(proxies(&[("ALL_PROXY", &address), ("no_proxy", ".example.com")]));
    ask(&client_of(&http, ISSUER), KEYS).await.unwrap();
    let here = format!("https://{}", server.address);
    let answer = ask(&client_of(&http, &here), &here).await;
    assert!(matches!(answer, Err(HttpError::Tls { .. })), "its certificate names no address: {answer:?}");
    assert_eq!(server.connections(), 2);
    assert_eq!(proxy.asked(), [""; 0]);
}

#[tokio::test]
async fn proxies_with_tls_and_with_socks_serve_as_well() {
    let server = Server::named("sso.example.com").await;
    let (certificate, acceptor) = certified("proxy.example.com");
    let (secured, plain) = (Proxy::to(&server, Some(acceptor)).await, Proxy::to(&server, None).await);
    for (address, proxy, asked) in [
        ("https://proxy.example.com", &secured, "CONNECT sso.example.com:443"),
        ("socks5://socks.example.com", &plain, "SOCKS sso.example.com:443"),
    ] {
        let names = vec![("proxy.example.com", vec![secured.address]), ("socks.example.com", vec![plain.address])];
        let http = http(&[&server.certificate, &certificate], names).through(proxies(&[("ALL_PROXY", address)]));
        assert_eq!(ask(&client_of(&http, ISSUER), KEYS).await.unwrap(), b"{}", "{address}");
        assert!(proxy.asked()[0].starts_with(asked), "{:?}", proxy.asked());
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_told_from_a_host_that_is_away() {
    let server = Server::named("sso.example.com").await;
    let proxy = Proxy::to(&server, None).await;
    let address = format!("http://{}", proxy.address);
    let http = http(&[&server.certificate], Vec::new()).through(proxies(&[("ALL_PROXY", &address)]));
    let issuer = "https://refused.example.com";
    let answer = ask(&client_of(&http, issuer), issuer).await;
    assert!(matches!(&answer, Err(fault @ HttpError::Proxy { .. }) if fault.may_pass()), "{answer:?}");
}

#[tokio::test]
async fn a_proxy_is_not_told_of_hosts_that_a_document_may_not_name() {
    let server = Server::named("sso.example.com").await;
    let proxy = Proxy::to(&server, None).await;
    let address = format!("http://{}", proxy.address);
    let http = http(&[&server.certificate], Vec::new()).through(proxies(&[("ALL_PROXY", &address)]));
    let client = client_of(&http, ISSUER);
    for url in ["https://vault.internal/", "https://intranet/", "https://10.0.0.1/", "https://169.254.169.254/"] {
        let answer = ask(&client, url).await;
        assert!(matches!(answer, Err(HttpError::Address(_))), "{url}: {answer:?}");
    }
    let plain = ask(&client, "http://sso.example.com/keys").await;
    assert!(matches!(plain, Err(HttpError::Url(_))), "{plain:?}");
    assert_eq!(proxy.asked(), [""; 0]);
}
