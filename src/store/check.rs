//! Tries, at start, everything that Postern expects of a database.
//!
//! Products that speak MongoDB's protocol differ in what stands behind it, and some accept an option only to ignore it,
//! so vendors and versions are not looked at: a capped collection is made, tailed while a document is inserted, a
//! transaction is committed. Whatever is missing is named in one sentence. The two halves run side by side and nothing
//! is waited for but the database, because this is part of every start.

use std::time::{Duration, Instant};

use futures_util::{TryFutureExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use mongodb::Collection;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{CursorType, ReadConcern, ReturnDocument};
use mongodb::raw_batch_cursor::RawBatchCursor;

use crate::connect::REQUEST;
use crate::entity::timestamp;
use crate::error::{Outage, code, message};
use crate::{Store, StoreError};
use domain::clock::Clock;

/// How long the first answer may take before the database counts as away.
const FIRST_ANSWER: Duration = Duration::from_secs(4);
/// How long the awaiting cursor may take to show a document.
const AWAIT: Duration = Duration::from_secs(3);
/// A document that takes longer comes from polling, not from being woken.
const PROMPT: Duration = Duration::from_secs(1);
/// MongoDB 5.0, the first with every expression and command that is used.
const OLDEST_WIRE: i32 = 13;
const DAY: SignedDuration = SignedDuration::from_hours(24);
pub(super) const PREFIX: &str = "selfcheck_";
const SUPPORTED: &str = "Postern needs MongoDB 6.0 or later as a replica set, of one member or more";

/// What the check found out about a database that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version as the server writes it, such as `6.0.5`.
    pub version: String,
    /// Name of the replica set; `None` behind a router of a sharded cluster.
    pub set_name: Option<String>,
    /// How many members the set has that can become primary; 0 behind a router.
    pub members: usize,
    /// The server's clock minus ours. Above a few seconds, certificates and expiries are at risk; the bus is not.
    pub clock_offset: SignedDuration,
    /// How long a nudge took from insert to the awaiting cursor.
    pub nudge_delay: Duration,
    /// False when the server answers an awaiting cursor by polling: everything works, later.
    pub prompt: bool,
}

/// Tries all of it. Leaves nothing behind, and removes what a check that was killed left more than a day ago.
///
/// # Errors
/// [`StoreError::Misconfigured`] says what is missing; [`StoreError::Unavailable`] that no primary answers.
pub async fn check(store: &Store, clock: &dyn Clock) -> Result<ServerFacts, StoreError> {
    let (hello, clock_offset) = greet(store, clock).await?;
    require_primary_and_version(&hello)?;
    let scratch = Scratch::new(store, clock.now())?;
    let tried = store
        .deadline(
            REQUEST,
            Box::pin(async { tokio::try_join!(version(store), scratch.capped_and_tailable(), scratch.transaction()) }),
        )
        .await;
    let swept = store.deadline(REQUEST, scratch.sweep()).await;
    let (version, nudge_delay, ()) = tried?;
    swept?;
    Ok(ServerFacts {
        version,
        set_name: hello.get_str("setName").ok().map(ToOwned::to_owned),
        members: hello.get_array("hosts").map_or(0, Vec::len),
        clock_offset,
        nudge_delay,
        prompt: nudge_delay < PROMPT,
    })
}

/// Looks at what a host that only serves VPN relies on, with nothing but the rights of one: nothing is made or changed.
/// The rest is tried by the processes that change policy. Answers the server's clock minus ours.
///
/// # Errors
/// As [`check`].
pub async fn check_as_host(store: &Store, clock: &dyn Clock) -> Result<SignedDuration, StoreError> {
    let (hello, clock_offset) = greet(store, clock).await?;
    require_primary_and_version(&hello)?;
    store.deadline(REQUEST, is_capped(store, "events", "the collection events is none")).await?;
    Ok(clock_offset)
}

impl Store {
    /// The time by the database's clock: that of the member which answers, the primary.
    pub async fn time(&self) -> Result<Timestamp, StoreError> {
        let hello = self.database().run_command(doc! { "hello": 1 }).await?;
        let at = hello.get_datetime("localTime").ok().and_then(|at| timestamp(*at));
        at.ok_or_else(|| StoreError::unexpected(std::io::Error::other("the database does not tell its time")))
    }
}

