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
