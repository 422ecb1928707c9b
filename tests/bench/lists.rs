//! How quick lists, searches and pages are in a large cluster.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mongodb::bson::{DateTime, RawDocumentBuf, rawdoc};
use postern::domain::clock::{Clock as _, SystemClock};
use postern::domain::ids::{AuditId, HostId, Id as _, SessionId};
use postern::domain::profile::Profile;
use postern::domain::session::Session;
use postern::runtime::random;
use postern::store::Store;
use postern::store::access::profiles::ProfileFilter;
use postern::store::entity::PageRequest;
use postern::web;

use crate::caller::token;
use crate::cluster::Cluster;
use crate::report::{Figure, Row};
use crate::seed::{insert, inside, seed};

pub(crate) const METHOD: &str = "10,000 users of one profile each in one organization, 1,000 live sessions, 20,000 ended \
    ones and 50,000 entries of the trail. Every `GET` of the API and of the console that needs no id or has one here, \
    exports aside, and the searches beside them, 60 times each over a kept connection, with the first page of its rows. \
    Users, searches, pages and database share the cores.";

const USERS: usize = 10_000;
const LIVE: usize = 1_000;
const ENDED: usize = 20_000;
const ENTRIES: usize = 50_000;
const TIMES: usize = 60;
/// What lists and searches promise, in seconds.
const PROMISE: f64 = 0.050;

/// Beside what the table of routes has: searches and filters. `USER`, `SERVER` and so on become ids.
const SEARCHES: &[&str] = &[
    "/api/v1/users?q=User%2077",
    "/api/v1/users?q=no-such-person",
    "/api/v1/users?organization_id=ORGANIZATION&limit=200",
    "/api/v1/users?email=nobody@example.com",
    "/api/v1/users?sort=name",
    "/api/v1/users?sort=-email",
    "/api/v1/users?q=User%2077&sort=-name",
    "/api/v1/profiles?user_id=USER",
    "/api/v1/profiles?server_id=SERVER",
    "/api/v1/sessions?user_id=USER",
    "/api/v1/sessions?q=user:User%2077",
    "/api/v1/sessions?state=ended",
    "/api/v1/sessions?server_id=SERVER",
    "/api/v1/sessions?host_id=HOST&limit=200",
    "/api/v1/audit?actor=shell:seed",
    "/api/v1/audit?object=usr_7",
    "/api/v1/audit?action=user.update&after=2026-01-01T00:00:00Z",
];

pub(crate) fn measure() -> Vec<Row> {
    let cluster = Cluster::start(1, 1);
    let user = seed(&cluster, USERS, 1).last().unwrap().to_string();
    let host = cluster.host_id(&cluster.hosts[0]);
    let carrier: HostId = host.parse().unwrap();
    inside(&cluster, async |store| populate(&store, carrier).await);
    let ids = [
        ("ORGANIZATION", "organizations", cluster.organization.as_str()),
        ("USER", "users", &user),
        ("SERVER", "servers", &cluster.server),
        ("HOST", "hosts", &host),
    ];
    let visitor = Visitor::new(&cluster);
    let searches =
        SEARCHES.iter().map(|path| ids.iter().fold((*path).to_owned(), |path, (word, _, id)| path.replace(word, id)));
    let paths: Vec<String> = routes(&ids).into_iter().chain(searches).collect();
    cluster.hosts[0].machine().namespace.enter(|| paths.iter().map(|path| row(&visitor, path, &ids)).collect())
}

/// Every page and list of the admin listener that can be asked for with these ids.
fn routes(ids: &[(&str, &str, &str)]) -> Vec<String> {
    let filled = |path: &str| {
        let mut parts: Vec<&str> = path.split('/').collect();
        for at in 1..parts.len() {
            if parts[at] == "{id}" {
                parts[at] = ids.iter().find(|(_, noun, _)| *noun == parts[at - 1])?.2;
            }
        }
        let mut path = parts.join("/");
        if path.ends_with("/explain") && path.starts_with("/api/") {
            let user = ids.iter().find(|(word, ..)| *word == "USER")?.2;
            path = format!("{path}?destination=10.0.0.1&user_id={user}");
        }
        let endless = ["/live", "/events", "/export"].iter().any(|stream| path.contains(stream));
        (!path.contains('{') && !endless).then_some(path)
    };
    let asks = |route: &&web::RouteInfo| route.method == "GET" && route.access != web::Access::Anyone;
    web::routes().admin.iter().filter(asks).filter_map(|route| filled(route.path)).collect()
}