async fn is_capped(store: &Store, name: &str, otherwise: &str) -> Result<(), StoreError> {
    let listing = store.database().list_collections().filter(doc! { "name": name });
    match listing.await?.try_next().await?.and_then(|collection| collection.options.capped) {
        Some(true) => Ok(()),
        _ => Err(no_capped(otherwise)),
    }
}

/// The first command: needs a connection, and the right credentials.
async fn greet(store: &Store, clock: &dyn Clock) -> Result<(Document, SignedDuration), StoreError> {
    let before = clock.now();
    let hello = tokio::time::timeout(FIRST_ANSWER, async { store.database().run_command(doc! { "hello": 1 }).await });
    let hello = match hello.await {
        Ok(Err(error)) if !matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. }) => return Err(error.into()),
        Ok(Ok(hello)) => hello,
        Ok(Err(_)) | Err(_) => return Err(Outage::Unreachable(why_unreachable(&store.topology())).into()),
    };
    let ours = before + clock.now().duration_since(before) / 2;
    let theirs = hello.get_datetime("localTime").map(|time| time.timestamp_millis());
    let theirs = theirs.ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or(ours);
    Ok((hello, theirs.duration_since(ours)))
}

/// Adds to the driver's words what usually stands behind them.
fn why_unreachable(topology: &str) -> String {
    let hints = [
        ("UnknownIssuer", "name the file of your own CA by tlsCAFile=… in database.uri"),
        ("unexpected end of file", "the server may want TLS: add tls=true to database.uri"),
        (
            "ReplicaSetNoPrimary",
            "no primary: the set is electing one, lacks a majority, or replicaSet=… is another name",
        ),
    ];
    let hint = hints.iter().find(|(pattern, _)| topology.contains(pattern)).map_or("", |(_, hint)| hint);
    format!("{hint}{}{topology}", if hint.is_empty() { "" } else { " — " })
}

fn require_primary_and_version(hello: &Document) -> Result<(), StoreError> {
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Err(Outage::Unreachable("the server that answers is no primary".into()).into());
    }
    if hello.get_i32("maxWireVersion").unwrap_or(0) < OLDEST_WIRE {
        return Err(StoreError::mendable("the database server is too old", SUPPORTED));
    }
    let routed = hello.get_str("msg").is_ok_and(|text| text == "isdbgrid");
    if !hello.contains_key("setName") && !routed || !hello.contains_key("logicalSessionTimeoutMinutes") {
        return Err(no_transactions("the server is not part of a replica set"));
    }
    Ok(())
}

async fn version(store: &Store) -> Result<String, StoreError> {
    let info = store.database().run_command(doc! { "buildInfo": 1 }).await?;
    Ok(info.get_str("version").unwrap_or("unknown").to_owned())
}

fn no_transactions(why: &str) -> StoreError {
    StoreError::mendable(
        format!("the database has no transactions ({why})"),
        format!("{SUPPORTED}: start mongod with --replSet and run rs.initiate()"),
    )
}

fn no_capped(why: &str) -> StoreError {
    StoreError::mendable(
        format!("the database has no capped collections ({why})"),
        format!("{SUPPORTED}. Amazon DocumentDB, Azure Cosmos DB, FerretDB 2 and serverless offers lack them"),
    )
}

fn no_tailable(why: &str) -> StoreError {
    StoreError::mendable(format!("the database does not keep tailable cursors open ({why})"), SUPPORTED)
}

/// Collections for trying things.
struct Scratch<'a> {
    store: &'a Store,
    capped: Collection<Document>,
    plain: Collection<Document>,
    now: Timestamp,
}

impl<'a> Scratch<'a> {
    fn new(store: &'a Store, now: Timestamp) -> Result<Self, StoreError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(StoreError::unexpected)?;
        let name = format!("{PREFIX}{}_{:016x}", now.as_second(), u64::from_be_bytes(random));
        let database = store.database();
        Ok(Self { store, capped: database.collection(&format!("{name}_c")), plain: database.collection(&name), now })
    }

    async fn capped_and_tailable(&self) -> Result<Duration, StoreError> {
        let create = self.store.database().create_collection(self.capped.name()).capped(true).size(64 * 1024);
        create.await.map_err(|error| or_refusal(error, no_capped))?;
        self.capped.insert_one(doc! { "_id": "seed" }).await?;
        tokio::try_join!(self.is_really_capped(), self.tail()).map(|((), delay)| delay)
    }

