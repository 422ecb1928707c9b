//! What is stored about a person, why, and for how long.

use jiff::Timestamp;
use serde::Serialize;

use super::{ServiceError, Services, logins::Person};
use crate::domain::retention::DataKind;

/// Everything that is stored about a person.
#[derive(Debug, Clone, Serialize)]
pub struct MyData {
    /// As of when.
    pub at: Timestamp,
    /// Kind by kind.
    pub kinds: Vec<MyDataKind>,
}

/// One kind of it.
#[derive(Debug, Clone, Serialize)]
pub struct MyDataKind {
    /// Which.
    pub kind: DataKind,
    /// What it is, in words.
    pub title: &'static str,
    /// Why it is kept.
    pub why: &'static str,
    /// For how long, in words.
    pub kept: String,
    /// How many records there are, which may be more than are shown.
    pub count: u64,
    /// The records, as objects with plain fields; the newest 1,000 at most.
    pub values: Vec<serde_json::Value>,
}

impl Services {
    /// Everything that is stored about the one who asks.
    pub async fn my_data(&self, _: &Person) -> Result<MyData, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }
}
