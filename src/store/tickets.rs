//! Tickets: one-time records, each found by the hash of its secret and spent by being deleted.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::{
    Collection,
    bson::{self, Binary, DateTime, Document, doc},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Store, StoreError,
    entity::{binary, date, timestamp},
    policy::PolicyChange,
};
use crate::domain::{
    ids::UserId,
    ticket::{ProfileTicket, SignInTicket, Ticket},
};

const COLLECTION: &str = "tickets";

/// What a ticket can be good for.
pub trait TicketBody: Serialize + DeserializeOwned + Send + Sync {
    /// The word in the database.
    const KIND: &'static str;
}

impl TicketBody for SignInTicket {
    const KIND: &'static str = "sign_in";
}

impl TicketBody for ProfileTicket {
    const KIND: &'static str = "profile";
}

#[derive(Serialize, Deserialize)]
struct TicketDoc<T> {
    #[serde(rename = "_id")]
    hash: Binary,
    kind: String,
    expires_at: DateTime,
    #[serde(flatten)]
    body: T,
}

impl<T> TicketDoc<T> {
    fn into_ticket(self) -> Result<Ticket<T>, StoreError> {
        let expires_at = timestamp(self.expires_at).ok_or_else(corrupt)?;
        Ok(Ticket { body: self.body, expires_at })
    }
}

/// A ticket has no name but the hash of its secret, which stays inside.
fn corrupt() -> StoreError {
    StoreError::Corrupt { collection: COLLECTION, id: "of a ticket".to_owned() }
}

fn read<T: TicketBody>(row: Document) -> Result<Ticket<T>, StoreError> {
    bson::deserialize_from_document::<TicketDoc<T>>(row).map_err(|_invalid| corrupt())?.into_ticket()
}

/// The ticket of this kind and secret, if it is still good.
fn good<T: TicketBody>(hash: &[u8; 32], now: Timestamp) -> Document {
    doc! { "_id": binary(hash), "kind": T::KIND, "expires_at": { "$gt": date(now) } }
}

impl Store {
    /// Adds a ticket of which nobody needs to know.
    pub async fn insert_ticket<T: TicketBody>(&self, hash: &[u8; 32], ticket: &Ticket<T>) -> Result<(), StoreError> {
        self.tickets().insert_one(row(hash, ticket)?).await?;
        Ok(())
    }

    /// Looks at a ticket without spending it.
    pub async fn find_ticket<T: TicketBody>(
        &self,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Ticket<T>>, StoreError> {
        self.tickets().find_one(good::<T>(hash, now)).await?.map(read).transpose()
    }

    /// Spends the ticket of a sign-in. Only whoever also holds its cookie can, so nobody else can spoil it either.
    pub async fn take_sign_in(
        &self,
        hash: &[u8; 32],
        cookie_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<SignInTicket>, StoreError> {
        let mut filter = good::<SignInTicket>(hash, now);
        filter.insert("cookie_hash", bson::serialize_to_bson(cookie_hash).map_err(mongodb::error::Error::from)?);
        let taken = self.tickets().find_one_and_delete(filter).await?;
        Ok(taken.map(read).transpose()?.map(|ticket| ticket.body))
    }

    /// The tickets that wait for a user.
    pub async fn tickets_of(&self, user: UserId) -> Result<Vec<Ticket<ProfileTicket>>, StoreError> {
        let filter = doc! { "user_id": user.to_string(), "kind": ProfileTicket::KIND };
        let rows: Vec<Document> = self.tickets().find(filter).await?.try_collect().await?;
        rows.into_iter().map(read).collect()
    }

    fn tickets(&self) -> Collection<Document> {
        self.database().collection(COLLECTION)
    }
}

fn row<T: TicketBody>(hash: &[u8; 32], ticket: &Ticket<T>) -> Result<Document, StoreError> {
    let body = TicketDoc {
        hash: binary(hash),
        kind: T::KIND.to_owned(),
        expires_at: date(ticket.expires_at),
        body: &ticket.body,
    };
    Ok(bson::serialize_to_document(&body).map_err(mongodb::error::Error::from)?)
}

impl PolicyChange {
    /// Adds a ticket.
    pub async fn insert_ticket<T: TicketBody>(&self, hash: &[u8; 32], ticket: &Ticket<T>) -> Result<(), StoreError> {
        let row = bson::serialize_to_raw_document_buf(&row(hash, ticket)?).map_err(mongodb::error::Error::from)?;
        self.insert_into(COLLECTION, row).await
    }

    /// Spends a ticket with this change: of any number of changes that try, one is committed.
    pub async fn spend_ticket<T: TicketBody>(&self, hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.delete_rows(COLLECTION, good::<T>(hash, now)).await? > 0)
    }

    /// Removes all tickets that wait for a user.
    pub async fn drop_tickets_of(&self, user: UserId) -> Result<(), StoreError> {
        self.delete_rows(COLLECTION, doc! { "user_id": user.to_string() }).await.map(drop)
    }
}
