//! How policy changes: one transaction that raises the cluster's revision, writes documents with that revision and
//! records the act.
//!
//! The transaction's first write is the revision counter. Whoever holds it is alone until the commit, so **commit
//! order is revision order**, and what the transaction reads cannot change under it. Inside one process the changes
//! queue for it, because a database answers a conflict with an error, not with a place in a queue; between processes
//! the loser starts again.
//!
//! # The end of a change
//! What is recorded is written last, as the next links of this process's chain ([`domain::chain`]), and one
//! change at a time does so. From there on the change belongs to a task of its own: a caller that goes away in the
//! middle of a commit does not leave it half done. Where nobody can tell whether a commit happened, the chain ends, and
//! the next entry begins another one; so no link is ever made behind an entry that may not be there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use tracing::Instrument as _;

use crate::access::change::{Files, change};
use crate::connect::span_of;
use crate::entity::{Entity, date, decode, encode};
use crate::error::Outage;
use crate::evidence::entry::AuditDoc;
use crate::pause::pause;
use crate::{Store, StoreError};
use domain::access::Change;
use domain::audit::AuditEntry;
use domain::chain::Head;
use domain::ids::{ChainId, Id as _};
use domain::{Revised, Revision};
use metrics::catalogue::AUDIT_EVENTS;
use runtime::random;

/// How long a change may take before the database counts as away.
const PATIENCE: Duration = Duration::from_secs(10);

/// A commit that began just in time has so long, counted from the beginning of the change.
const LONGEST: Duration = Duration::from_secs(15);

/// What a transaction does before anything else.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// It raises the revision, and so is alone.
    raises: bool,
    /// It is not refused while the cluster is paused.
    though_paused: bool,
    /// It is rolled back at its end, and gives what it would have written.
    dry_run: bool,
}

/// A change of policy like any other.
const CHANGE: Rules = Rules { raises: true, though_paused: false, dry_run: false };

/// An open change of policy. A handle: clones speak to the same transaction.
#[derive(Clone)]
pub struct PolicyChange(Arc<Inner>);

struct Inner {
    store: Store,
    session: Mutex<ClientSession>,
    rev: Revision,
    entries: Mutex<Vec<AuditEntry>>,
    wrote: AtomicBool,
    conflicted: AtomicBool,
    /// Of a dry run: the changes that a snapshot would get.
    told: Option<std::sync::Mutex<Vec<Change>>>,
}

/// Does what goes on when its caller is gone, and ends by its own limit.
async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, StoreError> {
    #[expect(clippy::disallowed_methods, reason = "the caller's end is not its end, and it has a limit")]
    let task = tokio::spawn(work.in_current_span());
    task.await.map_err(StoreError::unexpected)
}

/// This process's turn to change policy; what is no policy needs none.
type Turn = Option<OwnedMutexGuard<()>>;

/// How a change ended.
enum Ended {
    /// It is committed.
    Committed,
    /// The database gave it up, for another one's sake.
    GivenUp,
    /// It failed, or nobody can tell.
    Failed(StoreError),
}

