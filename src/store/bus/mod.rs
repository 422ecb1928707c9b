//! The bus: every process gets every nudge, through one cursor, and a resync when it may have missed some.
//!
//! # Theory of operation
//! One task keeps one tailable-await cursor on the capped collection `events` ([`mod@events`] writes it)
//! and fans out in memory. It reads with concern *local*: a cursor that waits for the majority is woken by the insert,
//! finds nothing committed yet and sleeps on until the next one.
//!
//! No field of an event says where to go on after an interruption: ids, timestamps and counters are all given before
//! the document gets its place, and members of the set disagree about the places. So on every opening the whole
//! collection is scanned, and an event is new if its id is not among those seen. Eviction is oldest first; if the
//! oldest documents still there are known, none was evicted unseen. Otherwise there is a *gap*, and the subscribers
//! are told to [`Resync`](BusMessage::Resync): to compare what they hold with the collections, as they do at start.
//! That happens after the cursor is open, so nothing falls in between.
//!
//! A cursor can outlive its use: after a stepdown it stays on the old primary, which may be cut off, and no error
//! tells. So the holder of the lease `beat` emits a beat every few seconds, and a process that hears none opens its
//! cursor anew.
//!
//! Subscribers never hold up the cursor: each has a bounded backlog, and one that falls behind is told to resync.

pub mod events;
pub mod lease;
pub mod replay;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::Document;
use mongodb::bson::oid::ObjectId;
use mongodb::options::{CursorType, ReadConcern};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use tokio::sync::broadcast;

use crate::bus::events::{EVENTS, EmitCounters, Emitter, KINDS, Nudge, SEED, ensure_collection, random};
use crate::bus::replay::EventId;
use crate::error::Outage;
use crate::{Store, StoreError};
use metrics::catalogue::{BUS_EVENTS, BUS_RESYNCS};
use runtime::backoff::Backoff;
use runtime::reconcile;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};

const BEAT: &str = "beat";
const SCAN_BATCH: u32 = 20_000;
/// How many of the oldest documents must be known. More than one, because members of a set order concurrent inserts
/// differently; twelve places were the most that was seen.
const OVERLAP: usize = 32;
/// Ids remembered: more than twice what the collection holds.
const MEMORY: usize = 100_000;

/// Periods and limits of the bus.
#[derive(Debug, Clone)]
pub struct BusSettings {
    /// How long the server holds an idle read; also the period of the listener's self-check.
    pub await_time: Duration,
    /// Period of the beat.
    pub beat_every: Duration,
    /// How long the beat's lease lasts.
    pub beat_lease: Duration,
    /// Without a beat for this long, the cursor is opened anew.
    pub deaf_after: Duration,
    /// Limit of one attempt to send.
    pub per_try: Duration,
    /// First and longest pause between attempts to open the cursor.
    pub backoff: (Duration, Duration),
    /// Nudges that a subscriber may be behind.
    pub backlog: usize,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            await_time: Duration::from_secs(5),
            beat_every: Duration::from_secs(5),
            beat_lease: Duration::from_secs(10),
            deaf_after: Duration::from_secs(15),
            per_try: Duration::from_secs(8),
            backoff: (Duration::from_millis(100), Duration::from_secs(2)),
            backlog: 1024,
        }
    }
}

/// What a subscriber receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusMessage {
    /// Something changed.
    Nudge(Nudge),
    /// Nudges may have been missed: compare with the collections, now.
    Resync,
}

/// A message, and which event it was.
type Delivery = (Option<EventId>, BusMessage);

/// Receives what comes after it was made. Load what you need after subscribing, not before.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Delivery>);

impl Subscription {
    /// The next message; `None` when the bus has stopped. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<BusMessage> {
        self.recv_with_id().await.map(|(_, message)| message)
    }

    /// The same with the id of the event, which [`Store::replay`] goes on after.
    pub async fn recv_with_id(&mut self) -> Option<(Option<EventId>, BusMessage)> {
        match self.0.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((None, BusMessage::Resync)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Wakes a task at every message that it wants, until the bus has stopped.
    pub async fn wake(mut self, task: reconcile::Nudge, wants: impl Fn(&BusMessage) -> bool) {
        while let Some(message) = self.recv().await {
            if wants(&message) {
                task.now();
            }
        }
    }
}

/// The running bus of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    emitter: Emitter,
    messages: broadcast::WeakSender<Delivery>,
    counters: Arc<BusCounters>,
}

/// What the listener did so far.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Openings of the cursor.
    pub opens: AtomicU64,
    /// Gaps, which subscribers were told about.
    pub resyncs: AtomicU64,
    /// Times that no beat came.
    pub deaf: AtomicU64,
    /// Nudges passed on.
    pub heard: AtomicU64,
    listening: Mutex<Option<Instant>>,
    own_beat: Mutex<Option<(ObjectId, Instant)>>,
    lag: Mutex<Option<Duration>>,
}

impl BusCounters {
    /// Since when the present cursor has been open; `None` while there is none.
    pub fn listening_since(&self) -> Option<Instant> {
        *lock(&self.listening)
    }

