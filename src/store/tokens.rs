//! API tokens: only a hash of the secret rests here.

use mongodb::bson::{Binary, DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    entity::{binary, date, timestamp},
};
use crate::domain::{ids::TokenId, role::Role, text::Name};

/// A token as it rests.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Its id, which is part of the token.
    pub id: TokenId,
    /// What it is for.
    pub name: Name,
    /// What it may do.
    pub role: Role,
    /// The hash of its secret.
    pub secret_hash: Vec<u8>,
    /// When it ends; the database removes it some time after.
    pub expires_at: jiff::Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TokenDoc {
    #[serde(rename = "_id")]
    id: TokenId,
    name: Name,
    role: Role,
    secret_hash: Binary,
    expires_at: DateTime,
}

impl Store {
    /// Adds a token.
    pub async fn insert_token(&self, token: &StoredToken) -> Result<(), StoreError> {
        let row = TokenDoc {
            id: token.id,
            name: token.name.clone(),
            role: token.role,
            secret_hash: binary(&token.secret_hash),
            expires_at: date(token.expires_at),
        };
        self.database().collection("tokens").insert_one(row).await?;
        Ok(())
    }

    /// The token with this id; whether it is still valid is the caller's to judge.
    pub async fn find_token(&self, id: TokenId) -> Result<Option<StoredToken>, StoreError> {
        let tokens = self.database().collection::<Document>("tokens");
        let Some(row) = tokens.find_one(doc! { "_id": id.to_string() }).await? else {
            return Ok(None);
        };
        let corrupt = || StoreError::Corrupt { collection: "tokens", id: id.to_string() };
        let found: TokenDoc = mongodb::bson::deserialize_from_document(row).map_err(|_invalid| corrupt())?;
        Ok(Some(StoredToken {
            id: found.id,
            name: found.name,
            role: found.role,
            secret_hash: found.secret_hash.bytes,
            expires_at: timestamp(found.expires_at).ok_or_else(corrupt)?,
        }))
    }
}
