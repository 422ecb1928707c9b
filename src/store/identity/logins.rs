//! Logins: browser sign-ins, each known by the hash of its cookie.
//!
//! A login and its user are read together, in one round trip and from the primary, for every page: so a login that was
//! ended, and a user who was disabled, are shut out on every host at once, and nothing has to be told to anybody.

use crate::areas::{Identities, IdentityChange};
use std::net::IpAddr;

use futures_util::TryStreamExt;
use mongodb::bson::{Binary, DateTime, RawDocumentBuf, doc};
use mongodb::{Collection, bson};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, binary, date, timestamp};
use domain::ids::{LoginId, UserId};
use domain::login::{Login, Surface, Who};
use domain::user::{Identity, User};

const COLLECTION: &str = "logins";

/// A login as it rests.
#[derive(Serialize, Deserialize)]
struct LoginDoc {
    #[serde(rename = "_id")]
    id: LoginId,
    /// Absent where an owner link was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(default)]
    surface: Surface,
    secret_hash: Binary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    label: String,
    address: IpAddr,
    since: DateTime,
    seen_at: DateTime,
    expires_at: DateTime,
    /// Joined on reading; never stored.
    #[serde(default, skip_serializing)]
    user: Option<<User as Entity>::Doc>,
}

impl LoginDoc {
    fn into_login(self) -> Option<Login> {
        Some(Login {
            id: self.id,
            who: self.user_id.map_or(Who::OwnerLink, Who::User),
            surface: self.surface,
            label: self.label,
            address: self.address,
            since: timestamp(self.since)?,
            seen_at: timestamp(self.seen_at)?,
        })
    }
}

impl Identities<'_> {
    /// The login whose cookie has this hash, with its user, if it has one; nothing if the user is gone, or if it was made
    /// for another account than the user signs in with now. Whether it is over and the user enabled is the caller's to
    /// judge.
    pub async fn find_login(self, secret_hash: &[u8; 32]) -> Result<Option<(Login, Option<User>)>, StoreError> {
        let pipeline = [
            doc! { "$match": { "secret_hash": binary(secret_hash) } },
            doc! { "$lookup": { "from": User::COLLECTION, "localField": "user_id", "foreignField": "_id", "as": "user" } },
            doc! { "$unwind": { "path": "$user", "preserveNullAndEmptyArrays": true } },
        ];
        let mut rows = self.logins().aggregate(pipeline).with_type::<RawDocumentBuf>().await?;
        let Some(row) = rows.try_next().await? else { return Ok(None) };
        let corrupt = || StoreError::corrupt(COLLECTION, row.get_str("_id").unwrap_or("without id").to_owned());
        let mut found: LoginDoc =
            bson::deserialize_from_slice(row.as_bytes()).map_err(|invalid| corrupt().because(invalid))?;
        let user = match found.user.take() {
            Some(user) => Some(User::from_doc(user).ok_or_else(corrupt)?.value),
            None => None,
        };
        let whose = user.as_ref().map(|user| user.id);
        let account = user.as_ref().and_then(|user| user.identity.as_ref());
        if whose != found.user_id || account != found.identity.as_ref() {
            return Ok(None);
        }
        Ok(Some((found.into_login().ok_or_else(corrupt)?, user)))
    }

    /// All logins of a user, the newest first; those that are over may be among them for a minute.
    pub async fn logins_of(self, user: UserId) -> Result<Vec<Login>, StoreError> {
        let rows = self.logins().find(doc! { "user_id": user.to_string() }).sort(doc! { "_id": -1 }).await?;
        let rows: Vec<RawDocumentBuf> = rows.try_collect().await?;
        rows.iter()
            .map(|row| {
                let id = row.get_str("_id").unwrap_or("without id").to_owned();
                let read = bson::deserialize_from_slice::<LoginDoc>(row.as_bytes()).ok().and_then(LoginDoc::into_login);
                read.ok_or(StoreError::corrupt(COLLECTION, id))
            })
            .collect()
    }

    /// Notes that a login is in use.
    pub async fn touch_login(self, login: &Login) -> Result<(), StoreError> {
        let seen = doc! { "$max": { "seen_at": date(login.seen_at), "expires_at": date(login.ends_at()) } };
        self.logins().update_one(doc! { "_id": login.id.to_string() }, seen).await?;
        Ok(())
    }

    fn logins(self) -> Collection<RawDocumentBuf> {
        self.rows(COLLECTION)
    }
}

impl IdentityChange<'_> {
    /// Adds a login.
    pub async fn insert_login(
        self,
        login: &Login,
        identity: Option<&Identity>,
        secret_hash: &[u8; 32],
    ) -> Result<(), StoreError> {
        let row = LoginDoc {
            id: login.id,
            user_id: match login.who {
                Who::User(user) => Some(user),
                Who::OwnerLink => None,
            },
            surface: login.surface,
            secret_hash: binary(secret_hash),
            identity: identity.cloned(),
            label: login.label.clone(),
            address: login.address,
            since: date(login.since),
            seen_at: date(login.seen_at),
            expires_at: date(login.ends_at()),
            user: None,
        };
        let row = bson::serialize_to_raw_document_buf(&row).map_err(mongodb::error::Error::from)?;
        self.insert_into(COLLECTION, row).await
    }

    /// Ends a login, whoever has it. `false` if there is none.
    pub async fn drop_login(self, login: LoginId) -> Result<bool, StoreError> {
        Ok(self.delete_rows(COLLECTION, doc! { "_id": login.to_string() }).await? > 0)
    }

    /// Ends a login of a user. `false` if the user has no such login.
    pub async fn end_login(self, user: UserId, login: LoginId) -> Result<bool, StoreError> {
        let filter = doc! { "_id": login.to_string(), "user_id": user.to_string() };
        Ok(self.delete_rows(COLLECTION, filter).await? > 0)
    }

    /// Ends all logins of a user but one, and answers how many there were.
    pub async fn end_other_logins(self, user: UserId, kept: LoginId) -> Result<u64, StoreError> {
        let filter = doc! { "user_id": user.to_string(), "_id": { "$ne": kept.to_string() } };
        self.delete_rows(COLLECTION, filter).await
    }

    /// Ends all logins of a user, and answers how many there were.
    pub async fn end_logins_of(self, user: UserId) -> Result<u64, StoreError> {
        self.delete_rows(COLLECTION, doc! { "user_id": user.to_string() }).await
    }
}
