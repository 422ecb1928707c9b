//! What the hosts carry over time: a small document for each host and five minutes, removed by the database after a while.

use crate::areas::Access;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::Collection;
use mongodb::bson::{DateTime, Document, doc};
use serde::Deserialize;

use crate::StoreError;
use crate::entity::{date, timestamp};
use crate::reports::readable;
use domain::ids::HostId;
use domain::usage::UsageSample;

const COLLECTION: &str = "usage";

#[derive(Deserialize)]
struct UsageDoc {
    host_id: HostId,
    at: DateTime,
    sessions: i64,
    bytes_received: i64,
    bytes_sent: i64,
}

impl Access<'_> {
    /// Records what a host carried so far in a span. Repeating it does no harm: the greater numbers count.
    pub async fn record_usage(self, sample: &UsageSample) -> Result<(), StoreError> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let which = format!("{}:{}", sample.host_id, sample.at.as_second());
        let grown = doc! {
            "$max": {
                "sessions": number(sample.sessions), "bytes_received": number(sample.bytes_received),
                "bytes_sent": number(sample.bytes_sent),
            },
            "$setOnInsert": { "host_id": sample.host_id.to_string(), "at": date(sample.at) },
        };
        self.usage_samples().update_one(doc! { "_id": which }, grown).upsert(true).await?;
        Ok(())
    }

    /// What all hosts carried since a moment.
    pub async fn usage_since(self, from: Timestamp) -> Result<Vec<UsageSample>, StoreError> {
        let rows = self.usage_samples().find(doc! { "at": { "$gte": date(from) } }).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        Ok(readable(rows, sample))
    }

    fn usage_samples(self) -> Collection<Document> {
        self.rows(COLLECTION)
    }
}

fn sample(row: Document) -> Result<UsageSample, StoreError> {
    let id = row.get_str("_id").unwrap_or_default().to_owned();
    let corrupt = || StoreError::corrupt(COLLECTION, id.clone());
    let doc: UsageDoc = mongodb::bson::deserialize_from_document(row).map_err(|invalid| corrupt().because(invalid))?;
    Ok(UsageSample {
        host_id: doc.host_id,
        at: timestamp(doc.at).ok_or_else(corrupt)?,
        sessions: doc.sessions.unsigned_abs(),
        bytes_received: doc.bytes_received.unsigned_abs(),
        bytes_sent: doc.bytes_sent.unsigned_abs(),
    })
}
