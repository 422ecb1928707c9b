//! What surrounds every request of every listener: its id, the checks of its host and path, the bounds, the log line,
//! the headers of every answer.
//!
//! One function rather than a stack of layers, because the order matters and should be readable: whatever goes wrong
//! further in, a panic included, comes out as a problem document with the request's id, the security headers and one
//! line in the log.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use tracing::Instrument as _;

use crate::admin::context::Inside;
use crate::admin::trouble::page as console_trouble;
use crate::api::download::accepts;
use crate::api::extract::BODY_TIME;
use crate::auth::trouble;
use crate::http::client::{ClientAddress, client_address};
use crate::http::problem::{Code, Problem, chain};
use crate::http::trace::TraceId;
use crate::ui::site::Site;
use domain::ids::RequestId;
use metrics::catalogue::{HTTP_REQUESTS, HTTP_SECONDS};
use services::evidence::refusals::Refusal;
use services::{Act, Services};

/// An answer takes no longer than this.
const DEADLINE: Duration = Duration::from_secs(10);

/// No handler takes a body of more bytes.
const LARGEST_BODY: usize = 1 << 20;

/// So many requests are answered at the same time by one listener.
const IN_FLIGHT: usize = 256;

/// The methods that are counted by name.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Under this is the API, which answers in JSON whoever asks.
const API: &str = "/api/";

/// The header that carries the id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What one listener's frame knows.
pub(crate) struct Frame {
    services: Services,
    trusted_proxies: Arc<[IpNet]>,
    hosts: Option<Hosts>,
    https: bool,
    site: Option<Arc<Site>>,
    in_flight: Semaphore,
}

/// The names under which a listener answers.
pub(crate) struct Hosts {
    name: String,
    listen: IpAddr,
}

impl Hosts {
    /// Those of a listener with a configured URL.
    pub(crate) fn new(url: &Uri, listen: SocketAddr) -> Option<Self> {
        Some(Self { name: url.host()?.to_ascii_lowercase(), listen: listen.ip() })
    }

    fn contain(&self, authority: &Authority) -> bool {
        let host = authority.host().to_ascii_lowercase();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == self.name
            || host == "localhost"
            || literal.is_ok_and(|address| address.is_loopback() || address == self.listen)
    }
}

impl Frame {
    /// A frame for one listener; without `hosts` any `Host` is taken. `https` says that browsers reach it by TLS. With
    /// a `site` it has pages, and problems are pages too for whoever reads HTML.
    pub(crate) fn new(
        services: Services,
        trusted_proxies: Arc<[IpNet]>,
        hosts: Option<Hosts>,
        https: bool,
        site: Option<Arc<Site>>,
    ) -> Self {
        Self { services, trusted_proxies, hosts, https, site, in_flight: Semaphore::new(IN_FLIGHT) }
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        if let Err(problem) = self.check_host(&request).and_then(|()| check_path(request.uri())) {
            return problem.into_response();
        }
        // Whoever sends slowly keeps nobody else waiting.
        let request = match held(request).await {
            Ok(request) => request,
            Err(problem) => return problem.into_response(),
        };
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Problem::new(Code::Busy, "too many requests are being answered; try again in a moment")
                .into_response();
        };
        match tokio::time::timeout(DEADLINE, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                Problem::new(Code::Internal, "something is wrong inside Postern; its log says what").into_response()
            }
            Err(_elapsed) => {
                let detail = "the answer took too long; a change may or may not have happened";
                Problem::new(Code::Deadline, detail).into_response()
            }
        }
    }

    fn count(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let surface = self.site.as_ref().map_or("ops", |site| site.surface().as_str());
        // Whoever asks may invent a method.
        let method = METHODS.iter().find(|known| *known == method).map_or("other", Method::as_str);
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.services.metrics().count(&HTTP_REQUESTS, [surface, route, method, class]);
        self.services.metrics().observe(&HTTP_SECONDS, [surface, route], took.as_secs_f64());
    }

    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let mut named = request.headers().get_all(header::HOST).iter();
        let authority = match (named.next(), named.next()) {
            (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
            _ => None,
        };
        // An absolute request target overrides the header (RFC 9112, section 3.2.2), so it is held to the same.
        let target = request.uri().authority();
        let known = authority.is_some_and(|authority| hosts.contain(&authority));
        if known && target.is_none_or(|target| hosts.contain(target)) {
            return Ok(());
        }
        Err(Problem::new(Code::Misdirected, "this listener does not answer for the host that was asked for"))
    }
}

/// The request with its body in memory, as far as a handler may take it; one that breaks off does so for the handler. What
/// is held of slow senders is no more than what arrives in the time that a body has.
async fn held(request: Request) -> Result<Request, Problem> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let (mut body, mut read, mut size) = (body.into_data_stream(), Vec::new(), 0);
    let reading = async {
        while size <= LARGEST_BODY
            && let Some(part) = body.next().await
        {
            size += part.as_ref().map_or(0, Bytes::len);
            read.push(part);
        }
    };
    if tokio::time::timeout(BODY_TIME, reading).await.is_err() {
        return Err(Problem::new(Code::TooSlow, "the body did not arrive in time"));
    }
    Ok(Request::from_parts(parts, Body::from_stream(stream::iter(read).chain(body))))
}

