//! The whole database as a dump, as of one moment, and a dump back into a database.
//!
//! # Theory of operation
//! [`Store::dump_to`] reads all collections in one snapshot session, so they fit each other however much is written
//! meanwhile; documents pass through one batch at a time. Of collections whose documents are worth nothing later
//! (nudges, leases, counters of attempts) only the options and indexes are kept.
//!
//! [`Store::load_from`] first leaves a mark, and removes it last. While it is there nobody takes the database for whole
//! (`store/migrate.rs`), and the next attempt begins from nothing; so one that was killed is simply repeated.
//!
//! A restored database has gone back in time. Whoever knows a later revision of it would not find what is different, so
//! it gets another *timeline*, and a snapshot of another timeline is read anew (`services/access/admission.rs`). Its revision
//! makes a leap, so that no revision means two things.

use std::collections::BTreeMap;
use std::io::Write;

use futures_util::TryStreamExt as _;
use mongodb::SessionCursor;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::SessionOptions;

use crate::bus::events::{EVENTS, ensure_collection, random_hex};
use crate::connect::{BACKGROUND, REQUEST};
use crate::dump::{ArchiveWriter, Dump, DumpError, Namespace};
use crate::error::code;
use crate::{Store, StoreError};

/// Says that a restore has begun and not ended.
pub(crate) const MARK: &str = "restoring";
/// Documents that nobody needs later.
const TRANSIENT: [&str; 4] = [EVENTS, "leases", "rates", "replies"];
/// What others refer to comes before them, so that references can be checked on the way.
const FIRST: [&str; 6] = ["cluster", "organizations", "servers", "hosts", "users", "profiles"];
/// What a database that was prepared and never used holds.
const BLANK: [&str; 5] = ["cluster", "migrations", EVENTS, "leases", MARK];
/// How far the revision leaps at a restore: further than anybody changes between a backup and its use.
const LEAP: i64 = 1_000_000;
const BATCH: u32 = 1000;
/// Documents are inserted in batches of about so many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const SNAPSHOT_TOO_OLD: i32 = 239;

