//! Backups: sealed, of one moment, and put back whole, whatever happens on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use postern::domain::audit::Actor;
use postern::domain::clock::SystemClock;
use postern::domain::organization::Organization;
use postern::domain::user::User;
use postern::keys::master::MasterKey;
use postern::services::access::admission::Admission;
use postern::services::cluster::backup::Backup;
use postern::services::{Act, ServiceError, Services};
use postern::store::{Emitter, Store};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commands::Installation;
use crate::store::connect;
use crate::support::mongod::{TestDatabase, shared};

const PATIENCE: Duration = Duration::from_mins(1);

/// A machine with a migrated database, and what a host of it would work with.
struct Cluster {
    machine: Installation,
    database: TestDatabase,
    store: Store,
    services: Services,
}

impl Cluster {
    async fn new() -> Self {
        let database = shared().database();
        let machine = Installation::shared(&database);
        machine.must(&["migrate", "apply"]);
        let store = connect(&database).await;
        let emitter = Emitter::start(&store, PATIENCE, &TaskTracker::new(), &CancellationToken::new());
        let key = MasterKey::load(&machine.folder().join("master.key")).unwrap();
        let services = Services::builder(store.clone(), emitter, Arc::new(SystemClock)).master_key(Some(key)).build();
        services.network().ensure_authorities().await.unwrap();
        Self { machine, database, store, services }
    }

    async fn organization(&self) -> Organization {
        let new = serde_json::from_value(json!({ "name": "Example" })).unwrap();
        self.services.people().create_organization(&act(), new).await.unwrap().value
    }

    async fn user(&self, organization: &Organization, name: &str) -> User {
        let new = json!({ "organization_id": organization.id, "name": name, "groups": ["ops"] });
        self.services.people().create_user(&act(), serde_json::from_value(new).unwrap()).await.unwrap().value
    }

    fn backup(&self, name: &str) -> PathBuf {
        let path = self.machine.folder().join(name);
        self.machine.must(&["backup", "create", path.to_str().unwrap()]);
        path
    }

    /// Another machine with the same master key, on a database that does not exist yet.
    fn elsewhere(&self) -> (TestDatabase, Installation) {
        let database = shared().database();
        let machine = Installation::shared(&database);
        fs::copy(self.machine.folder().join("master.key"), machine.folder().join("master.key")).unwrap();
        (database, machine)
    }
}

fn act() -> Act {
    Act::of(Actor::Shell("test"))
}

/// Options, indexes and documents of a collection.
type Contents = (Document, Vec<Document>, Vec<RawDocumentBuf>);

/// All of a database: options, indexes and documents of each collection.
async fn everything(database: &TestDatabase) -> BTreeMap<String, Contents> {
    let database = database.open().await;
    let list = database.run_cursor_command(doc! { "listCollections": 1 }).await.unwrap();
    let listed: Vec<Document> = list.try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for found in listed {
        let name = found.get_str("name").unwrap();
        let indexes = database.run_cursor_command(doc! { "listIndexes": name }).await.unwrap();
        let collection = database.collection::<RawDocumentBuf>(name);
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
        let options = found.get_document("options").unwrap().clone();
        all.insert(name.to_owned(), (options, indexes.try_collect().await.unwrap(), documents));
    }
    all
}

async fn count(database: &TestDatabase, collection: &str, filter: Document) -> u64 {
    database.open().await.collection::<Document>(collection).count_documents(filter).await.unwrap()
}

#[tokio::test]
async fn a_restored_database_is_the_one_that_was_copied() {
    let cluster = Cluster::new().await;
    let organization = cluster.organization().await;
    cluster.user(&organization, "Anna").await;
    let file = cluster.backup("all.backup");
    let before = everything(&cluster.database).await;

    let raw = fs::read(&file).unwrap();
    assert!(!raw.windows(7).any(|window| window == b"Example"), "what is in it is for nobody to read");
    let report = cluster.machine.must(&["backup", "verify", file.to_str().unwrap()]);
    let cluster_id = cluster.store.access().cluster_id().await.unwrap();
    assert!(report.contains(&format!("of cluster {cluster_id}")) && report.contains("is in order"), "{report}");

    let (database, machine) = cluster.elsewhere();
    let said = machine.must(&["backup", "restore", file.to_str().unwrap()]);
    assert!(said.contains("users 1"), "{said}");
    let after = everything(&database).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, (options, indexes, documents)) in &before {
        let (options_after, indexes_after, documents_after) = &after[name];
        assert_eq!((options, indexes), (options_after, indexes_after), "{name}");
        match name.as_str() {
            // It went back in time, and the trail tells of the restore.
            "cluster" | "audit" | "events" | "leases" => {}
            _ => assert_eq!(documents, documents_after, "{name}"),
        }
    }
    assert_eq!(count(&database, "audit", doc! { "action": "backup.create" }).await, 1, "the trail of its own making");
    assert_eq!(count(&database, "audit", doc! { "action": "backup.restore" }).await, 1);
    assert_eq!(machine.must(&["migrate", "plan"]), "nothing pending: the database is current\n");
}

