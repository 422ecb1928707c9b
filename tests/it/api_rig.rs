//! The listeners of a process over a database of its own, asked over loopback as a program outside would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{RawDocumentBuf, doc};
use postern::domain::audit::Actor;
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::host::ProcessRole;
use postern::domain::ids::{HostId, Id, TokenId};
use postern::domain::role::Role;
use postern::domain::task::TaskState;
use postern::domain::token::ApiToken;
use postern::keys::master::MasterKey;
use postern::keys::token::Token;
use postern::metrics::Metrics;
use postern::metrics::catalogue::BUILD_INFO;
use postern::runtime::random;
use postern::services::hosts::database_users::HostDatabase;
use postern::services::hosts::registry::HostFacts;
use postern::services::identity::tokens::NewToken;
use postern::services::{Act, Services};
use postern::store::identity::tokens::StoredToken;
use postern::store::{Emitter, Store, migrate};
use postern::web;
use postern::web::{BoundAddresses, Check, CheckState, Listener, Listeners, StatusSource};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use ureq::http::{HeaderMap, Request, Response};

use crate::store::connect;
use crate::support::mongod::{TestDatabase, random_hex, shared};

/// The listeners of another process over the same database.
pub(crate) async fn listening(
    settings: web::Settings,
    services: &Services,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> BoundAddresses {
    let listeners = Listeners::open(settings).await.unwrap();
    let addresses = listeners.addresses();
    listeners.serve(services, Arc::new(Well), tasks, stop);
    addresses
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status, after a look at whether a refusal has the form that all of them have.
    #[track_caller]
    pub(crate) fn checked(&self) -> u16 {
        if self.status >= 400 {
            let problem = self.json();
            assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
            assert_eq!(problem["status"], self.status, "{self:?}");
            assert!(problem["code"].as_str().unwrap().starts_with("PST-"), "{self:?}");
            assert_eq!(problem["request_id"], self.header("x-request-id"), "{self:?}");
            for field in ["type", "title", "detail", "instance"] {
                assert!(!problem[field].as_str().unwrap().is_empty(), "{field}: {self:?}");
            }
            assert!(problem["retryable"].is_boolean(), "{self:?}");
        }
        for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
            assert_eq!(self.header(name), value, "{self:?}");
        }
        assert!(self.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{self:?}");
        self.status
    }
}

/// A caller of a listener.
#[derive(Clone)]
pub(crate) struct Caller {
    agent: ureq::Agent,
    base: String,
    pub(crate) token: Option<String>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            // Who refuses without reading the body closes the connection; it must not be found in a pool.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .new_agent();
        Self { agent, base: format!("http://{address}"), token: token.map(str::to_owned) }
    }

    /// Sends a request; `body` may be any bytes.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).unwrap()),
            None if ["POST", "PUT", "PATCH"].contains(&method) => self.agent.run(request.body(&[][..]).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        read(answer.unwrap_or_else(|error| panic!("{method} {path}: {error}")))
    }

    /// Sends JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        self.send(method, &format!("/api/v1{path}"), headers, text.as_ref().map(String::as_bytes))
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.expect(200, "GET", path, None)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.expect(201, "POST", path, Some(body))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Value {
        self.expect(200, "PATCH", path, Some(body))
    }

    /// Sends JSON and insists on a status; an empty body is `null`.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.checked(), status, "{method} {path} {body:?}: {answer:?}");
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// All items of a list, page by page.
    #[track_caller]
    pub(crate) fn list(&self, path: &str, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = format!("{path}?limit={limit}");
        loop {
            let mut page = self.get(&next);
            let Value::Array(found) = page["items"].take() else { panic!("no items in {page}") };
            assert!(found.len() <= limit);
            items.extend(found);
            let Some(cursor) = page["next_cursor"].as_str() else { return items };
            next = format!("{path}?limit={limit}&cursor={cursor}");
        }
    }
}

