//! The audit log: inserted, read, never changed.

use crate::areas::Evidence;
use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Collection, bson};

use crate::StoreError;
use crate::entity::{Page, PageRequest, date, timestamp};
use crate::evidence::entry::{AUDIT, AuditDoc};
use crate::order::Order;
use domain::audit::{Action, AuditEntry};
use domain::ids::{AuditId, Id as _};

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this actor.
    pub actor: Option<String>,
    /// About this object.
    pub object: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// That went like this: `success` or `denied`.
    pub outcome: Option<String>,
    /// Not before.
    pub after: Option<Timestamp>,
    /// Before.
    pub before: Option<Timestamp>,
}

/// A change that can have made the files of profiles outdated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// When.
    pub at: Timestamp,
    /// What changed: a server or a host.
    pub object: String,
}

/// So many changes are read when it is asked since when a file is outdated.
const CHANGES: i64 = 1_000;

/// An entry's id is made with its time, but not at the same instant.
const APART: SignedDuration = SignedDuration::from_mins(1);

impl AuditFilter {
    /// What it lets through; the audit log is kept in the order of its ids, so the span of time bounds them too.
    pub(crate) fn query(&self) -> Document {
        let mut query = doc! {};
        let fields =
            [("actor", &self.actor), ("object", &self.object), ("action", &self.action), ("outcome", &self.outcome)];
        for (field, wanted) in fields {
            if let Some(wanted) = wanted {
                query.insert(field, wanted);
            }
        }
        let id_of = |at: Option<Timestamp>| at.map(|at| AuditId::from_parts(at, 0).to_string());
        let (mut span, mut ids) = (doc! {}, doc! {});
        if let Some(after) = self.after {
            span.insert("$gte", date(after));
            ids.extend(id_of(after.checked_sub(APART).ok()).map(|id| ("$gte".to_owned(), Bson::String(id))));
        }
        if let Some(before) = self.before {
            span.insert("$lt", date(before));
            ids.extend(id_of(before.checked_add(APART).ok()).map(|id| ("$lt".to_owned(), Bson::String(id))));
        }
        for (field, bounds) in [("at", span), ("_id", ids)] {
            if !bounds.is_empty() {
                query.insert(field, bounds);
            }
        }
        query
    }
}

impl Evidence<'_> {
    /// Records an act that changed nothing else.
    pub async fn insert_audit(self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.note(|tx| async move { tx.record(entry).await }).await
    }

    /// A page of the audit log, the newest first unless the page wants the oldest.
    pub async fn list_audit(self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        let query = filter.query();
        let count = self.count(AUDIT, &query, page).await?;
        let order = page.order.unwrap_or(Order::NEWEST).by_field("_id");
        let trail = self.audit();
        let rows = trail.find(order.behind(query, page.after.as_ref())).sort(order.sort());
        let rows: Vec<Document> = rows.limit(i64::from(page.limit) + 1).await?.try_collect().await?;
        let more = rows.len() > page.limit as usize;
        let items: Vec<AuditEntry> = rows.into_iter().take(page.limit as usize).map(entry).collect::<Result<_, _>>()?;
        let next = items.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(Page { items, next, count })
    }

    /// The changes of these servers and hosts after a moment that can have made files outdated, the oldest first.
    pub async fn file_changes(
        self,
        objects: &BTreeSet<String>,
        after: Timestamp,
    ) -> Result<Vec<FileChange>, StoreError> {
        let hosts =
            [Action::HostAttach, Action::HostDetach, Action::HostRegister, Action::HostResume, Action::HostDelete];
        let hosts: Vec<&str> = hosts.iter().map(|action| action.as_str()).collect();
        let ports = doc! {
            "action": Action::ServerUpdate.as_str(),
            "$or": [{ "changes.port": { "$exists": true } }, { "changes.protocol": { "$exists": true } }],
        };
        let filter = doc! {
            "object": { "$in": objects.iter().cloned().collect::<Vec<_>>() }, "at": { "$gt": date(after) },
            "outcome": "success", "$or": [{ "action": { "$in": hosts } }, ports],
        };
        let trail = self.audit();
        let rows = trail.find(filter).sort(doc! { "at": 1 }).limit(CHANGES).projection(doc! { "at": 1, "object": 1 });
        let rows: Vec<Document> = rows.await?.try_collect().await?;
        let read = |row: &Document| {
            let at = timestamp(*row.get_datetime("at").ok()?)?;
            Some(FileChange { at, object: row.get_str("object").ok()?.to_owned() })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    pub(crate) fn audit(self) -> Collection<Document> {
        self.rows(AUDIT)
    }
}

pub(crate) fn entry(row: Document) -> Result<AuditEntry, StoreError> {
    let id = row.get_str("_id").unwrap_or_default().to_owned();
    let doc: Option<AuditDoc> = bson::deserialize_from_document(row).ok();
    doc.as_ref().and_then(AuditDoc::read).ok_or(StoreError::corrupt(AUDIT, id))
}
