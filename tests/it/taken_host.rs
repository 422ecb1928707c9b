//! What somebody can do who has become root on a host that only serves VPN: with its database user, and with its key.

use std::time::Duration;

use mongodb::bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype};
use postern::domain::ids::{HostId, ServerId};
use postern::domain::role::Role;
use postern::domain::server::{Attachment, AttachmentKey, DaemonState};
use postern::keys::host::{HostKey, HostPublicKey, seal_to};
use postern::keys::seal::Context;
use postern::pki::request::LeafKey;
use postern::store::hosts::records::DaemonStatus;
use serde_json::json;

use crate::console_rig::Console;
use crate::daemon::{on_a_host, status, until, until_within};
use crate::host_user::{Cluster, code, open};
use crate::users::connected;

/// Two hosts that run the same server, and the taken one's way to the database.
struct World {
    cluster: Cluster,
    server: ServerId,
    /// The taken one and another one: who each is, and its key.
    hosts: [(HostId, HostKey); 2],
    database: mongodb::Database,
}

impl World {
    async fn new() -> Self {
        let cluster = Cluster::new().await;
        let owner = cluster.rig.owner();
        let server = json!({ "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp" });
        let server: ServerId = owner.post("/servers", &server)["id"].as_str().unwrap().parse().unwrap();
        let (taken, other) = (HostKey::from_bytes(&[1; 32]), HostKey::from_bytes(&[2; 32]));
        let (joined, uri) = cluster.join("vpn-1", &taken).await;
        let (second, _) = cluster.join("vpn-2", &other).await;
        for host in [joined.host_id, second.host_id] {
            owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
            cluster.rig.services.hosts().beat(host, 0).await.unwrap();
        }
        let database = open(&uri, &cluster.rig.database.name).await;
        Self { server, hosts: [(joined.host_id, taken), (second.host_id, other)], database, cluster }
    }

    fn attachment(&self, host: usize) -> AttachmentKey {
        AttachmentKey { server_id: self.server, host_id: self.hosts[host].0 }
    }

    async fn credentials(&self, host: usize) -> Option<Vec<u8>> {
        let found = self.cluster.rig.store.find::<Attachment>(&self.attachment(host)).await.unwrap();
        found.unwrap().value.credentials.map(|given| given.key_hash)
    }

    /// What a host does that needs a certificate.
    async fn ask(&self, host: usize) {
        let status = DaemonStatus { key: self.attachment(host), state: DaemonState::Pending, detail: None };
        let services = &self.cluster.rig.services;
        services.network().request_certificate(&self.hosts[host].1, &status, &request()).await.unwrap();
    }

    /// What the taken host writes by itself, unless the database refuses its form.
    async fn write(&self, collection: &str, id: &str, set: Document) {
        const FORM: i32 = 121;
        let command =
            doc! { "update": collection, "updates": [{ "q": { "_id": id }, "u": { "$set": set }, "upsert": true }] };
        let answer = self.database.run_command(command).await.unwrap();
        let errors = answer.get_array("writeErrors").ok().into_iter().flatten();
        assert!(
            errors.filter_map(|error| error.as_document()?.get_i32("code").ok()).all(|code| code == FORM),
            "{answer}"
        );
    }
}

/// A request for a certificate, of a key made just now.
fn request() -> String {
    LeafKey::generate().unwrap().csr_pem().unwrap()
}