#[tokio::test]
async fn a_backup_is_of_one_moment_while_the_cluster_changes() {
    let cluster = Cluster::new().await;
    let organization = cluster.organization().await;
    let stop = CancellationToken::new();
    let writing = async {
        for number in 0.. {
            if stop.is_cancelled() {
                return number;
            }
            cluster.user(&organization, &format!("user {number}")).await;
        }
        unreachable!()
    };
    let copying = async {
        // Of the same cluster at different moments.
        for name in ["1", "2", "3"] {
            let path = cluster.machine.folder().join(name);
            let mut command = cluster.machine.command(&["backup", "create", path.to_str().unwrap()]);
            let status = tokio::task::spawn_blocking(move || command.stdout(Stdio::null()).status().unwrap());
            assert!(status.await.unwrap().success());
        }
        stop.cancel();
    };
    let (written, ()) = tokio::join!(writing, copying);
    let mut sizes = Vec::new();
    for name in ["1", "2", "3"] {
        let (database, machine) = cluster.elsewhere();
        machine.must(&["backup", "restore", cluster.machine.folder().join(name).to_str().unwrap()]);
        let users = count(&database, "users", doc! {}).await;
        let trail = count(&database, "audit", doc! { "action": "user.create" }).await;
        assert_eq!(users, trail, "a user and the entry of its making are one transaction");
        sizes.push(users);
    }
    assert!(sizes.is_sorted() && sizes[2] <= written, "{sizes:?} of {written}");
}

#[tokio::test]
async fn another_clusters_key_is_refused_by_name() {
    let cluster = Cluster::new().await;
    let file = cluster.backup("all.backup");
    let stranger = Installation::shared(&shared().database());
    for verb in ["verify", "restore"] {
        let ran = stranger.run(&["backup", verb, file.to_str().unwrap()]);
        assert_eq!(ran.code, Some(4), "{ran:?}");
        let key = |machine: &Installation| MasterKey::load(&machine.folder().join("master.key")).unwrap().fingerprint();
        let id = cluster.store.access().cluster_id().await.unwrap();
        for name in [id, key(&cluster.machine).to_string(), key(&stranger).to_string()] {
            assert!(ran.err.contains(&name), "{ran:?}");
        }
    }
}