    /// How long our last beat took to come back to us; `None` while another process beats.
    pub fn lag(&self) -> Option<Duration> {
        *lock(&self.lag)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    /// Starts emitter, listener and beat. All end after the stop of `tasks`.
    pub fn start(store: &Store, settings: &BusSettings, tasks: &Reconciler) -> Self {
        let emitter = Emitter::start(store, settings.per_try, tasks.tracker(), tasks.stop());
        let counters = Arc::new(BusCounters::default());
        let (messages, _) = broadcast::channel(settings.backlog);
        let bus = Self { emitter, messages: messages.downgrade(), counters };
        let listener = Listener {
            store: store.clone(),
            settings: settings.clone(),
            messages,
            counters: Arc::clone(&bus.counters),
            seen: SeenEvents::default(),
            first: true,
            suspect: false,
            progressed: false,
        };
        tasks.tracker().spawn(tasks.stop().clone().run_until_cancelled_owned(listener.run()));
        let task = Task::new(
            "bus-beat",
            "Emits the beats that show each process that the bus reaches it.",
            settings.beat_every,
        );
        let beating = Beating {
            store: store.clone(),
            lease: settings.beat_lease,
            bus: bus.clone(),
            me: ObjectId::new().to_hex(),
            may_lead: true,
        };
        tasks.start(task.deadline(settings.beat_lease).quiet(), beating);
        bus
    }

    /// Sends a nudge soon; never waits, never fails. Call it after the change has been acknowledged.
    pub fn emit(&self, nudge: Nudge) {
        self.emitter.emit(nudge);
    }

    /// Hears all messages from now on; closed at once when the bus has stopped.
    pub fn subscribe(&self) -> Subscription {
        match self.messages.upgrade() {
            Some(messages) => Subscription(messages.subscribe()),
            None => Subscription(broadcast::channel(1).1),
        }
    }

    /// Counters of the listener.
    pub fn counters(&self) -> &BusCounters {
        &self.counters
    }

    /// The sending side alone.
    pub fn emitter(&self) -> Emitter {
        self.emitter.clone()
    }

    /// Counters of the emitter.
    pub fn emit_counters(&self) -> &EmitCounters {
        self.emitter.counters()
    }
}

/// Emits a beat per period while this process holds the lease.
struct Beating {
    store: Store,
    lease: Duration,
    bus: Bus,
    me: String,
    /// Whether this process may take leases. A host that may not write policy takes none either; others beat.
    may_lead: bool,
}

impl Work for Beating {
    async fn run(&mut self) -> Outcome {
        if !self.may_lead {
            return Ok(Done::default());
        }
        match self.store.take_lease(BEAT, &self.me, self.lease).await {
            Ok(Some(lease)) if lease.is_valid() => {
                let id = ObjectId::new();
                *lock(&self.bus.counters.own_beat) = Some((id, Instant::now()));
                self.bus.emitter.emit_as(id, Nudge::new(BEAT).rev(lease.term));
            }
            Ok(_) => *lock(&self.bus.counters.lag) = None,
            Err(StoreError::Misconfigured { .. }) => self.may_lead = false,
            Err(error) => return Err(error.into()),
        }
        Ok(Done::default())
    }

