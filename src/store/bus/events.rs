//! Nudges: what is written into the capped collection `events`, and the task that writes them.
//!
//! A nudge is a hint, never the truth: a process that gets it re-reads the collections. So it is sent only after the
//! change was acknowledged by a majority, it carries nothing that is not in a collection too, and failing to send one
//! fails nobody: every process also reads the revision periodically.
//!
//! # Theory of operation
//! [`Emitter::emit`] gives the nudge its `_id` and puts it into a bounded queue. One task takes what is waiting and
//! inserts it as one batch; the same ids on every attempt make a repetition harmless (code 11000 means that an earlier
//! attempt arrived).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocument, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::{Collection, Database};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{DUPLICATE_KEY, code};
use crate::{Store, StoreError};
use runtime::backoff::Backoff;

/// The capped collection.
pub(crate) const EVENTS: &str = "events";
/// History of some 44,000 nudges: an hour at ten a second. A listener that was away for longer resyncs, so more would
/// only make the scan slower.
const SIZE: u64 = 4 * 1024 * 1024;
/// Present from the start, because a tailable cursor on an empty collection ends at once.
pub(crate) const SEED: ObjectId = ObjectId::from_bytes([0; 12]);
const NAMESPACE_EXISTS: i32 = 48;
const QUEUE: usize = 4096;
const BATCH: usize = 500;
/// How long a stopping process still tries to send what is queued.
const FLUSH: Duration = Duration::from_secs(2);

/// The kinds of nudges that this release sends, beats aside.
pub const KINDS: [&str; 9] = [
    "policy",
    "session.end",
    "session.change",
    "certificate.request",
    "daemon.change",
    "host.change",
    "token.change",
    "join.change",
    "job.change",
];

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nudge {
    /// What kind of thing changed, such as `policy`. Listeners pass over kinds they do not know: they are a newer
    /// release's.
    pub kind: String,
    /// Id of the changed thing; `None` means any of its kind.
    pub key: Option<String>,
    /// Revision after the change, so that a listener which is there already need not read.
    pub rev: Option<i64>,
}

impl Nudge {
    /// A nudge about anything of `kind`.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), key: None, rev: None }
    }

    /// The same about one thing.
    #[must_use]
    pub fn key(mut self, key: &(impl ToString + ?Sized)) -> Self {
        self.key = Some(key.to_string());
        self
    }

    /// The same with the revision that the change made.
    #[must_use]
    pub fn rev(mut self, rev: i64) -> Self {
        self.rev = Some(rev);
        self
    }

    pub(crate) fn from_raw(document: &RawDocument) -> Option<Self> {
        Some(Self {
            kind: document.get_str("t").ok()?.to_owned(),
            key: document.get_str("k").ok().map(ToOwned::to_owned),
            rev: document.get_i64("v").ok(),
        })
    }

    fn into_document(self, id: ObjectId, origin: ObjectId) -> Document {
        // The server replaces an empty timestamp by its own time; for people who look, and for nothing else.
        let stamp = Bson::Timestamp(mongodb::bson::Timestamp { time: 0, increment: 0 });
        let mut document = doc! { "_id": id, "ts": stamp, "o": origin, "t": self.kind };
        document.extend(self.key.map(|key| ("k".to_owned(), Bson::String(key))));
        document.extend(self.rev.map(|rev| ("v".to_owned(), Bson::Int64(rev))));
        document
    }
}

/// Puts nudges on their way; cheap to clone.
#[derive(Debug, Clone)]
pub struct Emitter {
    origin: ObjectId,
    queue: mpsc::Sender<Document>,
    counters: Arc<EmitCounters>,
}

/// What the emitter did so far.
#[derive(Debug, Default)]
pub struct EmitCounters {
    /// Nudges that the database has.
    pub sent: AtomicU64,
    /// Nudges given up: the queue was full, or the process stopped.
    pub dropped: AtomicU64,
    /// Attempts beyond the first.
    pub retries: AtomicU64,
}

impl Emitter {
    /// Starts the sending task, which ends soon after `stop`. One attempt may take `per_try`.
    pub fn start(store: &Store, per_try: Duration, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counters = Arc::new(EmitCounters::default());
        let sender =
            Sender { store: store.clone(), per_try, waiting, counters: Arc::clone(&counters), stop: stop.clone() };
        tasks.spawn(sender.run());
        Self { origin: ObjectId::new(), queue, counters }
    }

