//! The store's connections and errors against a real `mongod`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use postern::domain::clock::{Clock as _, SystemClock};
use postern::runtime::reconcile::Reconciler;
use postern::services::tasks;
use postern::store::{Settings, Store, StoreError, check};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commands::Installation;
use crate::support::mongod::{Mongod, Options, TestDatabase, shared};

/// A store on a database of its own in the shared set.
pub(crate) async fn store() -> (TestDatabase, Store) {
    let database = shared().database();
    let store = connect(&database).await;
    (database, store)
}

/// Another store on the same database, as another process would have.
pub(crate) async fn connect(database: &TestDatabase) -> Store {
    Store::connect(&Settings { uri: database.uri.clone(), database: database.name.clone() }).await.unwrap()
}

/// The recurring work of such a process, until `stop`.
pub(crate) fn reconciler(store: &Store, tracker: &TaskTracker, stop: &CancellationToken) -> Reconciler {
    tasks::reconciler(tracker, stop, store.metrics(), Arc::new(SystemClock))
}

async fn refusal(uri: &str, database: &str) -> String {
    let settings = Settings { uri: uri.into(), database: database.into() };
    match Store::connect(&settings).await {
        Err(error @ StoreError::Misconfigured { .. }) => error.to_string(),
        other => panic!("{uri} must be refused, not {other:?}"),
    }
}

#[tokio::test]
async fn unwanted_options_are_refused_by_name() {
    for option in
        ["socketTimeoutMS=5", "timeoutMS=5", "directConnection=true", "w=1", "readPreference=nearest", "nonsense=1"]
    {
        let sentence = refusal(&format!("mongodb://user:secret@db.invalid/?{option}"), "postern").await;
        let name = option.split('=').next().unwrap();
        let named = sentence.to_lowercase().contains(&name.to_lowercase());
        assert!(named && sentence.contains("remove it") && !sentence.contains("secret"), "{option}: {sentence}");
    }
}

#[tokio::test]
async fn database_names_that_the_server_would_refuse_are_refused() {
    for name in ["", "a/b", "a.b", "admin", &"x".repeat(64)] {
        assert!(refusal("mongodb://db.invalid", name).await.contains("database.name"));
    }
}

/// SEC-DB-01: whoever reaches a database without a login is an administrator of the VPN.
#[tokio::test]
async fn a_database_elsewhere_needs_a_login_and_is_better_reached_by_tls() {
    let of = async |uri: &str| {
        let settings = Settings { uri: uri.to_owned(), database: "postern".to_owned() };
        Store::connect(&settings).await.unwrap().protection()
    };
    for uri in ["mongodb://127.0.0.1/", "mongodb://localhost,[::1]:27018/", "mongodb://127.0.0.2/?tls=true"] {
        let here = of(uri).await;
        assert!(here.require_login().is_ok() && !here.is_readable(), "{uri}");
    }
    for (uri, is_refused, is_readable) in [
        ("mongodb://db.invalid/", true, true),
        ("mongodb://127.0.0.1,10.0.0.9/", true, true),
        ("mongodb://db.invalid/?tls=true", true, false),
        ("mongodb://web:secret@db.invalid/", false, true),
        ("mongodb://web:secret@db.invalid/?tls=true", false, false),
        ("mongodb://db.invalid/?tls=true&authMechanism=MONGODB-X509", false, false),
    ] {
        let elsewhere = of(uri).await;
        assert_eq!((elsewhere.require_login().is_err(), elsewhere.is_readable()), (is_refused, is_readable), "{uri}");
    }
}

/// SEC-DB-01: the commands say so too, and go on where the configuration says that it is meant.
#[tokio::test(flavor = "multi_thread")]
async fn commands_refuse_a_database_elsewhere_without_a_login_unless_that_is_meant() {
    let table = |more: &str| format!("[database]\nuri = \"mongodb://db.invalid/?replicaSet=t\"\n{more}");
    let refused = Installation::with(&table(""), "");
    for command in [&["serve"][..], &["migrate", "plan"], &["doctor"]] {
        let ran = refused.run(command);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("names another machine and no user") && said.contains("database.insecure"), "{ran:?}");
    }
    let meant = Installation::with(&table("insecure = true\n"), "").run(&["migrate", "plan"]);
    assert!(!meant.err.contains("no user"), "{meant:?}");
}

