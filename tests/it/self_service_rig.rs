//! An identity provider on loopback that vouches for whomever a test names, and people who sign in with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use postern::domain::audit::Actor;
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::ids::{HostId, Id, OrganizationId, ServerId};
use postern::domain::login::Surface;
use postern::domain::role::Role;
use postern::keys::master::MasterKey;
use postern::services::hosts::registry::HostFacts;
use postern::services::identity::logins::{Browser, Person};
use postern::services::identity::outcome::{CallbackAnswer, CameBack, SignInRefusal, SignedIn};
use postern::services::network::servers::NewServer;
use postern::services::people::organizations::NewOrganization;
use postern::services::{Act, Services};
use postern::store::{Emitter, Store, migrate};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::store::connect;
use crate::support::mongod::{TestDatabase, random_hex, shared};

/// A provider with one key, which answers each code once with the claims that belong to it.
pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    url: String,
    key: KeyPair,
    codes: Mutex<HashMap<String, Value>>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let shared = Arc::new(Shared { url: url.clone(), key: KeyPair::generate().unwrap(), codes: Mutex::default() });
        let router = Router::new()
            .route("/.well-known/openid-configuration", routing::get(discovery))
            .route("/jwks", routing::get(keys))
            .route("/token", routing::post(token))
            .with_state(Arc::clone(&shared));
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let serving = axum::serve(socket, router).with_graceful_shutdown(async move { ended.cancelled().await });
        TaskTracker::new().spawn(async move { serving.await.unwrap() });
        Self { url, shared, _stop: stop.drop_guard() }
    }

    /// A code for an account, as the answer to an authorize URL.
    pub(crate) fn code(&self, authorize: &str, account: &Value) -> CallbackAnswer {
        let (_, query) = authorize.split_once('?').unwrap();
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let now = SystemClock.now().as_second();
        let mut claims = json!({
            "iss": self.url, "aud": query["client_id"], "nonce": query["nonce"], "iat": now, "exp": now + 300,
        });
        claims.as_object_mut().unwrap().extend(account.as_object().unwrap().clone());
        let code = random_hex();
        self.shared.codes.lock().unwrap().insert(code.clone(), claims);
        CallbackAnswer { state: Some(query["state"].clone()), code: Some(code), ..CallbackAnswer::default() }
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let url = &shared.url;
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    // An uncompressed point: 4, x, y.
    let point = shared.key.der_bytes();
    let [x, y] = [&point[1..33], &point[33..65]].map(|half| BASE64URL_NOPAD.encode(half));
    Json(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1", "x": x, "y": y }] }))
}

async fn token(State(shared): State<Arc<Shared>>, body: String) -> (StatusCode, Json<Value>) {
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let claims = form.get("code").and_then(|code| shared.codes.lock().unwrap().remove(code));
    let Some(claims) = claims else { return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))) };
    let [header, claims] = [json!({ "alg": "ES256", "kid": "1", "typ": "JWT" }), claims]
        .map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
    let signed = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&raw(&shared.key.sign(signed.as_bytes()).unwrap()));
    let id_token = format!("{signed}.{signature}");
    (StatusCode::OK, Json(json!({ "access_token": "x", "token_type": "Bearer", "id_token": id_token })))
}

/// An ECDSA signature as JOSE wants it (RFC 7518, section 3.4): r and s, 32 bytes each, out of the DER form.
fn raw(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut raw = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        raw.extend(std::iter::repeat_n(0, 32 - number.len()).chain(number.iter().copied()));
        rest = &rest[2 + length..];
    }
    raw
}

/// A cluster of two processes, with an issuer, a server and a host.
pub(crate) struct Rig {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
    /// Two processes of the cluster, each with a connection of its own.
    pub(crate) hosts: [Services; 2],
    pub(crate) issuer: Issuer,
    pub(crate) organization: OrganizationId,
    pub(crate) server: ServerId,
    pub(crate) vpn: HostId,
    _stop: DropGuard,
}