/// How many documents of each collection were copied.
pub type Counts = BTreeMap<String, u64>;

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it is read from.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// What it is written to.
    #[error("the copy cannot be written")]
    Write(#[source] std::io::Error),
    /// There is something in the database that would be lost.
    #[error("the database is not empty ({collection} holds documents), nothing was changed")]
    NotEmpty {
        /// Where something was found.
        collection: String,
    },
    /// A dump of something else.
    #[error("this is no copy of a Postern database: {0}")]
    Foreign(&'static str),
}

impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Writes an archive of the database as it is at one moment.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] also when the database forgets the moment before all is read.
    pub async fn dump_to<W: Write>(&self, to: W) -> Result<(W, Counts), CopyError> {
        let namespaces = self.deadline(BACKGROUND, self.namespaces()).await?;
        let info = self.deadline(REQUEST, self.database().run_command(doc! { "buildInfo": 1 })).await?;
        let version = info.get_str("version").unwrap_or("unknown");
        let mut archive = ArchiveWriter::begin(to, version, namespaces).map_err(CopyError::Write)?;
        let snapshot = SessionOptions::builder().snapshot(true).build();
        let mut session = self.database().client().start_session().with_options(snapshot).await?;
        let mut counts = Counts::new();
        while let Some(name) = archive.current().map(|namespace| namespace.collection.clone()) {
            let mut documents = 0;
            if !TRANSIENT.contains(&name.as_str()) {
                let collection = self.rows::<RawDocumentBuf>(&name);
                let find = async { collection.find(doc! {}).batch_size(BATCH).session(&mut session).await };
                let mut cursor: SessionCursor<RawDocumentBuf> =
                    self.deadline(BACKGROUND, async { find.await.map_err(or_too_old) }).await?;
                loop {
                    let next = async { cursor.next(&mut session).await.transpose().map_err(or_too_old) };
                    let Some(document) = self.deadline(BACKGROUND, next).await? else { break };
                    archive.document(&document).map_err(CopyError::Write)?;
                    documents += 1;
                }
            }
            archive.end_collection().map_err(CopyError::Write)?;
            counts.insert(name, documents);
        }
        Ok((archive.into_inner(), counts))
    }

    /// The collections of the database with their options and indexes.
    async fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        let database = self.database();
        let list = doc! { "listCollections": 1, "filter": { "type": "collection" } };
        let listed: Vec<Document> = database.run_cursor_command(list).await?.try_collect().await?;
        let mut namespaces = Vec::with_capacity(listed.len());
        for found in listed {
            let name = found.get_str("name").unwrap_or_default();
            if name.starts_with("system.") || name.starts_with(crate::check::PREFIX) || name == MARK {
                continue;
            }
            let indexes = database.run_cursor_command(doc! { "listIndexes": name }).await?.try_collect().await?;
            namespaces.push(Namespace {
                database: database.name().to_owned(),
                collection: name.to_owned(),
                options: found.get_document("options").cloned().unwrap_or_default(),
                indexes,
            });
        }
        namespaces.sort_by_cached_key(|namespace| {
            let place = FIRST.iter().position(|first| *first == namespace.collection);
            (place.unwrap_or(FIRST.len()), namespace.collection.clone())
        });
        Ok(namespaces)
    }

    /// Whether a restore of this database was begun and did not end.
    pub async fn is_half_restored(&self) -> Result<bool, StoreError> {
        let mark = self.rows::<Document>(MARK);
        Ok(self.deadline(REQUEST, mark.find_one(doc! {})).await?.is_some())
    }

    /// Puts the dump in the place of what the database holds, which must be nothing unless `replace` says so. The
    /// documents of the collections named by `without` are left out.
    ///
    /// # Errors
    /// [`CopyError::NotEmpty`] and [`CopyError::Foreign`] before anything is changed. After any other the database is
    /// half restored, and the next attempt begins anew.
    pub async fn load_from(&self, dump: &mut Dump, without: &[&str], replace: bool) -> Result<Counts, CopyError> {
        let source = one_cluster(dump)?;
        if !replace
            && !self.is_half_restored().await?
            && let Some(collection) = self.first_that_holds_something().await?
        {
            return Err(CopyError::NotEmpty { collection });
        }
        let mark = self.rows::<Document>(MARK);
        let set = doc! { "$set": { "begun": true } };
        self.write(REQUEST, mark.update_one(doc! { "_id": MARK }, set).upsert(true)).await?;
        self.drop_all_but_the_mark().await?;
        for namespace in dump.namespaces().iter().filter(|namespace| namespace.database == source) {
            self.create(namespace).await?;
        }
        let counts = self.insert_all(dump, &source, without).await?;
        self.begin_timeline().await?;
        ensure_collection(self, BACKGROUND).await?;
        self.write(BACKGROUND, mark.drop()).await?;
        Ok(counts)
    }

    async fn first_that_holds_something(&self) -> Result<Option<String>, StoreError> {
        let database = self.database();
        let look = async {
            for name in database.list_collection_names().await? {
                let ours = name.starts_with("system.") || name.starts_with(crate::check::PREFIX);
                let filter = match name.as_str() {
                    "cluster" => doc! { "revision": { "$ne": 0 } },
                    _ => doc! {},
                };
                let blank = name != "cluster" && BLANK.contains(&name.as_str());
                if !ours && !blank && database.collection::<Document>(&name).find_one(filter).await?.is_some() {
                    return Ok::<_, Error>(Some(name));
                }
            }
            Ok(None)
        };
        self.deadline(BACKGROUND, look).await
    }

    async fn drop_all_but_the_mark(&self) -> Result<(), StoreError> {
        let database = self.database();
        let names = self.deadline(REQUEST, database.list_collection_names()).await?;
        for name in names.iter().filter(|name| *name != MARK && !name.starts_with("system.")) {
            self.write(BACKGROUND, database.collection::<Document>(name).drop()).await?;
        }
        Ok(())
    }

    async fn create(&self, namespace: &Namespace) -> Result<(), StoreError> {
        let mut command = doc! { "create": &namespace.collection };
        // What older servers and tools wrote and a server no longer takes.
        let kept = |key: &String| !matches!(key.as_str(), "autoIndexId" | "create" | "temp");
        command.extend(namespace.options.clone().into_iter().filter(|(key, _)| kept(key)));
        self.write(BACKGROUND, self.database().run_command(command)).await?;
        let indexes = namespace.indexes.iter().filter(|index| index.get_str("name").is_ok_and(|name| name != "_id_"));
        let indexes: Vec<Bson> = indexes
            .map(|index| index.clone().into_iter().filter(|(key, _)| key != "ns").collect::<Document>().into())
            .collect();
        if !indexes.is_empty() {
            let command = doc! { "createIndexes": &namespace.collection, "indexes": indexes };
            self.write(BACKGROUND, self.database().run_command(command)).await?;
        }
        Ok(())
    }

    async fn insert_all(&self, dump: &mut Dump, source: &str, without: &[&str]) -> Result<Counts, CopyError> {
        let wanted: Vec<Option<String>> = dump
            .namespaces()
            .iter()
            .map(|space| (space.database == source).then(|| space.collection.clone()))
            .collect();
        let left_out = |name: &str| TRANSIENT.contains(&name) || without.contains(&name);
        let mut counts: Counts = wanted.iter().flatten().map(|name| (name.clone(), 0)).collect();
        let mut batch = Batch::default();
        while let Some((at, document)) = dump.next_document()? {
            let Some(name) = wanted.get(at).and_then(Option::as_ref).filter(|name| !left_out(name)) else { continue };
            if batch.is_full() || batch.collection != *name {
                self.insert(&mut batch).await?;
                batch.collection.clone_from(name);
            }
            *counts.entry(name.clone()).or_default() += 1;
            batch.bytes += document.as_bytes().len();
            batch.documents.push(document);
        }
        self.insert(&mut batch).await?;
        Ok(counts)
    }

    async fn insert(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let documents = std::mem::take(&mut batch.documents);
        batch.bytes = 0;
        if !documents.is_empty() {
            let collection = self.rows::<RawDocumentBuf>(&batch.collection);
            self.write(BACKGROUND, collection.insert_many(documents)).await?;
        }
        Ok(())
    }

    async fn begin_timeline(&self) -> Result<(), CopyError> {
        let leap = doc! { "$add": ["$revision", Bson::Int64(LEAP)] };
        let anew = vec![doc! { "$set": { "timeline": random_hex()?, "revision": leap } }];
        let cluster = self.rows::<Document>("cluster");
        let changed = self.write(REQUEST, cluster.update_one(doc! { "_id": "cluster" }, anew)).await?;
        if changed.matched_count == 0 { Err(CopyError::Foreign("it names no cluster")) } else { Ok(()) }
    }
}

#[derive(Default)]
struct Batch {
    collection: String,
    documents: Vec<RawDocumentBuf>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.documents.len() >= BATCH as usize || self.bytes >= BATCH_BYTES
    }
}

/// The name of the one database in the dump that is a cluster's.
fn one_cluster(dump: &Dump) -> Result<String, CopyError> {
    let named = |wanted: &str| {
        let spaces = dump.namespaces().iter().filter(move |space| space.collection == wanted);
        spaces.map(|space| space.database.clone()).collect::<Vec<_>>()
    };
    let clusters: Vec<String> =
        named("cluster").into_iter().filter(|name| named("migrations").contains(name)).collect();
    match clusters.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(CopyError::Foreign("it has no collections cluster and migrations")),
        _ => Err(CopyError::Foreign("it holds several; give the folder of one")),
    }
}

/// What it means when a long read outlives its moment.
pub(crate) fn or_too_old(error: Error) -> StoreError {
    if code(&error) == Some(SNAPSHOT_TOO_OLD) {
        return StoreError::mendable(
            "the database forgot the moment that was to be read before all was read",
            "raise its parameter minSnapshotHistoryWindowInSeconds (300 by default) and begin again",
        );
    }
    error.into()
}