#[test]
fn settings_do_not_print_the_password() {
    let settings = Settings { uri: "mongodb://user:secret@db".into(), database: "postern".into() };
    assert!(!format!("{settings:?}").contains("secret"));
}

#[tokio::test]
async fn duplicate_value_is_a_conflict() {
    let (_database, store) = store().await;
    let things = store.database().collection::<Document>("things");
    let options = IndexOptions::builder().name("by_name".to_owned()).unique(true).build();
    things.create_index(IndexModel::builder().keys(doc! { "name": 1 }).options(options).build()).await.unwrap();
    let second = Duration::from_secs(10);
    store.write(second, things.insert_one(doc! { "name": "a" })).await.unwrap();

    let insert = store.write(second, things.insert_one(doc! { "name": "a" })).await.map(|_| ());
    let many = store.write(second, things.insert_many([doc! { "name": "a" }])).await.map(|_| ());
    let replace = things.find_one_and_replace(doc! { "_id": 1 }, doc! { "name": "a" }).upsert(true);
    let replace = store.write(second, replace).await.map(|_| ());
    assert!(matches!(&replace, Err(StoreError::Conflict { fields }) if fields == &["name"]), "{replace:?}");
    // Of an insert the driver does not pass the server's answer on.
    for refused in [insert, many] {
        assert!(matches!(&refused, Err(StoreError::Conflict { fields }) if fields.is_empty()), "{refused:?}");
    }
}

#[tokio::test]
async fn frozen_database_is_unavailable_within_the_deadline() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let store = connect(&database).await;
    let things = store.database().collection::<Document>("things");
    things.insert_one(doc! {}).await.unwrap();

    set.stop(0);
    let began = Instant::now();
    let answer = store.deadline(Duration::from_millis(300), things.find_one(doc! {})).await;
    assert!(answer.unwrap_err().is_unavailable());
    assert!(began.elapsed() < Duration::from_secs(2));

    set.cont(0);
    assert!(store.deadline(Duration::from_secs(20), things.find_one(doc! {})).await.unwrap().is_some());
}

#[tokio::test]
async fn wrong_password_is_a_matter_of_configuration() {
    let set = Mongod::start(Options { auth: true, ..Options::default() });
    let uri = set.uri().replace("tester:", "stranger:");
    let store = Store::connect(&Settings { uri, database: "postern".into() }).await.unwrap();
    let answer = store.database().list_collection_names().await.map_err(StoreError::from);
    assert!(matches!(answer, Err(StoreError::Misconfigured { .. })), "{answer:?}");
}

#[tokio::test]
async fn replica_set_passes_the_check_and_keeps_nothing_of_it() {
    let (_database, store) = store().await;
    store.database().run_command(doc! { "ping": 1 }).await.unwrap();
    let old = store.database().collection::<Document>("selfcheck_1_dead");
    old.insert_one(doc! {}).await.unwrap();
    let young = format!("selfcheck_{}_alive", SystemClock.now().as_second());
    store.database().collection::<Document>(&young).insert_one(doc! {}).await.unwrap();

    let began = Instant::now();
    let facts = check::check(&store, &SystemClock).await.unwrap();
    eprintln!("checked in {:?}: {facts:?}", began.elapsed());
    assert_eq!(facts.set_name.as_deref(), Some("t"));
    assert!(facts.prompt && facts.clock_offset.abs() < jiff::SignedDuration::from_secs(2), "{facts:?}");
    assert_eq!(store.database().list_collection_names().await.unwrap(), [young]);
}

#[tokio::test]
async fn check_names_what_is_missing() {
    let alone = Mongod::start(Options { members: 0, ..Options::default() });
    let settings = Settings { uri: alone.uri().into(), database: "postern".into() };
    let store = Store::connect(&settings).await.unwrap();
    let Err(error @ StoreError::Misconfigured { .. }) = check::check(&store, &SystemClock).await else {
        panic!("a single mongod must be refused")
    };
    let sentence = error.to_string();
    assert!(sentence.contains("transactions") && sentence.contains("rs.initiate()"), "{sentence}");
}

#[tokio::test]
async fn check_says_that_no_primary_answers() {
    let settings = Settings { uri: "mongodb://127.0.0.1:1/?replicaSet=t".into(), database: "postern".into() };
    let store = Store::connect(&settings).await.unwrap();
    let Err(StoreError::Unavailable { source }) = check::check(&store, &SystemClock).await else {
        panic!("nobody listens on port 1")
    };
    assert!(source.to_string().contains("no primary"), "{source}");
}
