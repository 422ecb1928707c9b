//! An `OpenID` issuer that does as it is told: honest by default, or with any one thing about it broken.
//!
//! [`Issuer::start`] serves it on a free loopback port, in threads of its own, so that it works for tests with and
//! without a runtime and for a real browser. Its authorize endpoint shows no page: it sends the browser straight back, as
//! whoever [`Issuer::person`] named last. What it serves at the other endpoints can be broken by [`Issuer::flaw`] (tokens
//! and responses) and [`Issuer::behave`] (the whole server).

mod keys;
mod serve;

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use postern::domain::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use self::keys::SigningKey;

/// How an issuer begins.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Our name there.
    pub(crate) client_id: String,
    /// Our password there.
    pub(crate) client_secret: String,
    /// Whether its metadata announce the `iss` parameter of RFC 9207, and responses have it.
    pub(crate) response_issuer: bool,
    /// The time in its tokens.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "postern".to_owned(),
            client_secret: "s3cret & =?".to_owned(),
            response_issuer: true,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Somebody who signs in. Claims are JSON values, so that they can be of the wrong kind; null leaves one out.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) subject: Value,
    pub(crate) email: Value,
    pub(crate) email_verified: Value,
    pub(crate) hosted_domain: Value,
    pub(crate) name: Value,
}

impl Person {
    /// A person with all that Google would say: `ana@example.com` is of `example.com`, verified, and called Ana.
    pub(crate) fn new(email: &str) -> Self {
        let (local, domain) = email.split_once('@').unwrap();
        let name: String = local.chars().take(1).flat_map(char::to_uppercase).chain(local.chars().skip(1)).collect();
        Self {
            subject: json!(format!("sub-{email}")),
            email: json!(email),
            email_verified: json!(true),
            hosted_domain: json!(domain),
            name: json!(name),
        }
    }
}

/// What is wrong with the tokens and responses.
#[derive(Debug, Clone)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// This claim has another value; null leaves it out.
    Claim(&'static str, Value),
    /// `alg` none, no signature.
    AlgNone,
    /// HS256, keyed with the public key as it is published.
    Hs256,
    /// Signed with a key that is not published, under the name of one that is.
    ForeignKey,
    /// Signed with a key that is not published, under a name of its own.
    UnknownKey,
    /// Signed with a published RSA key of 1024 bits.
    WeakKey,
    /// One bit of the payload is another than what was signed.
    Changed,
    /// The header names an extension that must be understood.
    Critical,
    /// Not a token.
    Garbage,
    /// The answer of the token endpoint has no ID token.
    NoToken,
    /// The answer of the token endpoint is this text.
    Answer(&'static str),
    /// The response carries this `state`.
    State(&'static str),
    /// The response carries this `iss`, or none.
    ResponseIssuer(Option<&'static str>),
}

/// How the whole server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It answers.
    Well,
    /// It closes every connection without a word.
    Away,
    /// It answers everything with 503.
    Unwell,
    /// It takes requests and answers none until it behaves otherwise.
    Silent,
    /// Its metadata say that it is another issuer.
    OtherIssuer,
    /// Its metadata have a key set on a machine of a cloud's metadata service.
    KeysElsewhere,
    /// Its key set is a redirect to the real one.
    RedirectedKeys,
    /// Its key set has ten megabytes.
    HugeKeys,
    /// Its token endpoint redirects.
    RedirectedToken,
}

/// A running issuer; gone when dropped.
pub(crate) struct Issuer {
    /// The issuer's URL.
    pub(crate) url: String,
    /// How it was started.
    pub(crate) options: Options,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    url: String,
    options: Options,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    person: Person,
    flaw: Flaw,
    behaviour: Behaviour,
    /// The first signs; the others are published too.
    keys: Vec<Arc<SigningKey>>,
    codes: HashMap<String, Started>,
    asked: HashMap<String, usize>,
    stopped: bool,
}

/// A sign-in that was answered with a code.
struct Started {
    nonce: Option<String>,
    challenge: String,
    redirect: String,
    person: Person,
}

impl Issuer {
    /// Serves an honest issuer at which `ana@example.com` signs in.
    pub(crate) fn start(options: Options) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            person: Person::new("ana@example.com"),
            flaw: Flaw::None,
            behaviour: Behaviour::Well,
            keys: vec![Arc::new(SigningKey::rsa()), Arc::new(SigningKey::weak())],
            codes: HashMap::new(),
            asked: HashMap::new(),
            stopped: false,
        };
        let shared = Arc::new(Shared {
            url: url.clone(),
            options: options.clone(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve::serve(&listener, &served));
        Self { url, options, shared, thread: Some(thread) }
    }

    /// Who signs in from now on.
    pub(crate) fn person(&self, person: Person) {
        self.shared.lock().person = person;
    }

    /// What is wrong from now on.
    pub(crate) fn flaw(&self, flaw: Flaw) {
        self.shared.lock().flaw = flaw;
    }

    /// How it behaves from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.shared.lock().behaviour = behaviour;
        self.shared.changed.notify_all();
    }

    /// Signs with a new key (P-256) from now on, and withdraws the old ones.
    pub(crate) fn rotate(&self) {
        self.shared.lock().keys = vec![Arc::new(SigningKey::p256())];
    }

    /// How often a path was asked for, such as `/keys`.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.shared.lock().asked.get(path).copied().unwrap_or(0)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