    /// So that the next process need not wait for the end of the lease; if the database is away, it has to.
    async fn close(&mut self) {
        if self.may_lead {
            drop(self.store.release_lease(BEAT, &self.me).await);
        }
    }
}

/// The ids of the events that were seen, oldest first.
struct SeenEvents {
    ids: HashSet<ObjectId>,
    order: VecDeque<ObjectId>,
}

impl Default for SeenEvents {
    fn default() -> Self {
        Self { ids: HashSet::from([SEED]), order: VecDeque::from([SEED]) }
    }
}

impl SeenEvents {
    /// Whether it is new.
    fn insert(&mut self, id: ObjectId) -> bool {
        let new = self.ids.insert(id);
        if new {
            self.order.push_back(id);
            if self.order.len() > MEMORY
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
        new
    }

    /// Whether something may have been evicted unseen from a collection whose oldest documents are these.
    fn has_gap(&self, scan: &[Event]) -> bool {
        let oldest = scan.iter().take(OVERLAP);
        scan.len() < OVERLAP.min(self.ids.len()) || !oldest.clone().all(|event| self.ids.contains(&event.id))
    }
}

/// A document of the collection that is an event.
struct Event {
    id: ObjectId,
    nudge: Nudge,
}

fn events(batch: &RawBatch) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    for document in batch.doc_slices()? {
        let document = document.map_err(StoreError::unexpected)?;
        let event = document.as_document().and_then(|document| {
            let id = document.get_object_id("_id").ok()?;
            Some(Event { id, nudge: Nudge::from_raw(document)? })
        });
        events.extend(event); // what somebody else wrote there is no event
    }
    Ok(events)
}

struct Listener {
    store: Store,
    settings: BusSettings,
    messages: broadcast::Sender<Delivery>,
    counters: Arc<BusCounters>,
    seen: SeenEvents,
    /// Until the first opening: what happened before is loaded, not listened to.
    first: bool,
    /// The last cursor may have heard nothing without our knowing.
    suspect: bool,
    /// The last cursor answered after its scan, so the next may be opened at once.
    progressed: bool,
}

impl Listener {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.settings.backoff.0, self.settings.backoff.1);
        loop {
            self.progressed = false;
            let ended = self.listen().await;
            *lock(&self.counters.listening) = None;
            if let Err(error) = &ended {
                tracing::debug!(error = error as &dyn std::error::Error, "the cursor on events ended");
            }
            if self.progressed {
                backoff.reset();
            } else {
                tokio::time::sleep(backoff.pause(random())).await;
            }
        }
    }

    /// From one opening to its end. Every end is met by another opening, whatever the reason.
    async fn listen(&mut self) -> Result<(), StoreError> {
        let mut cursor = match self.open().await {
            Err(StoreError::Unexpected { .. }) => return self.ensure_collection().await, // not capped
            outcome => outcome?,
        };
        let scan = self.next(&mut cursor).await?.unwrap_or_default();
        if scan.is_empty() {
            return self.ensure_collection().await; // missing or empty: such a cursor ends without an error
        }
        self.counters.opens.fetch_add(1, Ordering::Relaxed);
        let opened = Instant::now();
        *lock(&self.counters.listening) = Some(opened);
        let gap = self.gap(&scan);
        let mut last_beat = opened;
        self.pass_on(scan);
        (self.first, self.suspect) = (false, false);
        if let Some(reason) = gap {
            self.store.metrics().count(&BUS_RESYNCS, [reason]);
            self.counters.resyncs.fetch_add(1, Ordering::Relaxed);
            let _ = self.messages.send((None, BusMessage::Resync));
        }
        loop {
            let Some(batch) = self.next(&mut cursor).await? else { return Ok(()) };
            self.progressed = true;
            if self.pass_on(batch) {
                last_beat = Instant::now();
            }
            if last_beat.elapsed() > self.settings.deaf_after {
                self.counters.deaf.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(event = "bus.deaf", "no beat arrived; reopening the cursor on events");
                self.suspect = true;
                return Ok(());
            }
        }
    }

    /// Why nudges may have been missed before this scan, if they may.
    fn gap(&self, scan: &[Event]) -> Option<&'static str> {
        match self {
            Self { first: true, .. } => Some("start"),
            Self { suspect: true, .. } => Some("deaf"),
            _ => self.seen.has_gap(scan).then_some("gap"),
        }
    }

    async fn open(&self) -> Result<RawBatchCursor, StoreError> {
        let events: Collection<Document> = self.store.bus_client().collection(EVENTS);
        let find = events
            .find(Document::new())
            .cursor_type(CursorType::TailableAwait)
            .max_await_time(self.settings.await_time)
            .batch_size(SCAN_BATCH)
            .read_concern(ReadConcern::local())
            .batch();
        match tokio::time::timeout(self.patience(), find).await {
            Ok(cursor) => Ok(cursor?),
            Err(_) => Err(Outage::Deadline(self.patience()).into()),
        }
    }

    /// The next batch, empty when the await time passed; `None` at the end of the cursor.
    async fn next(&self, cursor: &mut RawBatchCursor) -> Result<Option<Vec<Event>>, StoreError> {
        match tokio::time::timeout(self.patience(), cursor.try_next()).await {
            Ok(batch) => batch?.as_ref().map(events).transpose(),
            Err(_) => Err(Outage::Deadline(self.patience()).into()),
        }
    }

    fn patience(&self) -> Duration {
        self.settings.await_time + Duration::from_secs(5)
    }

    async fn ensure_collection(&self) -> Result<(), StoreError> {
        let made = ensure_collection(&self.store, self.patience()).await;
        if let Err(error @ StoreError::Misconfigured { .. }) = &made {
            tracing::error!(event = "bus.misconfigured", "{error}");
        }
        made
    }

    /// Passes on what is new; answers whether a beat was among it.
    fn pass_on(&mut self, batch: Vec<Event>) -> bool {
        let mut beat = false;
        for Event { id, nudge } in batch {
            if !self.seen.insert(id) || self.first {
                continue;
            }
            tracing::debug!(event = "bus.message", id = %id, kind = nudge.kind, "bus message received");
            if nudge.kind == BEAT {
                beat = true;
                self.note_lag(id);
                continue;
            }
            self.counters.heard.fetch_add(1, Ordering::Relaxed);
            let kind = KINDS.into_iter().find(|kind| *kind == nudge.kind).unwrap_or("other");
            self.store.metrics().count(&BUS_EVENTS, [kind]);
            let _ = self.messages.send((Some(EventId(id)), BusMessage::Nudge(nudge))); // nobody listens: fine
        }
        beat
    }

    fn note_lag(&self, id: ObjectId) {
        if let Some((own, sent)) = *lock(&self.counters.own_beat)
            && own == id
        {
            *lock(&self.counters.lag) = Some(sent.elapsed());
        }
    }
}