/// SEC-HOST-04: a request counts only if the host sealed it whose attachment it names.
#[tokio::test(flavor = "multi_thread")]
async fn it_gets_no_certificate_for_the_attachment_of_another_host() {
    let world = World::new().await;
    let services = &world.cluster.rig.services;
    world.ask(1).await;
    assert_eq!(services.network().certify().await.unwrap(), 1);
    let (given, before) =
        (world.credentials(1).await.unwrap(), world.cluster.rig.store.access().revision().await.unwrap());

    let victim = world.attachment(1).to_string();
    let place = Context { collection: "daemon_status", id: &victim, field: "request" };
    let cluster = world.cluster.rig.store.cluster().request_key().await.unwrap().unwrap();
    let cluster = HostPublicKey::from_bytes(cluster).unwrap();
    let binary = |bytes| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes });
    let mine = &world.hosts[0].1;
    for forged in [
        doc! { "request": request() },
        doc! { "sealed_request": binary(mine.request(&cluster, &place, request().as_bytes())) },
        doc! { "sealed_request": binary(seal_to(&cluster, &place, request().as_bytes())) },
        doc! { "sealed_request": binary(b"junk".to_vec()) },
        doc! { "sealed_request": 5 },
    ] {
        world.write("daemon_status", &victim, forged.clone()).await;
        assert_eq!(services.network().certify().await.unwrap(), 0, "{forged}");
    }
    assert_eq!(world.credentials(1).await.unwrap(), given, "the other host keeps what it has");
    assert_eq!(world.cluster.rig.store.access().revision().await.unwrap(), before, "nothing was changed");

    // It still gets its own, and so does the other one.
    for host in [0, 1] {
        world.ask(host).await;
    }
    assert_eq!(services.network().certify().await.unwrap(), 2);
}

/// SEC-HOST-04: a host that asks without end changes policy so many times a minute and no more.
#[tokio::test(flavor = "multi_thread")]
async fn it_gets_so_many_certificates_and_no_more() {
    let world = World::new().await;
    let services = &world.cluster.rig.services;
    let mut answered = 0;
    for _ in 0..30 {
        world.ask(0).await;
        answered += services.network().certify().await.unwrap();
    }
    assert!((15..=22).contains(&answered), "{answered}");
    world.ask(1).await;
    assert_eq!(services.network().certify().await.unwrap(), 1, "the other host is not kept waiting");
}

/// SEC-HOST-04: an order to end a session is none that a VPN host can write.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_no_session_by_an_order() {
    let world = World::new().await;
    let rig = &world.cluster.rig;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let ana = owner.post("/users", &json!({ "organization_id": organization, "name": "Ana" }))["id"].clone();
    let session = connected(rig, ana.as_str().unwrap(), world.hosts[1].0).await;
    for junk in [Bson::from("requested"), Bson::from("superseded"), Bson::from("no such reason"), Bson::from(5)] {
        world.write("sessions", &session.to_string(), doc! { "end_requested": junk }).await;
    }
    let ends = async || rig.services.access().ends_of(&[session], &[]).await.unwrap();
    assert_eq!(ends().await, []);
    let order = doc! { "_id": session.to_string(), "at": DateTime::now() };
    let refused = world.database.collection::<Document>("session_orders").insert_one(order).await.unwrap_err();
    assert_eq!(code(&refused), Some(13), "{refused}");

    rig.as_role(Role::Helpdesk).expect(202, "POST", &format!("/sessions/{session}/end"), None);
    assert_eq!(ends().await.len(), 1, "the order of somebody who may give it is obeyed");
}

/// Rows that no host of ours writes.
fn junk(id: &str) -> Vec<Document> {
    let far = DateTime::from_millis(i64::MAX);
    let wrong =
        [Bson::from(5), Bson::from("x"), Bson::Null, Bson::from(f64::NAN), Bson::from(far), Bson::from(doc! {})];
    let fields = [
        "_id",
        "at",
        "began",
        "bytes_received",
        "checks",
        "connected_at",
        "daemons",
        "detail",
        "drain",
        "ended_at",
        "host_id",
        "instance",
        "last_seen_at",
        "looks",
        "networks",
        "paused_rev",
        "placed",
        "probes",
        "problems",
        "profile_id",
        "server_id",
        "session_id",
        "sessions",
        "state",
        "stopped_at",
        "user_id",
        "version",
    ];
    let all = |value: &Bson| -> Document { fields.iter().map(|field| ((*field).to_owned(), value.clone())).collect() };
    let of = |mut row: Document, id: Bson| {
        row.insert("_id", id);
        row
    };
    let ids = [Bson::from(id), Bson::from("junk"), Bson::from(7), Bson::from(ObjectId::new())];
    let mut rows: Vec<Document> = ids.iter().map(|id| doc! { "_id": id.clone() }).collect();
    for value in &wrong {
        rows.push(of(all(value), Bson::from(id)));
        rows.push(of(all(value), Bson::from(format!("junk {value}"))));
    }
    rows
}

