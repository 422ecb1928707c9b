//! The bus under faults: nothing lost, nothing twice, or a resync.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use postern::store::{Bus, BusMessage, BusSettings, Nudge, Settings, Store, StoreError, Subscription, migrate};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::store::reconciler;
use crate::support::mongod::{Mongod, Options, TestDatabase, shared};

/// More than any of this should take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process, as far as the bus is concerned.
struct Node {
    store: Store,
    bus: Bus,
    subscription: Subscription,
    _stop: DropGuard,
}

fn quick() -> BusSettings {
    BusSettings {
        await_time: Duration::from_millis(500),
        beat_every: Duration::from_millis(200),
        beat_lease: Duration::from_secs(1),
        deaf_after: Duration::from_secs(2),
        per_try: Duration::from_secs(2),
        backoff: (Duration::from_millis(1), Duration::from_millis(100)),
        backlog: 20_000,
    }
}

impl Node {
    /// Named `name` to the server, so that fail points can choose it.
    async fn named(database: &TestDatabase, name: &str, settings: BusSettings) -> Self {
        let uri = format!("{}&appName={name}", database.uri);
        let store = Store::connect(&Settings { uri, database: database.name.clone() }).await.unwrap();
        let stop = CancellationToken::new();
        let bus = Bus::start(&store, &settings, &reconciler(&store, &TaskTracker::new(), &stop));
        let subscription = bus.subscribe();
        Self { store, bus, subscription, _stop: stop.drop_guard() }
    }

    async fn start(database: &TestDatabase) -> Self {
        let mut node = Self::named(database, "postern", quick()).await;
        node.hear_resync().await;
        node
    }

    async fn hear(&mut self) -> BusMessage {
        tokio::time::timeout(PATIENCE, self.subscription.recv()).await.expect("a message in time").expect("bus runs")
    }

    async fn hear_resync(&mut self) {
        while self.hear().await != BusMessage::Resync {}
    }

    /// Listens until a nudge of this kind; answers how often each key was heard on the way, and the resyncs.
    async fn hear_until(&mut self, kind: &str) -> (HashMap<String, u32>, u32) {
        let (mut heard, mut resyncs) = (HashMap::new(), 0);
        loop {
            match self.hear().await {
                BusMessage::Nudge(nudge) if nudge.kind == kind => return (heard, resyncs),
                BusMessage::Nudge(nudge) => *heard.entry(nudge.key.unwrap_or_default()).or_default() += 1,
                BusMessage::Resync => resyncs += 1,
            }
        }
    }
}

async fn fail(set: &Mongod, mode: impl Into<mongodb::bson::Bson>, data: Document) {
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data };
    set.client().await.database("admin").run_command(command).await.unwrap();
}

async fn capped(database: &TestDatabase, size: u64) {
    database.open().await.create_collection("events").capped(true).size(size).await.unwrap();
}

async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nudge_reaches_every_process_with_all_it_says() {
    let database = shared().database();
    let (one, mut two) = (Node::start(&database).await, Node::start(&database).await);
    let nudge = Nudge::new("policy").key("usr_1").rev(7);
    one.bus.emit(nudge.clone());
    assert_eq!(two.hear().await, BusMessage::Nudge(nudge));
}

#[tokio::test]
async fn missing_collection_is_made_capped() {
    let database = shared().database();
    let mut node = Node::start(&database).await;
    node.bus.emit(Nudge::new("end"));
    node.hear_until("end").await;
    let stats = node.store.database().run_command(doc! { "collStats": "events" }).await.unwrap();
    assert_eq!(stats.get_bool("capped").ok(), Some(true));
}

#[tokio::test]
async fn empty_collection_and_other_size_are_fine() {
    let database = shared().database();
    capped(&database, 8192).await;
    let mut node = Node::start(&database).await;
    node.bus.emit(Nudge::new("end"));
    node.hear_until("end").await;
}

#[tokio::test]
async fn plain_collection_is_listened_to_once_it_is_gone() {
    let database = shared().database();
    let plain = database.open().await.collection::<Document>("events");
    plain.insert_one(doc! {}).await.unwrap();
    let mut node = Node::named(&database, "postern", quick()).await;
    assert!(matches!(migrate::apply(&node.store).await, Err(StoreError::Misconfigured { .. })));
    assert_eq!(node.bus.counters().opens.load(Relaxed), 0);
    plain.drop().await.unwrap();
    node.hear_resync().await;
}