/// Refuses paths that a proxy in front might have read in another way than the router does.
fn check_path(uri: &Uri) -> Result<(), Problem> {
    let path = uri.path().to_ascii_lowercase();
    let smuggled = ["%2f", "%5c", "%00", "%2e", "%25", "\\", "//", ";"].iter().any(|bad| path.contains(bad));
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    if smuggled || dots {
        return Err(Problem::new(Code::BadPath, "the path has a separator or a segment that is not allowed in it"));
    }
    Ok(())
}

/// The frame around everything else. What is logged on the way names the request and its trace.
pub(crate) async fn frame(State(frame): State<Arc<Frame>>, request: Request, next: Next) -> Response {
    let id = frame.services.new_id();
    let trace_id = TraceId::of(request.headers()).map(tracing::field::display);
    let client_id = given_id(request.headers()).map(tracing::field::display);
    // Of the highest level, so that there is no filter under which a warning would not bear it.
    let span = tracing::error_span!("request", request_id = %id, client_request_id = client_id, trace_id);
    framed(frame, id, request, next).instrument(span).await
}

async fn framed(frame: Arc<Frame>, id: RequestId, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let peer = request.extensions().get::<SocketAddr>().map(SocketAddr::ip);
    let client = peer.map(|peer| client_address(peer, request.headers(), &frame.trusted_proxies));
    request.extensions_mut().insert(id);
    if let Some(client) = client {
        request.extensions_mut().insert(ClientAddress(client));
    }
    if let Some(site) = &frame.site {
        request.extensions_mut().insert(Arc::clone(site));
    }
    let wants_page = accepts(request.headers(), "text/html") && !request.uri().path().starts_with(API);
    let pages = frame.site.as_ref().filter(|_| wants_page).cloned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();

    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let looks = [Method::GET, Method::HEAD].contains(&method);
    let mut response = frame.answer(request, next).await;
    if looks && known.is_some_and(|known| is_known(&response, &known)) {
        response = not_modified(response);
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log_cause(&problem);
        let act = response.extensions_mut().remove::<Act>();
        // A page that listens on without its login says so every few seconds.
        if problem.is_refusal() && (problem.code() != Code::NoToken || path.starts_with(API)) {
            let address = client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let (method, reason) = (method.as_str(), problem.code().as_str());
            // A path may hold a one-time secret; what matched it does not.
            let refusal = Refusal { act: act.as_ref(), method, path: &route, reason, address, request_id: id };
            frame.services.evidence().record_refusal(&refusal).await;
        }
        problem.set_headers(response.headers_mut());
        let inside = response.extensions_mut().remove::<Inside>();
        let page = pages.map(|site| match inside {
            Some(inside) => console_trouble(&site, inside, &problem, id, frame.services.now()),
            None => trouble::page(&site, &problem, id),
        });
        match page {
            None => *response.body_mut() = problem.document(id, &path),
            Some(page) => {
                let (parts, body) = page.into_parts();
                response.headers_mut().extend(parts.headers);
                *response.body_mut() = body;
            }
        }
    }
    set_headers(response.headers_mut(), id, frame.https);
    frame.count(&method, &route, response.status(), began.elapsed());
    tracing::info!(
        event = "http.request",
        %method,
        route,
        status = response.status().as_u16(),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        client = client.map(tracing::field::display),
        "request"
    );
    response
}

/// Whether an answer is one that the asker has, by the weak comparison of RFC 9110, section 13.1.2.
fn is_known(response: &Response, known: &HeaderValue) -> bool {
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let (Some(tag), Ok(known), StatusCode::OK) = (tag, known.to_str(), response.status()) else { return false };
    let mut tags = known.split(',').map(str::trim).map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
    known.trim() == "*" || tags.any(|known| known == tag)
}