impl Store {
    /// Runs `change` in a transaction of its own. It may run several times and must have no effect but through its
    /// handle. If it writes nothing, nothing is committed and the revision stays; else the result comes with the new
    /// revision.
    ///
    /// # Errors
    /// What `change` returns, and [`StoreError::Unavailable`] when the database gives no certain answer in time.
    pub async fn change<T, E, F, Fut>(&self, change: F) -> Result<(T, Option<Revision>), E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let turn = self.policy_turn().lock_owned().await;
        self.transact(CHANGE, Some(turn), change).await
    }

    /// Runs `change` like [`Self::change`] and gives it up at its end. What it would have written comes back in the form
    /// in which a snapshot takes it in, in that order.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn try_change<T, E, F, Fut>(&self, change: F) -> Result<(T, Vec<Change>), E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let _turn = self.policy_turn().lock_owned().await;
        let began = Instant::now();
        loop {
            let tx = self.begin(Rules { dry_run: true, ..CHANGE }, began).await?;
            let result = change(tx.clone()).await;
            tx.abort().await;
            if !tx.0.conflicted.load(Ordering::Relaxed) || began.elapsed() >= PATIENCE {
                return result.map(|value| (value, tx.told()));
            }
        }
    }

    /// Like [`Self::change`], while the cluster is paused too: for what begins and ends a pause.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn change_though_paused<T, E, F, Fut>(&self, change: F) -> Result<(T, Option<Revision>), E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let turn = self.policy_turn().lock_owned().await;
        self.transact(Rules { though_paused: true, ..CHANGE }, Some(turn), change).await
    }

    /// Like [`Self::note`], while the cluster is paused too: for the audit log of its upkeep.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn upkeep<E, F, Fut>(&self, change: F) -> Result<(), E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: From<StoreError>,
    {
        self.transact(Rules { raises: false, though_paused: true, ..CHANGE }, None, change).await.map(drop)
    }

    /// Like [`Self::change`], for what is not policy and yet must stand or fall with its audit entry: no revision is
    /// raised, nobody queues, and the handle's revision means nothing.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn note<T, E, F, Fut>(&self, change: F) -> Result<T, E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        Ok(self.transact(Rules { raises: false, ..CHANGE }, None, change).await?.0)
    }

    async fn transact<T, E, F, Fut>(&self, rules: Rules, turn: Turn, change: F) -> Result<(T, Option<Revision>), E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let began = Instant::now();
        let outcome = self.transact_from(began, rules, turn, change).instrument(span_of("transaction")).await;
        self.note_duration("transaction", began);
        outcome
    }

    async fn transact_from<T, E, F, Fut>(
        &self,
        began: Instant,
        rules: Rules,
        mut turn: Turn,
        change: F,
    ) -> Result<(T, Option<Revision>), E>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        loop {
            let tx = self.begin(rules, began).await?;
            let result = change(tx.clone()).await;
            if tx.is_given_up(began) {
                tx.abort().await;
                continue;
            }
            let value = match result {
                Ok(value) if tx.0.wrote.load(Ordering::Relaxed) => value,
                unchanged => {
                    tx.abort().await;
                    return unchanged.map(|value| (value, None));
                }
            };
            let rev = tx.rev();
            let (ended, kept) = detached(async move { (tx.finish(began).await, turn) }).await?;
            match ended {
                Ended::Committed => return Ok((value, Some(rev))),
                Ended::GivenUp => turn = kept,
                Ended::Failed(error) => {
                    self.note_trouble(&error);
                    return Err(error.into());
                }
            }
        }
    }

    /// Opens a transaction, in a task of its own: the driver does not end a transaction whose first command is given up
    /// on its way, and whoever comes next would have to wait until the server does.
    async fn begin(&self, rules: Rules, began: Instant) -> Result<PolicyChange, StoreError> {
        let store = self.clone();
        let limit = tokio::time::Instant::from_std(began) + LONGEST;
        let opened = detached(async move { tokio::time::timeout_at(limit, store.open(rules, began)).await }).await?;
        opened.unwrap_or_else(|_elapsed| Err(Outage::Deadline(LONGEST).into()))
    }

    async fn open(&self, rules: Rules, began: Instant) -> Result<PolicyChange, StoreError> {
        loop {
            let mut session = self.database().client().start_session().await?;
            session.start_transaction().await?;
            match self.enter(rules, &mut session).await {
                Ok((_, true)) if !rules.though_paused => {
                    drop(session.abort_transaction().await);
                    return Err(StoreError::Paused);
                }
                Ok((rev, _)) => {
                    return Ok(PolicyChange(Arc::new(Inner {
                        store: self.clone(),
                        session: Mutex::new(session),
                        rev,
                        entries: Mutex::default(),
                        wrote: AtomicBool::new(false),
                        conflicted: AtomicBool::new(false),
                        told: rules.dry_run.then(std::sync::Mutex::default),
                    })));
                }
                Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) && began.elapsed() < PATIENCE => {
                    // Somebody in another process holds the counter; a change takes some milliseconds.
                    drop(session.abort_transaction().await);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The revision that the transaction has from now on, and whether the cluster is paused.
    async fn enter(&self, rules: Rules, session: &mut ClientSession) -> Result<(Revision, bool), Error> {
        let cluster = self.rows::<RawDocumentBuf>("cluster");
        let which = doc! { "_id": "cluster" };
        let found = if rules.raises {
            let raise = cluster.find_one_and_update(which, doc! { "$inc": { "revision": 1_i64 } });
            raise.return_document(mongodb::options::ReturnDocument::After).session(session).await?
        } else {
            cluster.find_one(which).session(session).await?
        };
        let revision = |found: &RawDocumentBuf| found.get_i64("revision").ok().map(Revision);
        let missing = || Error::custom("the cluster document is missing: run `postern migrate apply`");
        let found = found.as_ref().and_then(|found| Some((revision(found)?, pause(found).is_some())));
        found.ok_or_else(missing)
    }
}

impl PolicyChange {
    /// The revision that this change will have.
    pub fn rev(&self) -> Revision {
        self.0.rev
    }

    /// One noun by its key, as this transaction sees it.
    pub async fn find<E: Entity>(&self, key: &E::Key) -> Result<Option<Revised<E>>, StoreError> {
        self.find_where::<E>(doc! { "_id": key.to_string() }).await
    }

    /// The first noun that matches.
    pub(super) async fn find_where<E: Entity>(&self, filter: Document) -> Result<Option<Revised<E>>, StoreError> {
        let mut session = self.session().await;
        let found = self.0.store.collection::<E>().find_one(filter).session(&mut *session).await;
        self.noted(found)?.as_ref().map(decode::<E>).transpose()
    }

    /// All nouns that match.
    pub(super) async fn all_where<E: Entity>(&self, filter: Document) -> Result<Vec<Revised<E>>, StoreError> {
        let mut session = self.session().await;
        let found = self.0.store.collection::<E>().find(filter).session(&mut *session).await;
        let mut cursor = self.noted(found)?;
        let mut rows = Vec::new();
        while let Some(row) = self.noted(cursor.next(&mut session).await.transpose())? {
            rows.push(decode::<E>(&row)?);
        }
        Ok(rows)
    }

    /// How many nouns match, counting no further than `limit`.
    pub(super) async fn count_where<E: Entity>(&self, filter: Document, limit: u64) -> Result<u64, StoreError> {
        let mut session = self.session().await;
        let counted = self.0.store.collection::<E>().count_documents(filter).limit(limit).session(&mut *session).await;
        self.noted(counted)
    }

    /// Adds a noun.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a unique index already holds one like it.
    pub async fn insert<E: Entity>(&self, entity: &E) -> Result<(), StoreError> {
        let row = encode(entity, self.rev())?;
        self.tell(E::COLLECTION, &row)?;
        self.insert_into(E::COLLECTION, row).await
    }

    /// Adds several nouns of a kind.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a unique index already holds one like one of them.
    pub async fn insert_all<E: Entity>(&self, entities: &[E]) -> Result<(), StoreError> {
        let rows = entities.iter().map(|entity| encode(entity, self.rev())).collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut session = self.session().await;
        let inserted = self.0.store.collection::<E>().insert_many(rows).session(&mut *session).await;
        self.written(inserted).map(drop)
    }

    /// Puts a noun in the place of the one with the same key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a unique index already holds one like it.
    pub async fn replace<E: Entity>(&self, entity: &E) -> Result<(), StoreError> {
        let row = encode(entity, self.rev())?;
        self.tell(E::COLLECTION, &row)?;
        let mut session = self.session().await;
        let filter = doc! { "_id": entity.key().to_string() };
        let replaced = self.0.store.collection::<E>().replace_one(filter, row).session(&mut *session).await;
        self.written(replaced).map(drop)
    }

    /// Sets fields of all nouns that match, each to what an expression makes of it, and answers how many there were.
    pub(super) async fn update_all<E: Entity>(&self, filter: Document, mut set: Document) -> Result<u64, StoreError> {
        set.insert("rev", self.rev().0);
        let mut session = self.session().await;
        let update = vec![doc! { "$set": set }];
        let updated = self.0.store.collection::<E>().update_many(filter, update).session(&mut *session).await;
        Ok(self.written(updated)?.matched_count)
    }

    /// The different values of a field among the nouns that match.
    pub(super) async fn distinct<E: Entity>(&self, field: &str, filter: Document) -> Result<Vec<Bson>, StoreError> {
        let mut session = self.session().await;
        let found = self.0.store.collection::<E>().distinct(field, filter).session(&mut *session).await;
        self.noted(found)
    }

    /// Removes a noun and leaves a tombstone, so that every snapshot learns of it.
    pub async fn delete<E: Entity>(&self, key: &E::Key, now: Timestamp) -> Result<(), StoreError> {
        let key = key.to_string();
        {
            let mut session = self.session().await;
            let deleted = self.0.store.collection::<E>().delete_one(doc! { "_id": &key }).session(&mut *session).await;
            self.written(deleted)?;
        }
        let tombstone = doc! { "collection": E::COLLECTION, "key": key, "rev": self.rev().0, "at": date(now) };
        let row = RawDocumentBuf::try_from(&tombstone).map_err(Error::from)?;
        self.tell("tombstones", &row)?;
        self.insert_into("tombstones", row).await
    }

    /// Records the act that this change is. It is written when the change is complete.
    pub async fn record(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.0.wrote.store(true, Ordering::Relaxed);
        self.0.entries.lock().await.push(entry.clone());
        Ok(())
    }

    /// Adds a row that is no noun of the policy.
    pub(super) async fn insert_into(&self, collection: &str, row: RawDocumentBuf) -> Result<(), StoreError> {
        let mut session = self.session().await;
        let collection = self.0.store.rows::<RawDocumentBuf>(collection);
        let inserted = collection.insert_one(row).session(&mut *session).await;
        self.written(inserted).map(drop)
    }

    /// Changes the row that matches, or makes it, of rows that are no nouns of the policy.
    pub(super) async fn upsert_row(
        &self,
        collection: &str,
        filter: Document,
        update: Document,
    ) -> Result<(), StoreError> {
        let mut session = self.session().await;
        let collection = self.0.store.rows::<Document>(collection);
        let updated = collection.update_one(filter, update).upsert(true).session(&mut *session).await;
        self.written(updated).map(drop)
    }

    /// The first row that matches, of rows that are no nouns of the policy.
    pub(super) async fn find_row(&self, collection: &str, filter: Document) -> Result<Option<Document>, StoreError> {
        let mut session = self.session().await;
        let collection = self.0.store.rows::<Document>(collection);
        let found = collection.find_one(filter).session(&mut *session).await;
        self.noted(found)
    }

    /// All rows that match, of rows that are no nouns of the policy.
    pub(super) async fn find_rows(&self, collection: &str, filter: Document) -> Result<Vec<Document>, StoreError> {
        let mut session = self.session().await;
        let collection = self.0.store.rows::<Document>(collection);
        let found = collection.find(filter).session(&mut *session).await;
        let rows = self.noted(found)?.stream(&mut session).try_collect().await;
        self.noted(rows)
    }

    /// Changes the rows that match, of rows that are no nouns of the policy.
    pub(super) async fn update_rows(
        &self,
        collection: &str,
        filter: Document,
        update: Document,
    ) -> Result<(), StoreError> {
        let mut session = self.session().await;
        let collection = self.0.store.rows::<Document>(collection);
        let updated = collection.update_many(filter, update).session(&mut *session).await;
        self.written(updated).map(drop)
    }

    /// Removes rows that are no nouns of the policy, and answers how many there were.
    pub(super) async fn delete_rows(&self, collection: &str, filter: Document) -> Result<u64, StoreError> {
        let mut session = self.session().await;
        let collection = self.0.store.rows::<RawDocumentBuf>(collection);
        let deleted = collection.delete_many(filter).session(&mut *session).await;
        Ok(self.written(deleted)?.deleted_count)
    }

    /// Changes the cluster's own document.
    pub(super) async fn update_cluster(&self, update: Document) -> Result<(), StoreError> {
        let mut session = self.session().await;
        let cluster = self.0.store.rows::<Document>("cluster");
        let updated = cluster.update_one(doc! { "_id": "cluster" }, update).session(&mut *session).await;
        self.written(updated).map(drop)
    }

    /// Notes what a row tells, if that is all that becomes of it.
    fn tell(&self, collection: &str, row: &RawDocumentBuf) -> Result<(), StoreError> {
        if let Some(told) = &self.0.told {
            told.lock().unwrap_or_else(PoisonError::into_inner).extend(change(collection, row, &mut Files::default())?);
        }
        Ok(())
    }

    fn told(&self) -> Vec<Change> {
        let told = self.0.told.as_ref().map(|told| told.lock().unwrap_or_else(PoisonError::into_inner));
        told.map(|mut told| std::mem::take(&mut *told)).unwrap_or_default()
    }

    async fn session(&self) -> MutexGuard<'_, ClientSession> {
        self.0.session.lock().await
    }

    fn written<T>(&self, result: Result<T, Error>) -> Result<T, StoreError> {
        self.0.wrote.store(true, Ordering::Relaxed);
        self.noted(result)
    }

    /// Remembers that the server gave the transaction up, so that the change runs again.
    fn noted<T>(&self, result: Result<T, Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let passing = error.contains_label(TRANSIENT_TRANSACTION_ERROR);
            let error = StoreError::from(error);
            if passing {
                self.0.conflicted.store(true, Ordering::Relaxed);
            } else {
                self.0.store.note_trouble(&error);
            }
            error
        })
    }

    /// Whether the database gave the transaction up, and there is time for another one.
    fn is_given_up(&self, began: Instant) -> bool {
        self.0.conflicted.load(Ordering::Relaxed) && began.elapsed() < PATIENCE
    }

    /// Writes what was recorded, and commits; nobody waits for it longer than [`LONGEST`].
    async fn finish(self, began: Instant) -> Ended {
        let limit = tokio::time::Instant::from_std(began) + LONGEST;
        let ended = tokio::time::timeout_at(limit, self.record_and_end(began)).await;
        ended.unwrap_or_else(|_elapsed| Ended::Failed(Outage::Deadline(LONGEST).into()))
    }

    async fn record_and_end(&self, began: Instant) -> Ended {
        let entries = std::mem::take(&mut *self.0.entries.lock().await);
        if entries.is_empty() {
            return self.end(began).await;
        }
        let mut trail = self.0.store.trail().lock().await;
        let before = *trail;
        let head = match self.link(&entries, before).await {
            Ok(head) => head,
            Err(error) => {
                self.abort().await;
                return if self.is_given_up(began) { Ended::GivenUp } else { Ended::Failed(error) };
            }
        };
        // Until it is known how the commit ended, nothing may be linked to either.
        *trail = None;
        let ended = self.end(began).await;
        match ended {
            Ended::Committed => {
                *trail = head;
                self.count(&entries);
            }
            Ended::GivenUp => *trail = before,
            Ended::Failed(_) => {}
        }
        ended
    }

    fn count(&self, entries: &[AuditEntry]) {
        for entry in entries {
            let class = entry.action.split('.').next().unwrap_or_default();
            self.0.store.metrics().count(&AUDIT_EVENTS, [class]);
        }
    }

    /// Writes entries behind the newest one of this process's chain; answers the newest then.
    async fn link(&self, entries: &[AuditEntry], mut head: Option<Head>) -> Result<Option<Head>, StoreError> {
        let mut docs = Vec::with_capacity(entries.len());
        for entry in entries {
            let chain = head.map_or_else(|| ChainId::from_parts(entry.at, random::u128()), |head| head.chain);
            let (doc, next) = AuditDoc::linked(entry, chain, head.as_ref())?;
            docs.push(doc);
            head = Some(next);
        }
        let mut session = self.session().await;
        let trail = self.0.store.evidence().audit().clone_with_type::<AuditDoc>();
        let inserted = trail.insert_many(docs).session(&mut *session).await;
        self.written(inserted)?;
        Ok(head)
    }

    async fn end(&self, began: Instant) -> Ended {
        match self.commit(began).await {
            Ok(()) => Ended::Committed,
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) && began.elapsed() < PATIENCE => {
                Ended::GivenUp
            }
            Err(error) => Ended::Failed(error.into()),
        }
    }

    async fn abort(&self) {
        // A transaction that is not aborted here is aborted by the server when its session times out.
        drop(self.session().await.abort_transaction().await);
    }

    async fn commit(&self, began: Instant) -> Result<(), Error> {
        let mut session = self.session().await;
        loop {
            match session.commit_transaction().await {
                Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) && began.elapsed() < PATIENCE => {
                }
                done => return done,
            }
        }
    }
}
