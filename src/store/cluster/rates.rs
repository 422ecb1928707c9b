//! Token buckets that all hosts share, one document each, filled and spent by one atomic step on the database's clock.

use crate::areas::Cluster;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use crate::StoreError;
use domain::limits::Rate;

impl Cluster<'_> {
    /// Spends a token of the bucket `key`.
    ///
    /// Answers how long to wait, if there was none.
    pub async fn spend_token(self, key: &str, rate: Rate) -> Result<Option<Duration>, StoreError> {
        let rates = self.rows::<Document>("rates");
        let spend = || {
            rates
                .find_one_and_update(doc! { "_id": key }, fill_and_spend(rate))
                .upsert(true)
                .return_document(ReturnDocument::After)
        };
        let after = match spend().await.map_err(StoreError::from) {
            // Two first users at once: the other one made the document.
            Err(StoreError::Conflict { .. }) => spend().await?,
            answer => answer?,
        };
        let after = after.unwrap_or_default();
        if after.get_bool("granted").unwrap_or(false) {
            return Ok(None);
        }
        Ok(Some(rate.wait(after.get_f64("tokens").unwrap_or(0.0))))
    }
}

fn fill_and_spend(rate: Rate) -> Vec<Document> {
    let most = f64::from(rate.most);
    let passed = doc! { "$max": [0, { "$subtract": ["$$NOW", { "$ifNull": ["$at", "$$NOW"] }] }] };
    let grown = doc! { "$multiply": [passed, rate.per_millisecond()] };
    let filled = doc! { "$min": [most, { "$add": [{ "$ifNull": ["$tokens", most] }, grown] }] };
    vec![
        doc! { "$set": { "tokens": filled, "at": "$$NOW" } },
        doc! { "$set": { "granted": { "$gte": ["$tokens", 1.0] } } },
        doc! { "$set": { "tokens": { "$cond": ["$granted", { "$subtract": ["$tokens", 1.0] }, "$tokens"] } } },
    ]
}
