//! A visitor without a browser: plain requests with a cookie jar, to a host of one's choice.
//!
//! It stands where the load balancer stands, so it names the public address in `Host` and speaks plain HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Request, Response};

use crate::netns::Namespace;

/// The cookie of somebody who is signed in.
pub(crate) const LOGIN: &str = "__Host-postern-login";

/// An answer, read to its end. Redirects are answers like any other.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// A header, which there is.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    /// Where it redirects to, if it does.
    pub(crate) fn location(&self) -> Option<&str> {
        self.headers.get("location").and_then(|value| value.to_str().ok())
    }
}

/// One person's cookies, on one machine.
pub(crate) struct Visitor {
    namespace: Arc<Namespace>,
    /// The public address, without a path.
    origin: String,
    agent: ureq::Agent,
    cookies: BTreeMap<String, String>,
    /// Sent with each request, before the request's own.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Visitor {
    /// `origin` is the address under which all hosts are known: `https://vpn.example.com`.
    pub(crate) fn new(namespace: &Arc<Namespace>, origin: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        let headers = Vec::new();
        let cookies = BTreeMap::new();
        Self { namespace: Arc::clone(namespace), origin: origin.to_owned(), agent, cookies, headers }
    }

    /// Asks a host for a page.
    #[track_caller]
    pub(crate) fn get(&mut self, host: SocketAddr, path: &str) -> Answer {
        self.send("GET", host, path, None).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Sends a form to a host, as a page of ours would.
    #[track_caller]
    pub(crate) fn post(&mut self, host: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.send("POST", host, path, Some(form.finish())).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Asks for a page of another site, without a cookie: the identity provider, which answers with a redirect.
    #[track_caller]
    pub(crate) fn elsewhere(&self, url: &str) -> Answer {
        self.namespace
            .enter(|| self.agent.get(url).call().and_then(read))
            .unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Sends one request. An error is a failed connection or a time that ran out.
    pub(crate) fn send(
        &mut self,
        method: &str,
        host: SocketAddr,
        path: &str,
        form: Option<String>,
    ) -> Result<Answer, String> {
        let name = self.origin.rsplit("//").next().unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("http://{host}{path}")).header("host", name);
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let namespace = Arc::clone(&self.namespace);
        let answer = namespace.enter(|| {
            let answer = match form {
                Some(form) => {
                    let request = request
                        .header("content-type", "application/x-www-form-urlencoded")
                        .header("origin", &self.origin)
                        .header("sec-fetch-site", "same-origin");
                    self.agent.run(request.body(form).unwrap())
                }
                None => self.agent.run(request.body(()).unwrap()),
            };
            answer.and_then(read)
        });
        let answer = answer.map_err(|error| error.to_string())?;
        self.keep(&answer);
        Ok(answer)
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').expect("a cookie has a name and a value");
            if value.is_empty() || attributes.to_lowercase().contains("max-age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Takes a cookie over, as a thief or a second window would.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub(crate) fn take_cookie(&mut self, name: String, value: String) {
        self.cookies.insert(name, value);
    }

    /// Whether it holds the cookie of somebody who is signed in.
    pub(crate) fn is_signed_in(&self) -> bool {
        self.cookies.contains_key(LOGIN)
    }
}

fn read(mut answer: Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let body = answer.body_mut().read_to_string()?;
    Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
}