#[tokio::test]
async fn a_database_that_holds_something_is_not_replaced_unasked() {
    let cluster = Cluster::new().await;
    let file = cluster.backup("empty.backup");
    let organization = cluster.organization().await;
    let user = cluster.user(&organization, "Anna").await;
    let before = everything(&cluster.database).await;
    let ran = cluster.machine.run(&["backup", "restore", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("not empty"), "{ran:?}");
    assert!(everything(&cluster.database).await == before, "nothing was changed");

    // Not under the feet of a host, either.
    let mut machine = cluster.machine;
    machine.serve();
    let ran = machine.run(&["backup", "restore", "--replace", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("vpn-1"), "{ran:?}");
    machine.stop();
    machine.must(&["backup", "restore", "--replace", file.to_str().unwrap()]);
    assert_eq!(count(&cluster.database, "users", doc! { "_id": user.id.to_string() }).await, 0);
}

#[tokio::test]
async fn a_restore_that_was_killed_is_repeated() {
    let cluster = Cluster::new().await;
    let organization = cluster.organization().await;
    cluster.user(&organization, "Anna").await;
    // Enough that a kill falls into it.
    let sessions = cluster.store.database().collection::<Document>("sessions");
    for batch in 0..8 {
        let row =
            |n| doc! { "_id": format!("ses_{batch}_{n}"), "profile_id": "p", "host_id": "h", "note": "x".repeat(500) };
        sessions.insert_many((0..1000).map(row)).await.unwrap();
    }
    let file = cluster.backup("all.backup");
    let (database, machine) = cluster.elsewhere();
    let target = database.open().await;
    // At the first trace of each step: the mark, the policy, the middle of a long collection, its end.
    for (collection, documents) in [("restoring", 1), ("users", 1), ("sessions", 1), ("sessions", 4_000)] {
        let mut command = machine.command(&["backup", "restore", file.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while target.collection::<Document>(collection).estimated_document_count().await.unwrap() < documents {
            assert!(Instant::now() < deadline, "{collection} does not come");
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let ran = machine.run(&["migrate", "apply"]);
        assert_eq!(ran.code, Some(1), "half a database is none: {ran:?}");
        assert!(ran.err.contains("postern backup restore"), "{ran:?}");
    }
    machine.must(&["backup", "restore", file.to_str().unwrap()]);
    let (before, after) = (everything(&cluster.database).await, everything(&database).await);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for name in ["users", "organizations", "sessions", "authorities", "migrations"] {
        assert!(before[name] == after[name], "{name}");
    }
}

#[tokio::test]
async fn a_host_that_knew_a_later_policy_reads_all_of_it_anew() {
    let cluster = Cluster::new().await;
    let organization = cluster.organization().await;
    let [early, late] = [cluster.user(&organization, "Anna").await, cluster.user(&organization, "Bert").await];
    let file = cluster.backup("early.backup");
    // After the backup: one is gone, one is disabled, one is new.
    cluster.services.people().delete_user(&act(), late.id, None).await.unwrap();
    let disabled = serde_json::from_value(json!({ "disabled": true })).unwrap();
    cluster.services.people().update_user(&act(), early.id, disabled, None).await.unwrap();
    cluster.user(&organization, "Carl").await;
    let lived_through_it = Admission::new(cluster.services.clone());
    lived_through_it.refresh().await.unwrap();
    let before = lived_through_it.snapshot().revision;

    cluster.machine.must(&["backup", "restore", "--replace", file.to_str().unwrap()]);
    lived_through_it.refresh().await.unwrap();
    let fresh = Admission::new(cluster.services.clone());
    fresh.refresh().await.unwrap();
    let shown = |admission: &Admission| {
        let mut changes: Vec<_> =
            admission.snapshot().to_changes().iter().map(|change| format!("{change:?}")).collect();
        changes.sort();
        changes
    };
    assert_eq!(shown(&lived_through_it), shown(&fresh));
    assert!(lived_through_it.snapshot().revision > before, "no revision means two things");
    assert!(shown(&fresh).iter().any(|change| change.contains(&late.id.to_string())), "the deleted user is back");
}

#[tokio::test]
async fn logins_come_back_only_with_a_backup_of_a_paused_cluster() {
    let cluster = Cluster::new().await;
    let login = doc! {
        "_id": "lgn_1", "user_id": "usr_1", "expires_at": mongodb::bson::DateTime::MAX,
        "secret_hash": mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: vec![1; 32] },
    };
    cluster.store.database().collection::<Document>("logins").insert_one(login).await.unwrap();
    let running = cluster.backup("running.backup");
    cluster.machine.must(&["pause"]);
    let paused = cluster.backup("paused.backup");
    for (file, logins) in [(running, 0), (paused, 1)] {
        let (database, machine) = cluster.elsewhere();
        let said = machine.must(&["backup", "restore", file.to_str().unwrap()]);
        assert_eq!(count(&database, "logins", doc! {}).await, logins, "{}", file.display());
        assert_eq!(said.contains("postern resume"), logins == 1, "{said}");
    }
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_the_database_stays_untouched() {
    let cluster = Cluster::new().await;
    let file = cluster.backup("all.backup");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let (database, machine) = cluster.elsewhere();
    for (bytes, word) in
        [(&whole[..whole.len() - 1], "cut off"), (&flipped[..], "was changed"), (&whole[..40], "not a")]
    {
        let path = machine.folder().join("damaged.backup");
        fs::write(&path, bytes).unwrap();
        for verb in ["verify", "restore"] {
            let ran = machine.run(&["backup", verb, path.to_str().unwrap()]);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert!(ran.err.contains(word), "{word}: {ran:?}");
        }
    }
    assert_eq!(everything(&database).await.len(), 0);
}

/// The archive within, read by a program that shares nothing with Postern but the description of the format.
#[tokio::test]
async fn the_archive_within_is_one_of_mongodump() {
    let cluster = Cluster::new().await;
    let organization = cluster.organization().await;
    cluster.user(&organization, "Anna").await;
    let file = cluster.backup("all.backup");
    let archive = cluster.machine.folder().join("plain.archive");
    let extract = ["--extract", archive.to_str().unwrap()];
    cluster.machine.must(&[&["backup", "verify", file.to_str().unwrap()], &extract[..]].concat());
    let found = independently_read(&fs::read(&archive).unwrap());
    assert_eq!(found["version"], "0.1");
    let of = |collection: &str| found["collections"][format!("{}.{collection}", cluster.database.name)].clone();
    assert_eq!(of("users")["documents"], 1);
    assert_eq!((of("events")["capped"].clone(), of("events")["documents"].clone()), (json!(true), json!(0)));
    let addresses = of("addresses")["indexes"].to_string();
    assert!(addresses.contains(r#"["unique_address",["server_id","address"],true]"#), "in this order: {addresses}");

    // And the other way: Postern takes the plain archive, gzipped too, and a folder.
    let gzipped = cluster.machine.folder().join("plain.archive.gz");
    let gzip = Command::new("gzip").arg("-k").arg(&archive).status().unwrap();
    assert!(gzip.success() && gzipped.exists());
    let folder = cluster.machine.folder().join("dump");
    write_folder(&cluster.database, &folder).await;
    for path in [archive, gzipped, folder] {
        let (database, machine) = cluster.elsewhere();
        machine.must(&["backup", "restore", path.to_str().unwrap()]);
        let (before, after) = (everything(&cluster.database).await, everything(&database).await);
        for name in ["users", "organizations", "authorities", "migrations"] {
            assert!(before[name] == after[name], "{name} of {}", path.display());
        }
        assert_eq!(after["events"].0, before["events"].0, "capped");
    }
}

fn independently_read(archive: &[u8]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/archive/read.mjs");
    let mut node = Command::new("node");
    let mut child =
        node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The folder that `mongodump --out` would make.
async fn write_folder(database: &TestDatabase, folder: &Path) {
    let folder = folder.join(&database.name);
    fs::create_dir_all(&folder).unwrap();
    for (name, (options, indexes, documents)) in everything(database).await {
        let bodies: Vec<u8> = documents.iter().flat_map(|document| document.as_bytes().to_vec()).collect();
        fs::write(folder.join(format!("{name}.bson")), bodies).unwrap();
        let metadata = json!({ "options": options, "indexes": indexes, "collectionName": name, "type": "collection" });
        fs::write(folder.join(format!("{name}.metadata.json")), metadata.to_string()).unwrap();
    }
}

#[tokio::test]
async fn nothing_changes_while_the_cluster_is_paused() {
    let cluster = Cluster::new().await;
    let organization = cluster.organization().await;
    let user = cluster.user(&organization, "Anna").await;
    let said = cluster.machine.must(&["pause"]);
    assert!(said.contains("postern resume"), "{said}");
    cluster.machine.must(&["pause"]);

    let new = serde_json::from_value(json!({ "name": "Other" })).unwrap();
    let refused = cluster.services.people().create_organization(&act(), new).await;
    assert!(matches!(refused, Err(ServiceError::Paused)), "{refused:?}");
    let refused = cluster.services.people().delete_user(&act(), user.id, None).await;
    assert!(matches!(refused, Err(ServiceError::Paused)), "{refused:?}");
    let ran = cluster.machine.run(&["token", "create", "--name", "t", "--role", "owner"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("VPN connections are not affected"), "{ran:?}");
    let doctor = cluster.machine.run(&["doctor"]);
    assert!(doctor.out.contains("postern resume"), "{doctor:?}");

    assert!(cluster.machine.must(&["resume"]).contains("can be changed again"));
    assert!(cluster.machine.must(&["resume"]).contains("was not paused"));
    cluster.services.people().delete_user(&act(), user.id, None).await.unwrap();
    let trail = ["cluster.pause", "cluster.resume"];
    assert_eq!(count(&cluster.database, "audit", doc! { "action": { "$in": trail.to_vec() } }).await, 2);
}

#[tokio::test]
async fn a_running_host_confirms_a_pause_and_refuses_in_words() {
    let mut cluster = Cluster::new().await;
    let token = cluster.machine.must(&["token", "create", "--name", "t", "--role", "owner"]);
    cluster.machine.serve();
    cluster.machine.must(&["pause"]);
    let url = format!("http://127.0.0.1:{}/api/v1/organizations", cluster.machine.admin);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let bearer = format!("Bearer {}", token.trim());
    let post = || {
        let sent = agent.post(&url).header("authorization", &bearer).send_json(json!({ "name": "Other" }));
        let mut answer = sent.unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().unwrap())
    };
    let (status, problem) = post();
    assert_eq!((status, &problem["code"]), (503, &json!("PST-SYS-006")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("being moved"), "{problem}");
    assert_eq!(agent.get(&url).header("authorization", &bearer).call().unwrap().status(), 200, "reading goes on");
    // A restart in the pause changes nothing and works.
    cluster.machine.stop();
    cluster.machine.serve();
    cluster.machine.must(&["resume"]);
    assert_eq!(post().0, 201);
}

#[tokio::test]
async fn verify_needs_no_database() {
    let cluster = Cluster::new().await;
    let file = cluster.backup("all.backup");
    let key = cluster.machine.folder().join("master.key");
    let away = Installation::with("[database]\nuri = \"mongodb://127.0.0.1:1/?replicaSet=none\"\n", "");
    fs::copy(key, away.folder().join("master.key")).unwrap();
    let ran = away.run(&["backup", "verify", "--json", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["dangling"], json!([]));
    assert!(Backup::is_one(&fs::read(&file).unwrap()));
    assert_eq!(report["documents"]["authorities"], 2);
}
