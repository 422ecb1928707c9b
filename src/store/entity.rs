//! What all policy documents have in common: an `_id`, a `rev`, and a private form that is converted on the way.
//!
//! A document that does not convert is [`StoreError::Corrupt`] with its collection and id; it is never skipped, since
//! a skipped revocation would be a door left open.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::str::FromStr;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{Collation, CollationStrength};
use mongodb::{Collection, Cursor, bson};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Cause;
use crate::order::{FieldOrder, Order, OrderBy};
use crate::{Store, StoreError};
use domain::{Revised, Revision};

/// A noun of the policy and its form in the database.
pub trait Entity: Sized + Send {
    /// The collection that holds it.
    const COLLECTION: &'static str;
    /// What `_id` holds, in text.
    type Key: Display + Send;
    /// The stored form.
    type Doc: Serialize + DeserializeOwned + Send;
    /// The field that it is ordered by where it is ordered by name, and whether the database is to look past the
    /// difference between capital and small letters in it.
    const ORDERED_NAME: (&'static str, bool) = ("name", true);

    /// The value of `_id`.
    fn key(&self) -> Self::Key;
    /// The stored form at a revision.
    fn to_doc(&self, rev: Revision) -> Self::Doc;
    /// The noun behind a stored form, or `None` if it does not hold what the noun promises.
    fn from_doc(doc: Self::Doc) -> Option<Revised<Self>>;
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// How many rows there are on all pages, if that was asked for; counted no further than [`COUNTED`] and one.
    pub count: Option<u64>,
}

impl<T> Page<T> {
    /// A list without rows.
    pub const fn empty() -> Self {
        Self { items: Vec::new(), next: None, count: None }
    }

    /// The same page with its rows as `change` makes them.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        let Self { items, next, count } = self;
        Page { items: items.into_iter().map(change).collect(), next, count }
    }
}

/// Rows are counted so far; one more says that there are more.
pub const COUNTED: u64 = 10_000;

/// More things than this nobody can tell apart by names that differ in their capital letters only.
const FEW: i64 = 10;

/// Which page.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// How many rows at most.
    pub limit: u32,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Whether to count as well.
    pub count: bool,
    /// In which order; without one, in that which the list has by itself.
    pub order: Option<Order>,
}

impl PageRequest {
    /// The first page of a list, in its own order.
    pub const fn first(limit: u32) -> Self {
        Self { limit, after: None, count: false, order: None }
    }
}

impl Store {
    /// One noun by its key.
    pub async fn find<E: Entity>(&self, key: &E::Key) -> Result<Option<Revised<E>>, StoreError> {
        let found = self.collection::<E>().find_one(doc! { "_id": key.to_string() }).await?;
        found.as_ref().map(decode::<E>).transpose()
    }

    /// A page of the nouns that match, by their ids unless the page wants another order.
    pub(super) async fn page<E: Entity>(
        &self,
        filter: Document,
        page: &PageRequest,
    ) -> Result<Page<Revised<E>>, StoreError> {
        let count = self.count(E::COLLECTION, &filter, page).await?;
        let (order, is_folded) = order_of::<E>(page);
        let limit = i64::from(page.limit);
        let collection = self.collection::<E>();
        let mut find = collection.find(order.behind(filter, page.after.as_ref())).sort(order.sort()).limit(limit + 1);
        if is_folded {
            find = find.collation(in_any_case());
        }
        let mut rows: Vec<RawDocumentBuf> = find.await?.try_collect().await?;
        let more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let next = rows.last().filter(|_| more).and_then(|row| Document::try_from(row.as_ref()).ok());
        let next = next.map(|last| order.place(&last));
        let items = rows.iter().map(decode::<E>).collect::<Result<_, _>>()?;
        Ok(Page { items, next, count })
    }

    /// How many rows match, if the page wants to know; `filter` is that of the list, without the place in it.
    pub(super) async fn count(
        &self,
        collection: &str,
        filter: &Document,
        page: &PageRequest,
    ) -> Result<Option<u64>, StoreError> {
        if !page.count {
            return Ok(None);
        }
        let collection = self.rows::<Document>(collection);
        Ok(Some(collection.count_documents(filter.clone()).limit(COUNTED + 1).await?))
    }

    /// All nouns that match.
    pub(super) async fn all<E: Entity>(&self, filter: Document) -> Result<Vec<Revised<E>>, StoreError> {
        decode_all::<E>(self.collection::<E>().find(filter).await?).await
    }

    /// What some nouns are called, by their ids; those that are not there are absent.
    pub async fn names<E, N>(&self, ids: &[E::Key]) -> Result<HashMap<E::Key, N>, StoreError>
    where
        E: Entity<Key: FromStr<Err: Into<Cause>> + Eq + Hash>,
        N: FromStr<Err: Into<Cause>>,
    {
        let wanted: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let collection = self.rows::<Document>(E::COLLECTION);
        let found = collection.find(doc! { "_id": { "$in": wanted } });
        let mut rows = found.projection(doc! { "name": 1 }).await?;
        let mut names = HashMap::new();
        while let Some(row) = rows.try_next().await? {
            let (id, name) = (row.get_str("_id").unwrap_or_default(), row.get_str("name").unwrap_or_default());
            let corrupt = || StoreError::corrupt(E::COLLECTION, id.to_owned());
            let key = id.parse().map_err(|why| corrupt().because(why))?;
            names.insert(key, name.parse().map_err(|why| corrupt().because(why))?);
        }
        Ok(names)
    }

