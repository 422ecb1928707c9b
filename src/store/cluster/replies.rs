//! What became of requests that carry an idempotency key: each is claimed once, and its reply is kept for a day.

use crate::areas::Cluster;
use jiff::Timestamp;
use mongodb::bson::{Binary, DateTime, RawDocumentBuf, doc};
use mongodb::{Collection, bson};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{binary, date, timestamp};
use domain::reply::Reply;

const COLLECTION: &str = "replies";

/// A request that was claimed, with its reply if it has one.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The hash of the request.
    pub request: Vec<u8>,
    /// When it was claimed.
    pub since: Timestamp,
    /// Until when it is remembered.
    pub expires_at: Timestamp,
    /// The reply, once there is one.
    pub reply: Option<Reply>,
}

#[derive(Serialize, Deserialize)]
struct ReplyDoc {
    #[serde(rename = "_id")]
    id: String,
    request: Binary,
    since: DateTime,
    expires_at: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    status: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Binary>,
}

impl From<&Reply> for Kept {
    fn from(reply: &Reply) -> Self {
        Self {
            status: i32::from(reply.status),
            location: reply.location.clone(),
            etag: reply.etag.clone(),
            body: reply.body.as_deref().map(binary),
        }
    }
}

impl Kept {
    fn into_reply(self) -> Option<Reply> {
        let Self { status, location, etag, body } = self;
        Some(Reply { status: u16::try_from(status).ok()?, location, etag, body: body.map(|body| body.bytes) })
    }
}

impl ReplyDoc {
    fn into_claimed(self) -> Option<Claimed> {
        let reply = match self.reply {
            Some(kept) => Some(kept.into_reply()?),
            None => None,
        };
        let (since, expires_at) = (timestamp(self.since)?, timestamp(self.expires_at)?);
        Some(Claimed { request: self.request.bytes, since, expires_at, reply })
    }
}

impl Cluster<'_> {
    /// Claims the request of a key. `false` if it is claimed already.
    pub async fn claim_request(self, id: &str, claim: &Claimed) -> Result<bool, StoreError> {
        let row = ReplyDoc {
            id: id.to_owned(),
            request: binary(&claim.request),
            since: date(claim.since),
            expires_at: date(claim.expires_at),
            reply: None,
        };
        let row = bson::serialize_to_raw_document_buf(&row).map_err(mongodb::error::Error::from)?;
        match self.replies().insert_one(row).await.map_err(StoreError::from) {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The request that was claimed by a key.
    pub async fn claimed_request(self, id: &str) -> Result<Option<Claimed>, StoreError> {
        let Some(row) = self.replies().find_one(doc! { "_id": id }).await? else { return Ok(None) };
        let read = bson::deserialize_from_slice::<ReplyDoc>(row.as_bytes()).ok().and_then(ReplyDoc::into_claimed);
        read.map(Some).ok_or_else(|| StoreError::corrupt(COLLECTION, id.to_owned()))
    }

    /// Keeps the reply to a request that was claimed.
    pub async fn keep_reply(self, id: &str, reply: &Reply) -> Result<(), StoreError> {
        let kept = bson::serialize_to_bson(&Kept::from(reply)).map_err(mongodb::error::Error::from)?;
        self.replies().update_one(doc! { "_id": id }, doc! { "$set": { "reply": kept } }).await?;
        Ok(())
    }

    /// Forgets a claim of before a moment that has no reply, or one that is over.
    pub async fn release_request(self, id: &str, claim: &Claimed) -> Result<(), StoreError> {
        self.replies().delete_one(doc! { "_id": id, "since": date(claim.since) }).await?;
        Ok(())
    }

    fn replies(self) -> Collection<RawDocumentBuf> {
        self.rows(COLLECTION)
    }
}