#[tokio::test]
async fn collection_that_an_emitter_made_plain_is_capped_again() {
    let database = shared().database();
    let mut node = Node::start(&database).await;
    let events = database.open().await.collection::<Document>("events");
    let other = doc! { "_id": ObjectId::new(), "o": ObjectId::new(), "t": "test" };
    // As an insert does that comes just after the drop.
    events.drop().await.unwrap();
    events.insert_one(other).await.unwrap();
    node.hear_resync().await;
    node.bus.emit(Nudge::new("end"));
    node.hear_until("end").await;
    let capped = doc! { "listCollections": 1, "filter": { "name": "events", "options.capped": true } };
    let found = database.open().await.run_command(capped).await.unwrap();
    assert_eq!(found.get_document("cursor").unwrap().get_array("firstBatch").unwrap().len(), 1);
}

#[tokio::test]
async fn dropped_collection_means_one_resync() {
    let database = shared().database();
    let mut node = Node::start(&database).await;
    node.store.database().collection::<Document>("events").drop().await.unwrap();
    node.hear_resync().await;
    node.bus.emit(Nudge::new("end"));
    node.hear_until("end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_loses_nothing_and_repeats_nothing() {
    const EACH: usize = 2000;
    let set = Mongod::start(Options::default());
    let database = set.database();
    let (one, two) = (Node::start(&database).await, Node::start(&database).await);
    let mut listener = Node::named(&database, "listener", quick()).await;
    listener.hear_resync().await;
    let fault = doc! { "failCommands": ["getMore"], "errorCode": 136, "appName": "listener" };
    fail(&set, doc! { "activationProbability": 0.25 }, fault).await;

    for number in 0..EACH {
        for (name, node) in [("one", &one), ("two", &two)] {
            node.bus.emit(Nudge::new("test").key(&format!("{name}-{number}")));
        }
        if number % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for node in [&one, &two] {
        until("all are sent", || node.bus.emit_counters().sent.load(Relaxed) >= EACH as u64).await;
    }
    one.bus.emit(Nudge::new("end"));
    let (heard, _) = listener.hear_until("end").await;
    assert_eq!(heard.len(), 2 * EACH);
    assert!(heard.values().all(|times| *times == 1));
    assert!(listener.bus.counters().opens.load(Relaxed) > 10, "there was churn");
}

#[tokio::test]
async fn collection_that_wraps_unseen_means_exactly_one_resync() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    capped(&database, 16 * 1024).await;
    let writer = Node::start(&database).await;
    let mut listener = Node::named(&database, "listener", BusSettings { deaf_after: PATIENCE, ..quick() }).await;
    listener.hear_resync().await;

    let block =
        doc! { "failCommands": ["getMore"], "blockConnection": true, "blockTimeMS": 2000, "appName": "listener" };
    fail(&set, doc! { "times": 1 }, block).await;
    // The getMore that is under way may still hear the first.
    for number in 0..1000 {
        writer.bus.emit(Nudge::new("test").key(&number.to_string()));
        if number < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    until("all are sent", || writer.bus.emit_counters().sent.load(Relaxed) >= 1000).await;
    listener.hear_resync().await;
    writer.bus.emit(Nudge::new("end"));
    let (_, resyncs) = listener.hear_until("end").await;
    assert_eq!((resyncs, listener.bus.counters().resyncs.load(Relaxed)), (0, 2), "one at the start, one at the wrap");
}

#[tokio::test]
async fn crash_of_the_database_loses_nothing_that_was_sent() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let mut node = Node::start(&database).await;
    node.bus.emit(Nudge::new("test").key("before"));
    until("it is sent", || node.bus.emit_counters().sent.load(Relaxed) >= 1).await;
    set.kill(0);
    node.bus.emit(Nudge::new("test").key("during"));
    set.restart(0);
    node.bus.emit(Nudge::new("end"));
    let (heard, _) = node.hear_until("end").await;
    assert_eq!(heard, HashMap::from([("before".to_owned(), 1), ("during".to_owned(), 1)]));
}

#[tokio::test]
async fn stepdown_loses_nothing() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let mut node = Node::start(&database).await;
    let down = doc! { "replSetStepDown": 1, "force": true, "secondaryCatchUpPeriodSecs": 0 };
    set.client().await.database("admin").run_command(down).await.unwrap();
    for number in 0..20 {
        node.bus.emit(Nudge::new("test").key(&number.to_string()));
    }
    node.bus.emit(Nudge::new("end"));
    let (heard, _) = node.hear_until("end").await;
    assert_eq!(heard.len(), 20);
    assert!(heard.values().all(|times| *times == 1));
}

#[tokio::test]
async fn frozen_database_keeps_deadlines_and_the_bus_comes_back() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let mut node = Node::start(&database).await;
    set.stop(0);
    let began = Instant::now();
    let things = node.store.database().collection::<Document>("things");
    let answer = node.store.write(Duration::from_secs(1), things.insert_one(doc! {})).await;
    assert!(answer.unwrap_err().is_unavailable());
    assert!(began.elapsed() < Duration::from_secs(3));
    until("the listener gives up its cursor", || node.bus.counters().listening_since().is_none()).await;
    set.cont(0);
    node.bus.emit(Nudge::new("end"));
    node.hear_until("end").await;
}