fn read(mut answer: Response<ureq::Body>) -> Answer {
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

/// A process that is well, with one number.
pub(crate) struct Well;

impl StatusSource for Well {
    fn is_started(&self) -> bool {
        false
    }

    fn checks(&self) -> Vec<Check> {
        vec![Check::new("mongo", CheckState::Degraded).because("away")]
    }

    fn tasks(&self) -> Vec<TaskState> {
        Vec::new()
    }

    fn measure(&self, now: &Metrics) {
        now.set(&BUILD_INFO, ["1", "unknown"], 1.0);
    }
}

/// A listener on a free port of loopback.
pub(crate) fn free_port() -> Listener {
    Listener { listen: "127.0.0.1:0".parse().unwrap(), url: None, tls: None }
}

/// Listeners on free ports, for the roles portal and console.
pub(crate) fn settings() -> web::Settings {
    web::Settings {
        public: free_port(),
        admin: free_port(),
        ops: free_port(),
        trusted_proxies: Vec::new(),
        roles: [ProcessRole::Portal, ProcessRole::Console].into(),
    }
}

/// A process with its listeners; they end with it.
pub(crate) struct Rig {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
    pub(crate) services: Services,
    pub(crate) addresses: BoundAddresses,
    pub(crate) tokens: BTreeMap<&'static str, String>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    _guard: DropGuard,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: web::Settings) -> Self {
        Self::over(shared().database(), settings).await
    }

    pub(crate) async fn over(database: TestDatabase, settings: web::Settings) -> Self {
        Self::timed(database, settings, Arc::new(SystemClock)).await
    }

    /// One whose services take the time from `clock`.
    pub(crate) async fn timed(database: TestDatabase, settings: web::Settings, clock: Arc<dyn Clock>) -> Self {
        Self::build(database, settings, clock, None).await
    }

    /// A cluster whose hosts come to the database in this way.
    pub(crate) async fn for_hosts(database: TestDatabase, settings: web::Settings, hosts: HostDatabase) -> Self {
        Self::build(database, settings, Arc::new(SystemClock), Some(hosts)).await
    }

    pub(crate) async fn build(
        database: TestDatabase,
        settings: web::Settings,
        clock: Arc<dyn Clock>,
        hosts: Option<HostDatabase>,
    ) -> Self {
        let store = connect(&database).await;
        migrate::apply(&store).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let emitter = Emitter::start(&store, Duration::from_secs(8), &tasks, &stop);
        let key = MasterKey::from_bytes(&[7; 32]);
        let listeners = Listeners::open(settings).await.unwrap();
        let builder =
            Services::builder(store.clone(), emitter, Arc::clone(&clock)).master_key(Some(key)).host_database(hosts);
        let services = listeners.describe(builder, clock.now()).build();
        services.network().ensure_authorities().await.unwrap();
        let mut tokens = BTreeMap::new();
        for role in Role::ALL {
            let act = Act::of(Actor::Shell("test"));
            let new =
                NewToken { name: name("test"), role, expires_in_seconds: 3600.try_into().unwrap(), service: true };
            let issued = services.identity().create_token(&act, new).await.unwrap();
            tokens.insert(role.as_str(), issued.text.expose().clone());
        }
        let addresses = listeners.addresses();
        listeners.serve(&services, Arc::new(Well), &tasks, &stop);
        let guard = stop.clone().drop_guard();
        Self { database, store, services, addresses, tokens, tasks, stop, _guard: guard }
    }

    /// A caller of the API with a role's token.
    pub(crate) fn as_role(&self, role: Role) -> Caller {
        Caller::new(self.addresses.admin.unwrap(), Some(&self.tokens[role.as_str()]))
    }

    pub(crate) fn owner(&self) -> Caller {
        self.as_role(Role::Owner)
    }

    /// A token that is over since a second.
    pub(crate) async fn expired_token(&self) -> String {
        let id: TokenId = self.services.new_id();
        let token = Token::generate(id);
        let expires_at = SystemClock.now() - SignedDuration::from_secs(1);
        let secret_hash = token.hash().as_bytes().to_vec();
        let over = ApiToken {
            id,
            name: name("over"),
            role: Role::Owner,
            created_by: None,
            owner_id: None,
            created_at: None,
            expires_at,
            last_used_at: None,
        };
        let stored = &StoredToken { token: over, secret_hash };
        self.store.note(|tx| async move { tx.identity().insert_token(stored).await }).await.unwrap();
        token.to_text().expose().clone()
    }

    /// A host that says that it is alive.
    pub(crate) async fn host(&self) -> HostId {
        self.host_at("203.0.113.10").await
    }

    /// A host that is alive and that clients reach at this address.
    pub(crate) async fn host_at(&self, address: &str) -> HostId {
        let facts = HostFacts {
            name: format!("vpn-{}x", random_hex()).parse().unwrap(),
            public_addresses: vec![address.parse().unwrap()],
            roles: [ProcessRole::Vpn].into(),
            public_key: random::bytes(),
        };
        let id = self.services.hosts().register_host(&facts).await.unwrap();
        self.services.hosts().beat(id, 0).await.unwrap();
        id
    }

    /// Everything in the database, collection by collection, but for the nudges, which hold no truth.
    pub(crate) async fn dump(&self) -> BTreeMap<String, Vec<RawDocumentBuf>> {
        let database = self.database.open().await;
        let mut dump = BTreeMap::new();
        for name in database.list_collection_names().await.unwrap() {
            if name != "events" && !name.starts_with("system.") {
                let rows = database.collection::<RawDocumentBuf>(&name);
                let rows = rows.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
                dump.insert(name, rows.try_collect().await.unwrap());
            }
        }
        dump
    }
}

pub(crate) fn name(text: &str) -> postern::domain::text::Name {
    text.parse().unwrap()
}

/// An id of something that does not exist.
pub(crate) fn nobody<T: Id>() -> T {
    T::from_parts(Timestamp::UNIX_EPOCH, random::u128())
}
