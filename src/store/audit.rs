//! The audit trail: inserted, read, never changed.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{self, Bson, DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    entity::{Page, PageRequest, date, timestamp},
};
use crate::domain::{
    audit::AuditEntry,
    ids::{AuditId, RequestId},
};

#[derive(Serialize, Deserialize)]
pub(super) struct AuditDoc {
    #[serde(rename = "_id")]
    id: AuditId,
    at: DateTime,
    actor: String,
    action: String,
    object: String,
    outcome: String,
    #[serde(default)]
    request_id: Option<RequestId>,
    changes: Bson,
}

impl From<&AuditEntry> for AuditDoc {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: date(entry.at),
            actor: entry.actor.clone(),
            action: entry.action.clone(),
            object: entry.object.clone(),
            outcome: entry.outcome.clone(),
            request_id: entry.request_id,
            changes: bson::serialize_to_bson(&entry.changes).unwrap_or(Bson::Null),
        }
    }
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this actor.
    pub actor: Option<String>,
    /// About this object.
    pub object: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// Not before.
    pub after: Option<Timestamp>,
    /// Before.
    pub before: Option<Timestamp>,
}

impl Store {
    /// Records an act that changed no policy.
    pub async fn insert_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.database().collection("audit").insert_one(AuditDoc::from(entry)).await?;
        Ok(())
    }

    /// A page of the trail, the newest first.
    pub async fn list_audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        let mut query = doc! {};
        for (field, wanted) in [("actor", &filter.actor), ("object", &filter.object), ("action", &filter.action)] {
            if let Some(wanted) = wanted {
                query.insert(field, wanted);
            }
        }
        let mut span = doc! {};
        if let Some(after) = filter.after {
            span.insert("$gte", date(after));
        }
        if let Some(before) = filter.before {
            span.insert("$lt", date(before));
        }
        if !span.is_empty() {
            query.insert("at", span);
        }
        if let Some(after) = &page.after {
            query.insert("_id", doc! { "$lt": after });
        }
        let trail = self.database().collection::<Document>("audit");
        let rows = trail.find(query).sort(doc! { "_id": -1 }).limit(i64::from(page.limit) + 1).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        let more = rows.len() > page.limit as usize;
        let items: Vec<AuditEntry> = rows.into_iter().take(page.limit as usize).map(entry).collect::<Result<_, _>>()?;
        let next = items.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(Page { items, next })
    }
}

fn entry(row: Document) -> Result<AuditEntry, StoreError> {
    let id = row.get_str("_id").unwrap_or_default().to_owned();
    let corrupt = || StoreError::Corrupt { collection: "audit", id: id.clone() };
    let doc: AuditDoc = bson::deserialize_from_document(row).map_err(|_invalid| corrupt())?;
    Ok(AuditEntry {
        id: doc.id,
        at: timestamp(doc.at).ok_or_else(corrupt)?,
        actor: doc.actor,
        action: doc.action,
        object: doc.object,
        outcome: doc.outcome,
        request_id: doc.request_id,
        changes: serde_json::to_value(&doc.changes).unwrap_or_default(),
    })
}
