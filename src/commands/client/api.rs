//! One request to the API at a time.

use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{AsSendBody, Body};

use super::error::{ClientError, exit};
use super::options::{Options, read_text};
use crate::domain::secret::Secret;
use crate::telemetry::VERSION;

/// The largest answer that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// The API, as the bearer of one token sees it.
pub(super) struct Api {
    agent: ureq::Agent,
    base: String,
    token: Secret<String>,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    timeout: Duration,
}

/// A good answer.
pub(super) struct Answer {
    /// The body; empty where there is nothing to say.
    pub body: Vec<u8>,
    /// Which revision it shows, to be sent back with a change.
    pub etag: Option<String>,
}

impl Answer {
    /// The body, read.
    pub(super) fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::new(1, format!("the answer of the API is no JSON: {error}")))
    }
}

/// A request on its way.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, String)],
    body: Option<&'a Value>,
    if_match: Option<&'a str>,
    accept: &'a str,
    says_whether_tried: bool,
    foresees: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: &[],
            body: None,
            if_match: None,
            accept: "application/json",
            says_whether_tried: false,
            foresees: false,
        }
    }

    pub(super) fn post(path: &'a str) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    pub(super) fn patch(path: &'a str, body: &'a Value) -> Self {
        Self { method: Method::PATCH, ..Self::get(path) }.body(body)
    }

    pub(super) fn put(path: &'a str) -> Self {
        Self { method: Method::PUT, ..Self::get(path) }
    }

    pub(super) fn delete(path: &'a str) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(super) fn query(self, query: &'a [(&'a str, String)]) -> Self {
        Self { query, ..self }
    }

    pub(super) fn body(self, body: &'a Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Refused if the object is of another revision.
    pub(super) fn if_match(self, etag: Option<&'a str>) -> Self {
        Self { if_match: etag, ..self }
    }

    pub(super) fn accept(self, accept: &'a str) -> Self {
        Self { accept, ..self }
    }

    /// The same, only tried: the answer is what it would do.
    pub(super) fn foreseen(&self) -> Self {
        Self { foresees: true, ..self.clone() }
    }

    /// Its body itself says whether it is only tried.
    pub(super) fn says_whether_tried(self) -> Self {
        Self { says_whether_tried: true, ..self }
    }
}

impl Api {
    pub(super) fn new(options: &Options) -> Result<Self, ClientError> {
        let base = options.base()?;
        let token = options.token()?;
        let mut config = ureq::Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(options.timeout.min(Duration::from_secs(10))));
        if base.starts_with("https:") {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(options.ca_file.as_deref())?).build());
        }
        Ok(Self { agent: config.build().new_agent(), base, token, dry_run: options.dry_run, timeout: options.timeout })
    }

    /// Whether a request is only tried: then its answer is what it would do.
    pub(super) fn tries(&self, ask: &Ask<'_>) -> bool {
        ask.foresees || (self.dry_run && ask.method != Method::GET && !ask.says_whether_tried)
    }

    /// The good answer to a request.
    pub(super) fn send(&self, ask: &Ask<'_>) -> Result<Answer, ClientError> {
        let unread = |error| ClientError::unanswered(&self.base, &error);
        let mut response = self.ask(ask, Some(self.timeout))?;
        let body = response.body_mut().with_config().limit(LARGEST).read_to_vec().map_err(unread)?;
        let etag = response.headers().get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { body, etag })
    }

    /// Writes the body of the good answer to a request as it comes, however long it is and takes.
    pub(super) fn copy(&self, ask: &Ask<'_>, to: &mut impl Write) -> Result<(), ClientError> {
        let response = self.ask(ask, None)?;
        let broke_off = |error| {
            let detail = format!("the answer of {} broke off: {error}", self.base);
            ClientError::new(exit::UNREACHABLE, detail)
        };
        let mut body = BufReader::new(response.into_body().into_reader());
        loop {
            let part = body.fill_buf().map_err(broke_off)?;
            if part.is_empty() {
                return Ok(to.flush()?);
            }
            to.write_all(part)?;
            let length = part.len();
            body.consume(length);
        }
    }

    fn ask(&self, ask: &Ask<'_>, limit: Option<Duration>) -> Result<Response<Body>, ClientError> {
        let mut url = format!("{}/api/v1{}", self.base, ask.path);
        let tried = self.tries(ask).then_some(("dry_run", "true"));
        if !ask.query.is_empty() || tried.is_some() {
            let mut pairs = form_urlencoded::Serializer::new(String::new());
            url = format!("{url}?{}", pairs.extend_pairs(ask.query).extend_pairs(tried).finish());
        }
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token.expose()))
            .header("user-agent", format!("postern/{VERSION}"))
            .header("accept", ask.accept);
        if let Some(etag) = ask.if_match {
            request = request.header("if-match", etag);
        }
        let body = ask.body.map(|body| body.to_string().into_bytes());
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let takes_body = matches!(ask.method, Method::POST | Method::PUT | Method::PATCH);
        let answered = match body.or_else(|| takes_body.then(Vec::new)) {
            Some(body) => request.body(body).map_err(ureq::Error::from).and_then(|request| self.run(request, limit)),
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.run(request, limit)),
        };
        let unanswered = |error| ClientError::unanswered(&self.base, &error);
        let mut response = answered.map_err(unanswered)?;
        if !response.status().is_success() {
            let body = response.body_mut().with_config().limit(LARGEST).read_to_vec().map_err(unanswered)?;
            return Err(ClientError::refused(response.status().as_u16(), &body));
        }
        let mut err = std::io::stderr().lock();
        for warning in response.headers().get_all("postern-warning") {
            // Nothing is to be done about a terminal that does not take it.
            let _ = writeln!(err, "Warning: {}", String::from_utf8_lossy(warning.as_bytes()));
        }
        Ok(response)
    }

    fn run<S: AsSendBody>(&self, request: Request<S>, limit: Option<Duration>) -> Result<Response<Body>, ureq::Error> {
        let response = Some(self.timeout);
        let request = self.agent.configure_request(request).timeout_global(limit).timeout_recv_response(response);
        self.agent.run(request.build())
    }
}

/// Whom to trust: the given authorities; without any those of this machine, and the web's on a machine that has none.
fn roots(ca_file: Option<&Path>) -> Result<RootCerts, ClientError> {
    let found: Vec<CertificateDer<'static>> = if let Some(file) = ca_file {
        let wrong = |what: &dyn std::fmt::Display| ClientError::usage(format!("--ca-file {}: {what}", file.display()));
        let pem = read_text(file, "--ca-file")?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose().as_bytes()).collect();
        let read = read.map_err(|error| wrong(&error))?;
        if read.is_empty() {
            return Err(wrong(&"holds no certificate"));
        }
        read
    } else {
        rustls_native_certs::load_native_certs().certs
    };
    let found: Vec<_> = found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    Ok(if found.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(found)) })
}