    /// Sends a nudge soon. Never waits and never fails: a nudge that does not fit is counted and dropped. Call it
    /// after the change has been acknowledged.
    pub fn emit(&self, nudge: Nudge) {
        self.emit_as(ObjectId::new(), nudge);
    }

    pub(crate) fn emit_as(&self, id: ObjectId, nudge: Nudge) {
        if self.queue.try_send(nudge.into_document(id, self.origin)).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters.
    pub fn counters(&self) -> &EmitCounters {
        &self.counters
    }
}

struct Sender {
    store: Store,
    per_try: Duration,
    waiting: mpsc::Receiver<Document>,
    counters: Arc<EmitCounters>,
    stop: CancellationToken,
}

impl Sender {
    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = self.waiting.recv_many(&mut batch, BATCH) => if taken == 0 { return },
                () = stop.cancelled() => return,
            }
            let sending = self.send(&batch);
            let limit = async {
                stop.cancelled().await;
                tokio::time::sleep(FLUSH).await;
            };
            let outcome = tokio::select! {
                outcome = sending => outcome,
                () = limit => Err(crate::error::Outage::Stopping.into()),
            };
            let count = u64::try_from(batch.len()).unwrap_or(0);
            match outcome {
                Ok(()) => self.counters.sent.fetch_add(count, Ordering::Relaxed),
                Err(error) => {
                    tracing::warn!(
                        event = "bus.unsent",
                        error = &error as &dyn std::error::Error,
                        count,
                        "nudges were not sent"
                    );
                    self.counters.dropped.fetch_add(count, Ordering::Relaxed)
                }
            };
            batch.clear();
        }
    }

    /// Tries until the batch is there, or can never be.
    async fn send(&self, batch: &[Document]) -> Result<(), StoreError> {
        let events: Collection<Document> = self.store.bus_client().collection(EVENTS);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let insert = async {
                match events.insert_many(batch).ordered(false).await {
                    Err(error) if !only_duplicates(&error) => Err(error),
                    _ => Ok(()),
                }
            };
            match self.store.deadline(self.per_try, insert).await {
                Err(error) if error.is_unavailable() => {
                    self.counters.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(backoff.pause(random())).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Whether all that was refused is there already, from an earlier attempt whose answer was lost.
fn only_duplicates(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::InsertMany(many) => {
            let errors = many.write_errors.as_deref().unwrap_or_default();
            !errors.is_empty()
                && many.write_concern_error.is_none()
                && errors.iter().all(|error| error.code == DUPLICATE_KEY)
        }
        _ => false,
    }
}

/// Makes the collection and its first document where they are missing: in a new database, and in one that was
/// restored without them.
pub(crate) async fn ensure_collection(store: &Store, limit: Duration) -> Result<(), StoreError> {
    let database = store.bus_client();
    let ensure = async {
        match database.create_collection(EVENTS).capped(true).size(SIZE).await {
            Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => ensure_capped(database).await?,
            outcome => outcome?,
        }
        match database.collection(EVENTS).insert_one(doc! { "_id": SEED, "t": "seed" }).await {
            Err(error) if code(&error) != Some(DUPLICATE_KEY) => Err(StoreError::from(error)),
            _ => Ok(()),
        }
    };
    store.deadline(limit, ensure).await
}

/// A collection of nothing but events that is not capped came of an emitter that wrote just after somebody had dropped
/// the capped one; it is made capped again. One that holds anything else is not ours to touch.
async fn ensure_capped(database: &Database) -> Result<(), StoreError> {
    let mut found = database.list_collections().filter(doc! { "name": EVENTS }).await?;
    if found.try_next().await?.and_then(|events| events.options.capped) == Some(true) {
        return Ok(());
    }
    let foreign = doc! { "_id": { "$ne": SEED }, "o": { "$not": { "$type": "objectId" } } };
    if database.collection::<Document>(EVENTS).find_one(foreign).await?.is_some() {
        return Err(StoreError::mendable(
            "the collection events is not capped (something wrote into it before Postern did)",
            "drop it, Postern makes it again",
        ));
    }
    let size = i64::try_from(SIZE).map_err(StoreError::unexpected)?;
    database.run_command(doc! { "convertToCapped": EVENTS, "size": size }).await?;
    Ok(())
}

/// 128 random bits as text.
pub(crate) fn random_hex() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(StoreError::unexpected)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Scatters the pauses of processes.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}