#[tokio::test]
async fn stopped_database_is_unavailable_at_once_and_back_within_seconds() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let node = Node::start(&database).await;
    set.kill(0);
    until("no primary for a while", || node.store.without_primary() > Some(Duration::from_secs(5))).await;
    let things = node.store.database().collection::<Document>("things");
    let began = Instant::now();
    let answer = node.store.deadline(Duration::from_secs(10), things.find_one(doc! {})).await;
    assert!(answer.unwrap_err().is_unavailable());
    assert!(began.elapsed() < Duration::from_millis(100), "it is known to be away");

    set.restart(0);
    until("a primary again", || node.store.without_primary().is_none()).await;
    node.store.deadline(Duration::from_secs(10), things.find_one(doc! {})).await.unwrap();
}

#[tokio::test]
async fn silence_of_the_beat_means_a_new_cursor_and_a_resync() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let mut node = Node::start(&database).await;
    until("a beat came back", || node.bus.counters().lag().is_some()).await;
    fail(&set, "alwaysOn", doc! { "failCommands": ["findAndModify"], "errorCode": 2, "appName": "postern" }).await;
    node.hear_resync().await;
    assert!(node.bus.counters().deaf.load(Relaxed) >= 1);
}

#[tokio::test]
async fn one_process_beats_for_all_and_another_takes_over() {
    let database = shared().database();
    let one = Node::start(&database).await;
    until("the first beats", || one.bus.counters().lag().is_some()).await;
    let two = Node::start(&database).await;
    let holders = |nodes: &[&Node]| nodes.iter().filter(|node| node.bus.counters().lag().is_some()).count();
    assert_eq!(holders(&[&one, &two]), 1);
    drop(one);
    until("the second beats", || two.bus.counters().lag().is_some()).await;
    assert_eq!(two.bus.counters().deaf.load(Relaxed), 0, "the handover was not noticed");
}

#[tokio::test]
async fn nudge_of_unknown_outcome_is_sent_again_and_heard_once() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let mut node = Node::start(&database).await;
    // The write happens and the answer is an error, more often than the driver tries by itself.
    let unknown = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
    let fault = doc! { "failCommands": ["insert"], "writeConcernError": unknown, "appName": "postern" };
    fail(&set, doc! { "times": 3 }, fault).await;
    node.bus.emit(Nudge::new("test").key("once"));
    until("it is sent", || node.bus.emit_counters().sent.load(Relaxed) > 0).await;
    until("it was retried", || node.bus.emit_counters().retries.load(Relaxed) > 0).await;
    node.bus.emit(Nudge::new("end"));
    let (heard, _) = node.hear_until("end").await;
    assert_eq!(heard, HashMap::from([("once".to_owned(), 1)]));
}

#[tokio::test]
async fn slow_subscriber_is_told_to_resync_and_holds_up_nobody() {
    let database = shared().database();
    let mut node = Node::named(&database, "postern", BusSettings { backlog: 16, ..quick() }).await;
    node.hear_resync().await;
    for number in 0..200 {
        node.bus.emit(Nudge::new("test").key(&number.to_string()));
    }
    until("the listener heard all", || node.bus.counters().heard.load(Relaxed) >= 200).await;
    assert_eq!(node.hear().await, BusMessage::Resync);
    assert!(matches!(node.hear().await, BusMessage::Nudge(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_openings_leave_no_cursor_and_no_connection_behind() {
    let set = Mongod::start(Options::default());
    let database = set.database();
    let settings =
        BusSettings { backoff: (Duration::from_millis(1), Duration::from_millis(1)), deaf_after: PATIENCE, ..quick() };
    let mut node = Node::named(&database, "listener", settings).await;
    node.hear_resync().await;
    let admin = set.client().await.database("admin");
    let open = async || {
        let status = admin.run_command(doc! { "serverStatus": 1 }).await.unwrap();
        let cursors = status.get_document("metrics").unwrap().get_document("cursor").unwrap();
        let cursors = cursors.get_document("open").unwrap().get_i64("total").unwrap();
        (cursors, status.get_document("connections").unwrap().get_i32("current").unwrap())
    };
    let before = open().await;
    fail(&set, "alwaysOn", doc! { "failCommands": ["getMore"], "errorCode": 136, "appName": "listener" }).await;
    until("a thousand openings", || node.bus.counters().opens.load(Relaxed) > 1000).await;
    fail(&set, "off", doc! {}).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = open().await;
        if after.0 <= before.0 + 1 && after.1 <= before.1 + 8 {
            break;
        }
        assert!(Instant::now() < deadline, "before {before:?}, after {after:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