pub(crate) const SECRET: &str = "the-client-password";

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::at(Arc::new(SystemClock)).await
    }

    pub(crate) async fn at(clock: Arc<dyn Clock>) -> Self {
        let database = shared().database();
        let store = connect(&database).await;
        migrate::apply(&store).await.unwrap();
        let stop = CancellationToken::new();
        let process = |store: &Store, clock| {
            let emitter = Emitter::start(store, Duration::from_secs(8), &TaskTracker::new(), &stop);
            let builder = Services::builder(store.clone(), emitter, clock);
            builder
                .master_key(Some(MasterKey::from_bytes(&[7; 32])))
                .url(Surface::Portal, "https://vpn.example.com/")
                .build()
        };
        let hosts = [process(&store, Arc::clone(&clock)), process(&connect(&database).await, clock)];
        hosts[0].network().ensure_authorities().await.unwrap();
        let issuer = Issuer::start().await;
        let new = NewOrganization { name: "Acme".parse().unwrap() };
        let organization = hosts[0].people().create_organization(&owner(), new).await.unwrap().value.id;
        let new: NewServer = from_json(json!({
            "name": "main", "network": "10.9.0.0/16", "port": 1194, "protocol": "udp", "organization_ids": [organization],
        }));
        let server = hosts[0].network().create_server(&owner(), new).await.unwrap().value.id;
        let oidc = json!({
            "issuer": issuer.url, "client_id": "postern", "client_secret": SECRET, "allowed_domains": ["example.com"],
            "default_organization_id": organization,
        });
        let patch = from_json(json!({ "oidc": oidc, "contact": "Ask Bo, room 7." }));
        hosts[0].cluster().update_settings(&owner(), patch, None).await.unwrap();
        let mut rig = Self {
            database,
            store,
            hosts,
            issuer,
            organization,
            server,
            vpn: HostId::from_parts(Timestamp::UNIX_EPOCH, 0),
            _stop: stop.drop_guard(),
        };
        rig.vpn = rig.attach("vpn-1").await;
        rig
    }

    pub(crate) fn here(&self) -> &Services {
        &self.hosts[0]
    }

    /// A new host that runs the server.
    pub(crate) async fn attach(&self, name: &str) -> HostId {
        let facts = HostFacts {
            name: name.parse().unwrap(),
            public_addresses: vec!["203.0.113.10".parse().unwrap()],
            roles: [postern::domain::host::ProcessRole::Vpn].into(),
            public_key: postern::runtime::random::bytes(),
        };
        let id = self.here().hosts().register_host(&facts).await.unwrap();
        self.here().hosts().beat(id, 0).await.unwrap();
        self.here().network().attach(&owner(), self.server, id).await.unwrap();
        id
    }

    /// Begins a sign-in on one host and finishes it on another.
    pub(crate) async fn sign_in(&self, account: &Value) -> Result<SignedIn, SignInRefusal> {
        let start =
            self.hosts[0].identity().start_sign_in(Surface::Portal, "/profiles".parse().unwrap(), &browser()).await?;
        let answer = self.issuer.code(&start.redirect, account);
        let cookie = Some(start.cookie.expose().as_str());
        match self.hosts[1].identity().complete_sign_in(Surface::Portal, &answer, cookie, &browser()).await? {
            CameBack::SignedIn(signed_in) => Ok(signed_in),
            CameBack::Tested(test) => panic!("nobody asked for a test: {test:?}"),
        }
    }

    /// Somebody who is signed in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let signed_in = self.sign_in(&account(name)).await.unwrap();
        self.here().identity().person(signed_in.cookie.expose()).await.unwrap().unwrap()
    }
}

/// The account of an employee.
pub(crate) fn account(name: &str) -> Value {
    json!({
        "sub": format!("sub-{name}"), "email": format!("{name}@example.com"), "email_verified": true,
        "hd": "example.com", "name": name,
    })
}

/// A browser somewhere: each at an address of its own, so that none runs into another's limit.
pub(crate) fn browser() -> Browser {
    let address =
        std::net::Ipv4Addr::from_bits(0x0a00_0000 | (u32::from_be_bytes(postern::runtime::random::bytes()) >> 8));
    Browser { label: "Firefox 140".to_owned(), address: address.into(), request_id: None }
}

pub(crate) fn owner() -> Act {
    Act::of(Actor::Token { id: Id::from_parts(Timestamp::UNIX_EPOCH, 1), role: Role::Owner })
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