    /// The nouns of this name in any case, of which there are few; the one that is written just so comes first.
    pub async fn called<E>(&self, name: &str) -> Result<Vec<(E::Key, String)>, StoreError>
    where
        E: Entity<Key: FromStr>,
    {
        let collection = self.rows::<Document>(E::COLLECTION);
        let found = collection.find(doc! { "name": name }).collation(in_any_case()).projection(doc! { "name": 1 });
        let rows: Vec<Document> = found.limit(FEW).await?.try_collect().await?;
        let read =
            |row: &Document| Some((row.get_str("_id").ok()?.parse().ok()?, row.get_str("name").ok()?.to_owned()));
        let mut found: Vec<(E::Key, String)> = rows.iter().filter_map(read).collect();
        found.sort_by_key(|(_, found)| found != name);
        Ok(found)
    }

    /// How many rows of a collection name each of some ids in a field, which holds one or several. Ids that none names
    /// are absent.
    pub(super) async fn count_by<I>(
        &self,
        collection: &str,
        field: &str,
        ids: &[I],
    ) -> Result<HashMap<I, u64>, StoreError>
    where
        I: Display + FromStr + Eq + Hash,
    {
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let wanted = doc! { "$in": names };
        // Rows by all that they name first: there are far fewer such sets than rows.
        let pipeline = [
            doc! { "$match": { field: &wanted } },
            doc! { "$group": { "_id": format!("${field}"), "count": { "$sum": 1_i64 } } },
            doc! { "$unwind": "$_id" },
            // Of rows that name several, only those that were asked for.
            doc! { "$match": { "_id": &wanted } },
            doc! { "$group": { "_id": "$_id", "count": { "$sum": "$count" } } },
        ];
        let mut rows = self.rows::<Document>(collection).aggregate(pipeline).await?;
        let mut counts = HashMap::new();
        while let Some(row) = rows.try_next().await? {
            let id = row.get_str("_id").ok().and_then(|id| id.parse().ok());
            if let (Some(id), Ok(count)) = (id, row.get_i64("count")) {
                counts.insert(id, count.unsigned_abs());
            }
        }
        Ok(counts)
    }

    pub(super) fn collection<E: Entity>(&self) -> Collection<RawDocumentBuf> {
        self.rows(E::COLLECTION)
    }
}

/// By which field a page is ordered, and whether without the difference between capital and small letters.
fn order_of<E: Entity>(page: &PageRequest) -> (FieldOrder, bool) {
    let order = page.order.unwrap_or(Order::OLDEST);
    match order.by {
        OrderBy::Name => (order.by_field(E::ORDERED_NAME.0), E::ORDERED_NAME.1),
        OrderBy::Email => (order.by_field("email"), false),
        // Nothing that is configured ends.
        OrderBy::Created | OrderBy::Ended => (order.by_field("_id"), false),
    }
}

/// How the indexes by name compare; a query that says the same is answered by them.
fn in_any_case() -> Collation {
    Collation::builder().locale("en").strength(CollationStrength::Secondary).build()
}

pub(super) async fn decode_all<E: Entity>(mut cursor: Cursor<RawDocumentBuf>) -> Result<Vec<Revised<E>>, StoreError> {
    let mut all = Vec::new();
    while let Some(row) = cursor.try_next().await? {
        all.push(decode::<E>(&row)?);
    }
    Ok(all)
}

pub(super) fn decode<E: Entity>(row: &RawDocumentBuf) -> Result<Revised<E>, StoreError> {
    let corrupt = || StoreError::corrupt(E::COLLECTION, id_of(row));
    let doc = bson::deserialize_from_slice(row.as_bytes()).map_err(|invalid| corrupt().because(invalid))?;
    E::from_doc(doc).ok_or_else(corrupt)
}

pub(super) fn encode<E: Entity>(entity: &E, rev: Revision) -> Result<RawDocumentBuf, StoreError> {
    Ok(bson::serialize_to_raw_document_buf(&entity.to_doc(rev)).map_err(mongodb::error::Error::from)?)
}

fn id_of(row: &RawDocumentBuf) -> String {
    row.get("_id")
        .ok()
        .flatten()
        .and_then(|id| Bson::try_from(id).ok())
        .map_or_else(|| "without id".to_owned(), |id| id.as_str().map_or_else(|| id.to_string(), ToOwned::to_owned))
}

/// A timestamp as the database keeps it: whole milliseconds.
pub(super) fn date(at: jiff::Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

/// A date of the database as a timestamp.
pub(super) fn timestamp(date: DateTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(date.timestamp_millis()).ok()
}

/// Bytes as the database keeps them.
pub(super) fn binary(bytes: &[u8]) -> bson::Binary {
    bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: bytes.to_vec() }
}
