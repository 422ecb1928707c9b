//! What the audit key has signed about the audit log, and the audit log as a whole.

use crate::areas::{Evidence, EvidenceChange};
use futures_util::TryStreamExt as _;
use mongodb::action::Find;
use mongodb::bson::{Binary, Bson, doc};
use mongodb::options::SessionOptions;
use mongodb::{ClientSession, Collection, SessionCursor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::StoreError;
use crate::connect::BACKGROUND;
use crate::dump::backup::or_too_old;
use crate::entity::binary;
use crate::evidence::audit::{AuditFilter, entry};
use domain::audit::AuditEntry;
use domain::chain::{Head, Signed};

const STATEMENTS: &str = "audit_statements";
pub(crate) const SIGNED: &str = "audit_heads";
const KEYS: &str = "audit_keys";
const BATCH: u32 = 1000;

/// The audit key as it rests: its private half is sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeyDoc {
    #[serde(rename = "_id")]
    id: String,
    public: Binary,
    sealed: Binary,
}

/// The audit key as it rests.
#[derive(Debug, Clone)]
pub struct StoredAuditKey {
    /// The public half.
    pub public: Vec<u8>,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
}

/// The id of the one key; a cluster keeps it for good, so that every export can be verified by one file.
pub const AUDIT_KEY: &str = "audit";

/// The stored form of a statement.
#[derive(Serialize, Deserialize)]
struct StatementDoc {
    #[serde(rename = "_id")]
    seq: i64,
    signed: Signed,
}

/// The stored form of a head that was signed.
#[derive(Deserialize)]
struct HeadDoc {
    head: Head,
}

/// One thing that an audit log is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum TrailItem {
    /// A statement; all come first.
    Statement(Signed),
    /// An entry.
    Entry(Box<AuditEntry>),
}

impl Evidence<'_> {
    /// The audit key, if there is one yet.
    pub async fn audit_key(self) -> Result<Option<StoredAuditKey>, StoreError> {
        let keys = self.rows::<KeyDoc>(KEYS);
        let found = keys.find_one(doc! { "_id": AUDIT_KEY }).await?;
        Ok(found.map(|key| StoredAuditKey { public: key.public.bytes, sealed: key.sealed.bytes }))
    }

    /// The newest statement.
    pub async fn last_statement(self) -> Result<Option<Signed>, StoreError> {
        Ok(self.statements().find_one(doc! {}).sort(doc! { "_id": -1 }).await?.map(|doc| doc.signed))
    }

    /// Whether anybody has ever signed for the audit log, as far as anything here says so.
    pub async fn is_trail_signed(self) -> Result<bool, StoreError> {
        let signed = self.rows::<HeadDoc>(SIGNED);
        Ok(self.last_statement().await?.is_some() || signed.find_one(doc! {}).await?.is_some())
    }

    /// The heads of all chains, as they are in the audit log.
    pub async fn heads(self) -> Result<Vec<Head>, StoreError> {
        let pipeline = [
            doc! { "$match": { "link.seq": { "$exists": true } } },
            doc! { "$sort": { "link.chain": 1, "link.seq": -1 } },
            doc! { "$group": { "_id": "$link.chain", "head": { "$first": "$link" } } },
            doc! { "$replaceRoot": { "newRoot": "$head" } },
        ];
        Ok(self.audit().aggregate(pipeline).with_type::<Head>().await?.try_collect().await?)
    }

    /// The newest heads that a statement has named, those of chains that retention deleted left out.
    pub async fn signed_heads(self) -> Result<Vec<Head>, StoreError> {
        let signed = self.rows::<HeadDoc>(SIGNED);
        let rows: Vec<HeadDoc> = signed.find(doc! {}).await?.try_collect().await?;
        Ok(rows.into_iter().map(|row| row.head).collect())
    }

    /// Sends the audit log as of one moment: all of it, or the entries that a filter lets through. Ends early if nobody
    /// receives any more.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] also when the database forgets the moment before all is read.
    pub async fn read_trail(
        self,
        filter: Option<&AuditFilter>,
        to: &mpsc::Sender<TrailItem>,
    ) -> Result<(), StoreError> {
        let snapshot = SessionOptions::builder().snapshot(true).build();
        let mut session = self.database().client().start_session().with_options(snapshot).await?;
        let entry = |row| Ok(TrailItem::Entry(Box::new(entry(row)?)));
        let (statements, audit) = (self.statements(), self.audit());
        if let Some(filter) = filter {
            // In the order of the list.
            let found = audit.find(filter.query()).sort(doc! { "_id": -1 });
            return self.send(&mut session, found, to, entry).await;
        }
        // In the order in which it is verified.
        let signed = statements.find(doc! {}).sort(doc! { "_id": 1 });
        self.send(&mut session, signed, to, |doc| Ok(TrailItem::Statement(doc.signed))).await?;
        let before = audit.find(doc! { "link": Bson::Null }).sort(doc! { "_id": 1 });
        self.send(&mut session, before, to, entry).await?;
        let linked = audit.find(doc! { "link.seq": { "$exists": true } });
        self.send(&mut session, linked.sort(doc! { "link.chain": 1, "link.seq": 1 }), to, entry).await
    }

    async fn send<T: DeserializeOwned + Send + Sync>(
        self,
        session: &mut ClientSession,
        find: Find<'_, T>,
        to: &mpsc::Sender<TrailItem>,
        item: impl Fn(T) -> Result<TrailItem, StoreError>,
    ) -> Result<(), StoreError> {
        let found = async { find.batch_size(BATCH).session(&mut *session).await.map_err(or_too_old) };
        let mut cursor: SessionCursor<T> = self.deadline(BACKGROUND, found).await?;
        loop {
            let next = async { cursor.next(session).await.transpose().map_err(or_too_old) };
            let Some(row) = self.deadline(BACKGROUND, next).await? else { return Ok(()) };
            if to.send(item(row)?).await.is_err() {
                return Ok(());
            }
        }
    }

    fn statements(self) -> Collection<StatementDoc> {
        self.rows(STATEMENTS)
    }
}

impl EvidenceChange<'_> {
    /// Writes the audit key down.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there is one.
    pub async fn insert_audit_key(self, key: &StoredAuditKey) -> Result<(), StoreError> {
        let row = KeyDoc { id: AUDIT_KEY.to_owned(), public: binary(&key.public), sealed: binary(&key.sealed) };
        self.insert_doc(KEYS, &row).await
    }

    /// Adds a statement behind the one that it names as the last.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another process was quicker.
    pub async fn insert_statement(self, signed: &Signed) -> Result<(), StoreError> {
        let seq = i64::try_from(signed.statement.seq).map_err(StoreError::unexpected)?;
        self.insert_doc(STATEMENTS, &StatementDoc { seq, signed: signed.clone() }).await?;
        for head in &signed.statement.heads {
            let row = mongodb::bson::serialize_to_bson(head).map_err(mongodb::error::Error::from)?;
            let which = doc! { "_id": head.chain.to_string() };
            self.upsert_row(SIGNED, which, doc! { "$set": { "head": row } }).await?;
        }
        Ok(())
    }

    async fn insert_doc(self, collection: &str, row: &impl Serialize) -> Result<(), StoreError> {
        let row = mongodb::bson::serialize_to_raw_document_buf(row).map_err(mongodb::error::Error::from)?;
        self.insert_into(collection, row).await
    }
}
