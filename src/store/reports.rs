//! What VPN hosts write, read row by row.
//!
//! A taken host can write what it likes where hosts write, so a row that cannot be read is left out and named in the log;
//! it hides no other.

use mongodb::bson::Document;

use crate::StoreError;

/// What can be read of the rows of a collection.
pub(crate) fn readable<T>(rows: Vec<Document>, read: impl Fn(Document) -> Result<T, StoreError>) -> Vec<T> {
    let read = |row| match read(row) {
        Ok(read) => Some(read),
        Err(error) => {
            tracing::warn!(
                event = "report.unreadable",
                error = &error as &dyn std::error::Error,
                "what a host wrote cannot be read and is left out"
            );
            None
        }
    };
    rows.into_iter().filter_map(read).collect()
}
