//! The store against a real `mongod`.

use std::time::Instant;

use mongodb::bson::doc;

use crate::support::mongod::{Mongod, Options, shared};

#[tokio::test]
async fn shared_set_takes_writes() {
    let began = Instant::now();
    let database = shared().database();
    eprintln!("started in {:?}", began.elapsed());
    database.open().await.collection("things").insert_one(doc! { "_id": 1 }).await.unwrap();
}

#[tokio::test]
async fn killed_member_comes_back_with_its_documents() {
    let set = Mongod::start(Options { auth: true, ..Options::default() });
    let database = set.database();
    let things = database.open().await.collection("things");
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    set.kill(0);
    set.restart(0);
    assert_eq!(things.find_one(doc! {}).await.unwrap(), Some(doc! { "_id": 1 }));
}
