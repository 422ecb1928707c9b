//! API tokens: only a hash of the secret rests here.

use crate::areas::{Identities, IdentityChange};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::bson::{Binary, DateTime, Document, RawDocumentBuf, doc};
use mongodb::{Collection, bson};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Page, PageRequest, binary, date, timestamp};
use domain::ids::{TokenId, UserId};
use domain::role::Role;
use domain::text::Name;
use domain::token::ApiToken;

const COLLECTION: &str = "tokens";

/// A token as it rests.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The token without its secret.
    pub token: ApiToken,
    /// The hash of its secret.
    pub secret_hash: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct TokenDoc {
    #[serde(rename = "_id")]
    id: TokenId,
    name: Name,
    role: Role,
    secret_hash: Binary,
    /// The database removes it some time after.
    expires_at: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<DateTime>,
    /// The previous release names no owner: a token is its maker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner_id: Option<UserId>,
    #[serde(default)]
    service: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<DateTime>,
}

impl From<&StoredToken> for TokenDoc {
    fn from(StoredToken { token, secret_hash }: &StoredToken) -> Self {
        Self {
            id: token.id,
            name: token.name.clone(),
            role: token.role,
            secret_hash: binary(secret_hash),
            expires_at: date(token.expires_at),
            created_by: token.created_by.clone(),
            created_at: token.created_at.map(date),
            owner_id: token.owner_id,
            service: token.owner_id.is_none(),
            last_used_at: token.last_used_at.map(date),
        }
    }
}

impl TokenDoc {
    fn into_token(self) -> Option<StoredToken> {
        let maker = || self.created_by.as_ref()?.parse().ok();
        let owner_id = if self.service { None } else { self.owner_id.or_else(maker) };
        let token = ApiToken {
            id: self.id,
            name: self.name,
            role: self.role,
            owner_id,
            created_by: self.created_by,
            created_at: self.created_at.and_then(timestamp),
            expires_at: timestamp(self.expires_at)?,
            last_used_at: self.last_used_at.and_then(timestamp),
        };
        Some(StoredToken { token, secret_hash: self.secret_hash.bytes })
    }
}

fn read(row: &RawDocumentBuf) -> Result<StoredToken, StoreError> {
    let read = bson::deserialize_from_slice::<TokenDoc>(row.as_bytes()).ok().and_then(TokenDoc::into_token);
    let id = || row.get_str("_id").unwrap_or("without id").to_owned();
    read.ok_or_else(|| StoreError::corrupt(COLLECTION, id()))
}

impl Identities<'_> {
    /// The token with this id; whether it is still valid is the caller's to judge.
    pub async fn find_token(self, id: TokenId) -> Result<Option<StoredToken>, StoreError> {
        self.tokens().find_one(doc! { "_id": id.to_string() }).await?.as_ref().map(read).transpose()
    }

    /// The token that ends next after `now`.
    pub async fn next_token_to_end(self, now: Timestamp) -> Result<Option<ApiToken>, StoreError> {
        let tokens = self.tokens();
        let later = tokens.find_one(doc! { "expires_at": { "$gt": date(now) } }).sort(doc! { "expires_at": 1 }).await?;
        Ok(later.as_ref().map(read).transpose()?.map(|stored| stored.token))
    }

    /// A page of the tokens that are not over.
    pub async fn list_tokens(self, now: Timestamp, page: &PageRequest) -> Result<Page<ApiToken>, StoreError> {
        let mut filter = doc! { "expires_at": { "$gt": date(now) } };
        let count = self.count(COLLECTION, &filter, page).await?;
        if let Some(after) = &page.after {
            filter.insert("_id", doc! { "$gt": after });
        }
        let rows = self.tokens().find(filter).sort(doc! { "_id": 1 }).limit(i64::from(page.limit) + 1).await?;
        let mut rows: Vec<RawDocumentBuf> = rows.try_collect().await?;
        let more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let items: Vec<_> = rows.iter().map(|row| Ok(read(row)?.token)).collect::<Result<_, StoreError>>()?;
        let next = items.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(Page { items, next, count })
    }

    /// Notes that a token is in use.
    pub async fn touch_token(self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        let used = doc! { "$max": { "last_used_at": date(now) } };
        self.tokens().update_one(doc! { "_id": id.to_string() }, used).await?;
        Ok(())
    }

    fn tokens(self) -> Collection<RawDocumentBuf> {
        self.rows(COLLECTION)
    }
}

impl IdentityChange<'_> {
    /// Adds a token.
    pub async fn insert_token(self, token: &StoredToken) -> Result<(), StoreError> {
        let row = bson::serialize_to_raw_document_buf(&TokenDoc::from(token)).map_err(mongodb::error::Error::from)?;
        self.insert_into(COLLECTION, row).await
    }

    /// Removes a token and those that were made with it. `false` if there is none.
    pub async fn drop_token(self, id: TokenId) -> Result<bool, StoreError> {
        self.delete_rows(COLLECTION, doc! { "created_by": id.to_string() }).await?;
        Ok(self.delete_rows(COLLECTION, doc! { "_id": id.to_string() }).await? > 0)
    }

    /// The tokens that belong to a user, those that are over included.
    pub async fn tokens_of(self, user: UserId) -> Result<Vec<ApiToken>, StoreError> {
        let user = user.to_string();
        let filter = doc! { "$or": [{ "owner_id": &user }, { "created_by": &user, "service": { "$ne": true } }] };
        let rows = self.find_rows(COLLECTION, filter).await?;
        let token = |row: Document| {
            let row = RawDocumentBuf::try_from(&row).map_err(mongodb::error::Error::from)?;
            Ok(read(&row)?.token)
        };
        rows.into_iter().map(token).collect()
    }
}