/// SEC-DB-03: whatever stands where hosts write, pages, lists and new processes go on, the host's row says that it cannot
/// be read, and the host can be removed.
#[tokio::test(flavor = "multi_thread")]
async fn its_junk_hides_nothing_and_does_not_keep_it_in() {
    let console = Console::new().await;
    let rig = &console.rig;
    let owner = rig.owner();
    let server = json!({ "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp" });
    let server = owner.post("/servers", &server)["id"].as_str().unwrap().to_owned();
    let (taken, other) = (rig.host().await, rig.host_at("203.0.113.11").await);
    for host in [taken, other] {
        owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
    }
    let ana = console.people["user"].clone();
    let session = connected(rig, &ana, taken).await;
    let database = rig.database.open().await;
    let attachment = format!("{server}/{taken}");
    let profile = database.collection::<Document>("presence").find_one(doc! {}).await.unwrap().unwrap();
    let profile = profile.get_str("_id").unwrap().to_owned();
    let mut visitor = console.signed_in(Role::Owner);
    let places = [
        ("host_status", taken.to_string()),
        ("daemon_status", attachment),
        ("presence", profile),
        ("sessions", session.to_string()),
        ("usage", "junk".to_owned()),
    ];
    for (collection, id) in &places {
        for row in junk(id) {
            let rows = database.collection::<Document>(collection);
            let filter = doc! { "_id": row.get("_id").cloned() };
            let put = rows.replace_one(filter, row.clone()).upsert(true).bypass_document_validation(true);
            let Ok(_) = put.await else { continue };
            for path in [
                "/",
                "/hosts",
                "/servers",
                "/sessions",
                "/users",
                "/jobs",
                "/explain",
                "/settings",
                &format!("/hosts/{taken}"),
                &format!("/servers/{server}"),
                &format!("/users/{ana}"),
            ] {
                let page = visitor.get(path);
                assert_eq!(page.status, 200, "{path} with {row} in {collection}: {page:?}");
            }
            for path in [
                "/hosts",
                "/servers",
                "/sessions",
                "/sessions?state=ended",
                &format!("/servers/{server}/hosts"),
                "/usage",
            ] {
                let answer = owner.ask("GET", path, None);
                assert!(answer.status < 500, "{path} with {row} in {collection}: {answer:?}");
            }
        }
    }
    let status = doc! { "_id": taken.to_string(), "last_seen_at": DateTime::now(), "problems": 5, "version": 7 };
    let statuses = database.collection::<Document>("host_status");
    let put = statuses.replace_one(doc! { "_id": taken.to_string() }, status).bypass_document_validation(true);
    put.await.unwrap();
    let listed = owner.get("/hosts");
    let row = listed["items"].as_array().unwrap().iter().find(|host| host["id"] == json!(taken)).unwrap();
    assert!(row["problems"].to_string().contains("report"), "{row}");
    // What a process does when it starts, and every few seconds.
    rig.services.hosts().beat(other, 0).await.unwrap();
    rig.services.access().close_other_sessions(other, &[]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), rig.services.network().certify()).await.unwrap().unwrap();

    let page = format!("/hosts/{taken}");
    let removed = visitor.post(&page, &format!("{page}/delete"), &[("force", "on"), ("confirmed", "yes")]);
    assert!(removed.status < 500, "{removed:?}");
    owner.ask("DELETE", &format!("/hosts/{taken}?force=true"), None);
    assert_eq!(owner.ask("GET", &format!("/hosts/{taken}"), None).status, 404);
}

/// SEC-HOST-04: what another host writes about a daemon is put right by the host that runs it.
#[test]
fn a_daemon_that_another_host_belies_is_told_of_truly_again() {
    on_a_host("belied", async |world| {
        let postern = world.start(true);
        let running = status(&postern.handle, DaemonState::Running).await;
        let network = world.services.network();
        let is_true = async || (network.reported(&[running.key]).await.unwrap() == [running.clone()]).then_some(());
        until("its report", is_true).await;
        let belied = DaemonStatus { state: DaemonState::Failed, detail: Some("belied".to_owned()), key: running.key };
        network.report_daemon(&belied).await.unwrap();
        // Compared once in thirty seconds.
        until_within(Duration::from_mins(2), "its own report again", is_true).await;
        postern.stop().await;
    });
}
