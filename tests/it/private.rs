//! The private database: one `mongod` for all processes of a machine, whoever comes and goes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use postern::store::private::PrivateDatabase;
use postern::store::{Settings, Store, StoreError};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::mongod::binary;

const PATIENCE: Duration = Duration::from_mins(1);

async fn open(folder: &Path) -> PrivateDatabase {
    PrivateDatabase::open(folder, Some(&binary())).await.unwrap()
}

async fn things(uri: &str) -> mongodb::Collection<Document> {
    let settings = Settings { uri: uri.into(), database: "postern".into() };
    Store::connect(&settings).await.unwrap().database().collection("things")
}

/// The process that holds the files, by what it wrote there.
fn pid(folder: &Path) -> Option<Pid> {
    let text = fs::read_to_string(folder.join("database/data/mongod.lock")).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn documents_and_port_survive_a_stop_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let first = open(folder.path()).await;
    eprintln!("first start {:?}", began.elapsed());
    things(first.uri()).await.insert_one(doc! { "_id": 1 }).await.unwrap();
    let uri = first.uri().to_owned();
    let process = pid(folder.path()).unwrap();
    first.close().await;
    assert!(test_kill_process(process).is_err(), "mongod is gone");

    let began = Instant::now();
    let second = open(folder.path()).await;
    eprintln!("second start {:?}", began.elapsed());
    assert_eq!(second.uri(), uri);
    assert_eq!(things(second.uri()).await.find_one(doc! {}).await.unwrap(), Some(doc! { "_id": 1 }));
}

#[tokio::test]
async fn strangers_on_the_machine_are_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).await;
    for name in ["access.json", "key"] {
        let mode = fs::metadata(folder.path().join("database").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let address = database.uri().rsplit_once('@').unwrap().1;
    let anonymous = things(&format!("mongodb://{}", address.replace("&authSource=admin", ""))).await;
    let answer = anonymous.find_one(doc! {}).await.map_err(StoreError::from);
    assert!(matches!(answer, Err(StoreError::Misconfigured { .. })), "{answer:?}");
}

#[tokio::test]
async fn second_process_shares_it_and_takes_over_when_the_first_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = tokio::join!(open(folder.path()), open(folder.path()));
    assert_eq!(first.uri(), second.uri());
    let things = things(second.uri()).await;
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    let process = pid(folder.path()).unwrap();

    // Whichever is the keeper: close one, and the other goes on; open another, and close that one.
    first.close().await;
    things.insert_one(doc! { "_id": 2 }).await.unwrap();
    let third = open(folder.path()).await;
    second.close().await;
    things.insert_one(doc! { "_id": 3 }).await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 3);
    assert_ne!(pid(folder.path()), Some(process), "it was taken over");
    let last = pid(folder.path()).unwrap();
    third.close().await;
    assert!(test_kill_process(last).is_err(), "the last one turned off the light");
}

#[tokio::test]
async fn killed_mongod_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).await;
    let things = things(database.uri()).await;
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    let killed = pid(folder.path()).unwrap();
    kill_process(killed, Signal::KILL).unwrap();
    until("another process", || pid(folder.path()).is_some_and(|pid| pid != killed)).await;
    assert_eq!(things.find_one(doc! {}).await.unwrap(), Some(doc! { "_id": 1 }));
}

#[tokio::test]
async fn port_that_somebody_else_took_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await;
    let uri = first.uri().to_owned();
    things(&uri).await.insert_one(doc! { "_id": 1 }).await.unwrap();
    first.close().await;
    let port = uri.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    // Something that hangs up at once: it says nothing that a mongod would.
    let taken = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    std::thread::spawn(move || taken.incoming().for_each(drop));

    let second = open(folder.path()).await;
    assert_ne!(second.uri(), uri);
    let things = things(second.uri()).await;
    things.insert_one(doc! { "_id": 2 }).await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 2);
}

#[tokio::test]
async fn missing_program_is_named_with_the_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    let opened = PrivateDatabase::open(folder.path(), Some(Path::new("/nonexistent/mongod"))).await;
    let Err(error @ StoreError::Misconfigured { .. }) = opened else { panic!("there is no such program") };
    let sentence = error.to_string();
    assert!(sentence.contains("mongodb-org-server") && sentence.contains("database.uri"), "{sentence}");
}

#[tokio::test]
async fn program_that_is_no_database_is_refused_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let opened = PrivateDatabase::open(folder.path(), Some(Path::new("/bin/false"))).await;
    let Err(error @ StoreError::Misconfigured { .. }) = opened else { panic!("false is no database") };
    let sentence = error.to_string();
    assert!(sentence.contains("ended") && sentence.contains("mongod.log"), "{sentence}");
}
