//! The stored form of an entry of the audit log, with its place in a chain.

use mongodb::bson;
use mongodb::bson::{Bson, DateTime};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{date, timestamp};
use domain::audit::AuditEntry;
use domain::chain::{Head, Link, link};
use domain::ids::{AuditId, ChainId, RequestId};

/// The collection of the audit log.
pub(crate) const AUDIT: &str = "audit";

#[derive(Serialize, Deserialize)]
pub(crate) struct AuditDoc {
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
}

impl AuditDoc {
    /// The stored form of an entry behind `before`, and where it stands. What is hashed is what will be read back.
    pub(crate) fn linked(
        entry: &AuditEntry,
        chain: ChainId,
        before: Option<&Head>,
    ) -> Result<(Self, Head), StoreError> {
        let changes = bson::serialize_to_bson(&entry.changes).map_err(StoreError::unexpected)?;
        let doc = Self {
            id: entry.id,
            at: date(entry.at),
            actor: entry.actor.clone(),
            action: entry.action.clone(),
            object: entry.object.clone(),
            outcome: entry.outcome.clone(),
            request_id: entry.request_id,
            changes,
            link: None,
        };
        let read = doc.read().ok_or_else(|| StoreError::corrupt(AUDIT, entry.id.to_string()))?;
        let link = link(&read, chain, before);
        Ok((Self { link: Some(link), ..doc }, Head { chain, seq: link.seq, hash: link.hash }))
    }

    pub(super) fn read(&self) -> Option<AuditEntry> {
        Some(AuditEntry {
            id: self.id,
            at: timestamp(self.at)?,
            actor: self.actor.clone(),
            action: self.action.clone(),
            object: self.object.clone(),
            outcome: self.outcome.clone(),
            request_id: self.request_id,
            changes: serde_json::to_value(&self.changes).ok()?,
            link: self.link,
        })
    }
}