    /// A server may take the option and ignore it.
    async fn is_really_capped(&self) -> Result<(), StoreError> {
        is_capped(self.store, self.capped.name(), "the option is ignored").await
    }

    /// Inserts a document while the cursor awaits it; answers how long it took.
    async fn tail(&self) -> Result<Duration, StoreError> {
        let opened = self
            .capped
            .find(doc! {})
            .cursor_type(CursorType::TailableAwait)
            .max_await_time(AWAIT)
            .read_concern(ReadConcern::local())
            .batch();
        let mut cursor = opened.await.map_err(|error| or_refusal(error, no_tailable))?;
        next_batch(&mut cursor).await?;
        let began = Instant::now();
        let stamp = Bson::Timestamp(mongodb::bson::Timestamp { time: 0, increment: 0 });
        let probe = self.capped.insert_one(doc! { "_id": "probe", "ts": stamp });
        let waiting = tokio::time::timeout(AWAIT, async {
            loop {
                if let Some(probe) = next_batch(&mut cursor).await?.into_iter().next() {
                    return Ok::<_, StoreError>(probe);
                }
            }
        });
        let waiting = waiting.map_err(|_| no_tailable("an awaiting cursor does not see an insert"));
        let (probe, _) = tokio::try_join!(waiting, async { Ok::<_, StoreError>(probe.await?) })?;
        let delay = began.elapsed();
        if probe?.get_timestamp("ts").is_ok_and(|stamp| stamp.time == 0) {
            return Err(StoreError::mendable("the database fills in no timestamps", SUPPORTED));
        }
        Ok(delay)
    }

    /// The shape of every change of policy: a counter raised by findAndModify with the server's time, committed.
    async fn transaction(&self) -> Result<(), StoreError> {
        self.store.database().create_collection(self.plain.name()).await?;
        let mut session = self.store.database().client().start_session().await?;
        let commit = async {
            session.start_transaction().await?;
            let counter = self
                .plain
                .find_one_and_update(doc! { "_id": "counter" }, vec![doc! { "$set": { "at": "$$NOW", "n": 1 } }])
                .upsert(true)
                .return_document(ReturnDocument::After)
                .session(&mut session)
                .await?;
            session.commit_transaction().await?;
            Ok(counter)
        };
        let counter = commit.await.map_err(|error| or_refusal(error, no_transactions))?;
        match counter.map(|counter| counter.contains_key("at")) {
            Some(true) => Ok(()),
            _ => Err(no_transactions("findAndModify does not answer the new document")),
        }
    }

    /// Drops our collections, and those of checks that died long ago.
    async fn sweep(&self) -> Result<(), StoreError> {
        let database = self.store.database();
        let names =
            database.list_collection_names().filter(doc! { "name": { "$regex": format!("^{PREFIX}") } }).await?;
        let old = self.now - DAY;
        let is_leftover = |name: &&String| {
            let made = name.trim_start_matches(PREFIX).split('_').next().and_then(|second| second.parse().ok());
            made.and_then(|second| Timestamp::from_second(second).ok()).is_some_and(|made| made < old)
        };
        let ours = [self.capped.name(), self.plain.name()];
        let drops = names
            .iter()
            .filter(|name| ours.contains(&name.as_str()) || is_leftover(name))
            .map(|name| async move { database.collection::<Document>(name).drop().await });
        futures_util::future::try_join_all(drops).await?;
        Ok(())
    }
}

async fn next_batch(cursor: &mut RawBatchCursor) -> Result<Vec<RawDocumentBuf>, StoreError> {
    let batch = cursor.try_next().await.map_err(|error| or_refusal(error, no_tailable))?;
    let batch = batch.ok_or_else(|| no_tailable("the cursor ended"))?;
    let mut documents = Vec::new();
    for document in batch.doc_slices()? {
        let document = document.map_err(StoreError::unexpected)?;
        documents.extend(document.as_document().map(ToOwned::to_owned));
    }
    Ok(documents)
}

/// A command that a server declines means that the feature is missing; being away, or not allowed to, does not.
fn or_refusal(error: Error, refusal: fn(&str) -> StoreError) -> StoreError {
    let said = code(&error).map(|code| format!("{code}: {}", message(&error)));
    match (StoreError::from(error), said) {
        (StoreError::Unexpected { .. }, Some(said)) => refusal(&said),
        (other, _) => other,
    }
}