fn not_modified(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

/// What whoever asks calls the request: it stands beside our own id in the log, and takes the place of none. Only an id of
/// Postern's own form or a UUID (RFC 9562, section 4) counts: anything else could be a secret that was sent by mistake.
fn given_id(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_uuid = || given.len() == 36 && given.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let is_hex = || given.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    (given.parse::<RequestId>().is_ok() || (is_uuid() && is_hex())).then_some(given)
}

fn log_cause(problem: &Problem) {
    match (problem.cause(), problem.code()) {
        (Some(cause), Code::Internal) => {
            tracing::error!(event = "http.failed", error = chain(cause), "a request failed");
        }
        (Some(cause), _) => tracing::warn!(event = "http.put_off", error = chain(cause), "a request was put off"),
        (None, Code::Internal) => tracing::error!(event = "http.panicked", "a handler panicked"),
        (None, _) => {}
    }
}

/// Headers of every answer; what a handler set itself stays.
fn set_headers(headers: &mut HeaderMap, id: RequestId, https: bool) {
    const EVERY: [(HeaderName, &str); 7] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), usb=()"),
    ];
    for (name, value) in EVERY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::routing::get;
    use axum::{Router, middleware};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;
    use tower::ServiceExt as _;

    use super::*;
    use domain::clock::SystemClock;
    use store::{Emitter, Settings, Store};

    /// A frame around handlers that ask nobody, so that no database is needed.
    async fn framed(router: Router) -> Router {
        let nowhere = Settings { uri: "mongodb://127.0.0.1:1/?replicaSet=none".into(), database: "postern".into() };
        let store = Store::connect(&nowhere).await.unwrap();
        let emitter = Emitter::start(&store, Duration::from_secs(1), &TaskTracker::new(), &CancellationToken::new());
        let services = Services::builder(store, emitter, Arc::new(SystemClock)).build();
        let frame = Arc::new(Frame::new(services, Arc::default(), None, false, None));
        router.layer(middleware::from_fn_with_state(frame, super::frame))
    }

    async fn ask(router: &Router, path: &str) -> (u16, serde_json::Value) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_with_a_request_id() {
        async fn bug() -> &'static str {
            panic!("a secret detail")
        }
        let router = framed(Router::new().route("/", get(bug))).await;
        for _ in 0..2 {
            let (status, problem) = ask(&router, "/").await;
            assert_eq!((status, &problem["code"]), (500, &"PST-SYS-005".into()));
            assert!(problem["request_id"].as_str().unwrap().starts_with("req_"));
            assert!(!problem.to_string().contains("secret"));
        }
    }

    /// SEC-NET-05: whoever sends a body slowly holds no place that somebody else needs.
    #[tokio::test]
    async fn bodies_that_do_not_come_hold_nobody_up() {
        async fn read(body: Bytes) -> String {
            body.len().to_string()
        }
        let router = framed(Router::new().route("/", get(async || "here").post(read))).await;
        let slow = || {
            let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"b"))]);
            let body = Body::from_stream(begun.chain(stream::pending()));
            router.clone().oneshot(Request::post("/").body(body).unwrap())
        };
        let mut slow = Box::pin(futures_util::future::join_all((0..=IN_FLIGHT).map(|_| slow())));
        assert!(slow.as_mut().now_or_never().is_none(), "they are all on their way");
        assert_eq!(ask(&router, "/").await.0, 200);
        let whole = Request::post("/").body(Body::from("whole")).unwrap();
        assert_eq!(router.clone().oneshot(whole).await.unwrap().status().as_u16(), 200);
    }

    #[tokio::test]
    async fn more_requests_than_fit_are_put_off() {
        let gate = Arc::new(Semaphore::new(0));
        let closed = Arc::clone(&gate);
        let wait = move || {
            let gate = Arc::clone(&closed);
            async move { gate.acquire().await.map_or("", |_permit| "done") }
        };
        let router = framed(Router::new().route("/wait", get(wait)).route("/", get(async || "here"))).await;
        let mut waiting: Vec<_> = (0..IN_FLIGHT).map(|_| Box::pin(ask(&router, "/wait"))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let (status, problem) = ask(&router, "/").await;
        assert_eq!((status, &problem["code"]), (503, &"PST-SYS-004".into()));
        gate.add_permits(IN_FLIGHT);
        for one in waiting {
            assert_eq!(one.await.0, 200);
        }
        assert_eq!(ask(&router, "/").await.0, 200);
    }

    #[test]
    fn paths_that_two_programs_may_read_in_two_ways_are_refused() {
        for bad in ["/a%2fb", "/a%2Fb", "/a/../b", "/./a", "/a//b", "/a%00", "/a%5cb", "/a/%2e%2e/b", "/%252e"] {
            assert!(check_path(&bad.parse().unwrap()).is_err(), "{bad}");
        }
        for good in ["/", "/api/v1/users/usr_01", "/api/v1/users?q=a/../b", "/a.b"] {
            assert!(check_path(&good.parse().unwrap()).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_the_hosts_of_the_listener_are_answered_for() {
        let url: Uri = "https://vpn-admin.example.com".parse().unwrap();
        let hosts = Hosts::new(&url, "192.0.2.7:9443".parse().unwrap()).unwrap();
        for good in [
            "vpn-admin.example.com",
            "VPN-admin.example.com:9443",
            "localhost:1",
            "127.0.0.1",
            "[::1]:9443",
            "192.0.2.7",
        ] {
            assert!(hosts.contain(&good.parse().unwrap()), "{good}");
        }
        for bad in ["example.com", "evil.example", "vpn-admin.example.com.evil.example", "192.0.2.8", "[2001:db8::1]"] {
            assert!(!hosts.contain(&bad.parse().unwrap()), "{bad}");
        }
    }
}
