//! Migrations and leases against a real `mongod`.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use postern::store::{StoreError, migrate};

use crate::store::{connect, store};

#[tokio::test]
async fn empty_database_is_refused_with_the_command_that_helps() {
    let (_database, store) = store().await;
    let Err(error @ StoreError::Misconfigured { .. }) = migrate::is_current(&store).await else { panic!("refused") };
    let sentence = error.to_string();
    assert!(
        sentence.contains("0001-first, 0002-self-service") && sentence.contains("postern migrate apply"),
        "{sentence}"
    );
    assert!(migrate::plan(&store).await.unwrap().len() >= 2);
}

#[tokio::test]
async fn applying_twice_does_nothing_the_second_time() {
    let (_database, store) = store().await;
    let began = std::time::Instant::now();
    let planned = migrate::plan(&store).await.unwrap();
    assert_eq!(migrate::apply(&store).await.unwrap(), planned);
    eprintln!("applied in {:?}", began.elapsed());
    let cluster = store.database().collection::<Document>("cluster");
    let made = cluster.find_one(doc! { "_id": "cluster", "revision": 0 }).await.unwrap().unwrap();
    assert_eq!(made.get_i64("revision").ok(), Some(0));

    assert_eq!(migrate::apply(&store).await.unwrap(), []);
    assert_eq!(migrate::is_current(&store).await.unwrap(), [""; 0]);
    assert_eq!(cluster.find_one(doc! {}).await.unwrap(), Some(made));
}

#[tokio::test]
async fn run_that_died_in_the_middle_is_finished_by_the_next() {
    let (_database, store) = store().await;
    let planned = migrate::plan(&store).await.unwrap();
    // As if it had died half-way through the first file: some collections are there, nothing is recorded.
    let first: Vec<Document> = serde_json::from_str(include_str!("../../migrations/0001-first.json")).unwrap();
    for command in first.into_iter().take(12) {
        store.database().run_command(command).await.unwrap();
    }
    assert_eq!(migrate::apply(&store).await.unwrap(), planned);
    assert!(store.database().list_collection_names().await.unwrap().contains(&"audit".to_owned()));
}

#[tokio::test]
async fn superfluous_indices_go_and_may_be_gone_already() {
    let (_database, store) = store().await;
    migrate::apply(&store).await.unwrap();
    let names = store.database().collection::<Document>("audit").list_index_names().await.unwrap();
    assert!(names.contains(&"actor_order".to_owned()) && !names.contains(&"actor".to_owned()), "{names:?}");
    // As if it had died before it was recorded.
    let migrations = store.database().collection::<Document>("migrations");
    assert_eq!(migrations.delete_one(doc! { "name": "0013-redundant" }).await.unwrap().deleted_count, 1);
    assert_eq!(migrate::apply(&store).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_at_once_apply_once() {
    let (database, store) = store().await;
    let other = connect(&database).await;
    let planned = migrate::plan(&store).await.unwrap().len();
    let (one, two) = tokio::join!(migrate::apply(&store), migrate::apply(&other));
    assert_eq!(one.unwrap().len() + two.unwrap().len(), planned);
}

#[tokio::test]
async fn plain_collection_in_the_place_of_the_capped_one_is_named() {
    let (_database, store) = store().await;
    store.database().collection("events").insert_one(doc! {}).await.unwrap();
    let Err(error @ StoreError::Misconfigured { .. }) = migrate::apply(&store).await else { panic!("refused") };
    let sentence = error.to_string();
    assert!(sentence.contains("events") && sentence.contains("capped"), "{sentence}");
}

#[tokio::test]
async fn newer_database_is_allowed_and_reported_but_a_changed_migration_is_not() {
    let (_database, store) = store().await;
    migrate::apply(&store).await.unwrap();
    let migrations = store.database().collection::<Document>("migrations");
    let newer = doc! { "_id": 9999_i64, "name": "9999-next", "sha256": "", "at": mongodb::bson::DateTime::MIN };
    migrations.insert_one(newer).await.unwrap();
    assert_eq!(migrate::is_current(&store).await.unwrap(), ["9999-next"]);

    migrations.update_one(doc! { "_id": 1 }, doc! { "$set": { "sha256": "other" } }).await.unwrap();
    assert!(matches!(migrate::is_current(&store).await, Err(StoreError::Misconfigured { .. })));
}

#[tokio::test]
async fn first_migration_makes_the_promised_indexes() {
    let (_database, store) = store().await;
    migrate::apply(&store).await.unwrap();
    let database = store.database();
    for name in [
        "organizations",
        "users",
        "profiles",
        "servers",
        "attachments",
        "hosts",
        "authorities",
        "settings",
        "tombstones",
    ] {
        let indexes: Vec<_> =
            database.collection::<Document>(name).list_indexes().await.unwrap().try_collect().await.unwrap();
        assert!(indexes.iter().any(|index| index.keys == doc! { "rev": 1 }), "{name} has no index on rev");
    }
    let users = database.collection::<Document>("users");
    let user = |id: &str, email: Option<&str>| {
        let mut user = doc! { "_id": id, "organization_id": "org_1", "rev": 1_i64 };
        user.extend(email.map(|email| ("email".to_owned(), email.into())));
        user
    };
    for (id, email) in [("usr_1", Some("a@b.c")), ("usr_2", None), ("usr_3", None)] {
        users.insert_one(user(id, email)).await.unwrap();
    }
    let twice = users.insert_one(user("usr_4", Some("a@b.c"))).await.map(|_| ()).map_err(StoreError::from);
    assert!(matches!(&twice, Err(StoreError::Conflict { .. })), "{twice:?}");
}

#[tokio::test]
async fn lease_has_one_holder_until_its_end() {
    let (_database, store) = store().await;
    let long = Duration::from_mins(1);
    let first = store.take_lease("job", "one", long).await.unwrap().unwrap();
    assert!(first.is_valid());
    assert_eq!(store.take_lease("job", "two", long).await.unwrap(), None);
    assert_eq!(store.take_lease("job", "one", long).await.unwrap().unwrap().term, first.term, "renewed");

    store.release_lease("job", "two").await.unwrap();
    assert_eq!(store.take_lease("job", "two", long).await.unwrap(), None, "only the holder can release");
    store.release_lease("job", "one").await.unwrap();
    let second = store.take_lease("job", "two", Duration::from_millis(1)).await.unwrap().unwrap();
    assert_eq!(second.term, first.term + 1);

    let third = loop {
        if let Some(lease) = store.take_lease("job", "one", long).await.unwrap() {
            break lease; // taken over after the end of the short one
        }
    };
    assert_eq!(third.term, second.term + 1);
    assert!(!second.is_valid());
}

#[tokio::test]
async fn first_use_of_a_lease_by_many_at_once_has_one_winner() {
    let (_database, store) = store().await;
    let names: Vec<_> = (0..16).map(|number| number.to_string()).collect();
    let contest = names.iter().map(|name| store.take_lease("job", name, Duration::from_mins(1)));
    let taken = futures_util::future::try_join_all(contest).await.unwrap();
    let terms: HashSet<_> = taken.iter().flatten().map(|lease| lease.term).collect();
    assert_eq!((taken.iter().flatten().count(), terms), (1, HashSet::from([1])));
}