fn row(visitor: &Visitor, path: &str, ids: &[(&str, &str, &str)]) -> Row {
    visitor.get(path);
    let times: Vec<Duration> = (0..TIMES).map(|_| visitor.get(path)).collect();
    let name = ids.iter().fold(path.to_owned(), |name, (_, _, id)| name.replace(id, "…"));
    Row::times(format!("lists: {name}"), times).target(Figure::P95, PROMISE)
}

/// Adds sessions of the seeded profiles and a long trail.
async fn populate(store: &Store, host: HostId) {
    let page = PageRequest::first(u32::try_from(LIVE).unwrap());
    let profiles = store.access().list_profiles(&ProfileFilter::default(), &page).await.unwrap().items;
    assert_eq!(profiles.len(), LIVE);
    for profile in &profiles {
        store.access().upsert_session(&session(&profile.value, host), None).await.unwrap();
    }
    let now = SystemClock.now();
    let ended = (0..ENDED).map(|number| {
        let session = session(&profiles[number % LIVE].value, host);
        let mut row = mongodb::bson::serialize_to_document(&session).unwrap();
        row.remove("id");
        row.insert("_id", session.id.to_string());
        row.insert("connected_at", DateTime::now());
        row.insert("ended_at", DateTime::now());
        row.insert("end_reason", "disconnected");
        RawDocumentBuf::try_from(&row).unwrap()
    });
    insert(store, "sessions", ended.collect()).await;
    let trail = (0..ENTRIES).map(|number| {
        let at = now - SignedDuration::from_secs(i64::try_from(ENTRIES - number).unwrap());
        let id: AuditId = AuditId::from_parts(at, random::u128());
        rawdoc! {
            "_id": id.to_string(), "at": DateTime::from_millis(at.as_millisecond()), "actor": "shell:seed",
            "action": if number % 3 == 0 { "user.update" } else { "login.start" }, "object": format!("usr_{}", number % 1000),
            "outcome": "success", "request_id": mongodb::bson::RawBson::Null, "changes": {},
        }
    });
    insert(store, "audit", trail.collect()).await;
}

fn session(profile: &Profile, host_id: HostId) -> Session {
    let now = SystemClock.now();
    Session {
        id: SessionId::from_parts(now, random::u128()),
        user_id: profile.user_id,
        profile_id: profile.id,
        server_id: profile.server_id,
        host_id,
        address: profile.address,
        remote_address: "198.51.100.7:1194".parse().unwrap(),
        connected_at: now,
        bytes_received: 1_000,
        bytes_sent: 2_000,
        client_version: Some("2.6.14".to_owned()),
        client_protocol: Some(990),
    }
}

/// Somebody who asks the API with a token and the console with a login.
struct Visitor {
    agent: ureq::Agent,
    base: String,
    authorization: String,
    cookie: String,
}

impl Visitor {
    fn new(cluster: &Cluster) -> Self {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        let base = format!("http://{}:9443", cluster.hosts[0].machine().core);
        let link = cluster.hosts[0].run(&["owner-link"]).trim().to_owned();
        let cookie = cluster.hosts[0].machine().namespace.enter(|| {
            let opened = agent.post(&link).header("sec-fetch-site", "same-origin").header("origin", &base);
            let opened = opened.content_type("application/x-www-form-urlencoded").send_empty().unwrap();
            let cookie = opened.headers().get("set-cookie").unwrap_or_else(|| panic!("no login: {opened:?}"));
            cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
        });
        let authorization = format!("Bearer {}", token(cluster));
        Self { agent, base, authorization, cookie }
    }

    /// How long an answer takes, to its last byte.
    fn get(&self, path: &str) -> Duration {
        let request = self.agent.get(format!("{}{path}", self.base)).header("sec-fetch-site", "same-origin");
        let request = if path.starts_with("/api/") {
            request.header("authorization", &self.authorization)
        } else {
            request.header("cookie", &self.cookie).header("accept", "text/html")
        };
        let from = Instant::now();
        let mut answer = request.call().unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        let took = from.elapsed();
        assert!(answer.status().as_u16() < 400, "{path}: {} {body}", answer.status());
        took
    }
}
