//! Tickets: one-time records, each found by the hash of its secret and spent by being deleted. A join token is the
//! exception: that it was used, and by whom, is written into it, so that the same machine may ask again.

use crate::areas::{Identities, IdentityChange};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Binary, DateTime, Document, doc};
use mongodb::{Collection, bson};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Page, PageRequest, binary, date, timestamp};
use domain::ids::{HostId, JoinTokenId, UserId};
use domain::join::{JoinTicket, MachineCheck};
use domain::login::Surface;
use domain::ticket::{OwnerLinkTicket, ProfileTicket, SignInTicket, Ticket};

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

impl TicketBody for JoinTicket {
    const KIND: &'static str = "join";
}

impl TicketBody for OwnerLinkTicket {
    const KIND: &'static str = "owner_link";
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
    StoreError::corrupt(COLLECTION, "of a ticket")
}

fn read<T: TicketBody>(row: Document) -> Result<Ticket<T>, StoreError> {
    bson::deserialize_from_document::<TicketDoc<T>>(row).map_err(|invalid| corrupt().because(invalid))?.into_ticket()
}

/// The ticket of this kind and secret, if it is still good.
fn good<T: TicketBody>(hash: &[u8; 32], now: Timestamp) -> Document {
    doc! { "_id": binary(hash), "kind": T::KIND, "expires_at": { "$gt": date(now) } }
}

impl Identities<'_> {
    /// Adds a ticket of which nobody needs to know.
    pub async fn insert_ticket<T: TicketBody>(self, hash: &[u8; 32], ticket: &Ticket<T>) -> Result<(), StoreError> {
        self.tickets().insert_one(row(hash, ticket)?).await?;
        Ok(())
    }

    /// Looks at a ticket without spending it.
    pub async fn find_ticket<T: TicketBody>(
        self,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Ticket<T>>, StoreError> {
        self.tickets().find_one(good::<T>(hash, now)).await?.map(read).transpose()
    }

    /// Spends the ticket of a sign-in to a surface. Only whoever also holds its cookie can, so nobody else can spoil it
    /// either.
    pub async fn take_sign_in(
        self,
        surface: Surface,
        hash: &[u8; 32],
        cookie_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<SignInTicket>, StoreError> {
        let mut filter = good::<SignInTicket>(hash, now);
        filter.insert("cookie_hash", bson::serialize_to_bson(cookie_hash).map_err(mongodb::error::Error::from)?);
        filter.insert("surface", surface.as_str());
        let taken = self.tickets().find_one_and_delete(filter).await?;
        Ok(taken.map(read).transpose()?.map(|ticket| ticket.body))
    }

    /// The tickets that wait for a user.
    pub async fn tickets_of(self, user: UserId) -> Result<Vec<Ticket<ProfileTicket>>, StoreError> {
        let filter = doc! { "user_id": user.to_string(), "kind": ProfileTicket::KIND };
        let rows: Vec<Document> = self.tickets().find(filter).await?.try_collect().await?;
        rows.into_iter().map(read).collect()
    }

    /// A page of the join tokens that are good and unused, the oldest first.
    pub async fn open_join_tickets(self, now: Timestamp, page: &PageRequest) -> Result<Page<JoinTicket>, StoreError> {
        let filter = doc! { "kind": JoinTicket::KIND, "redeemed": null, "expires_at": { "$gt": date(now) } };
        let rows = self.tickets().find(filter).sort(doc! { "token_id": 1 }).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        // There are few at a time: each is good for a day at most, so time is judged here, by its own form.
        let open = rows.into_iter().map(read::<JoinTicket>).collect::<Result<Vec<_>, _>>()?;
        let mut items: Vec<_> = open.into_iter().map(|ticket| ticket.body).filter(|t| t.good_until > now).collect();
        let count = page.count.then_some(items.len() as u64);
        let items_after =
            |token: &JoinTicket| page.after.as_ref().is_none_or(|after| token.token_id.to_string() > *after);
        items.retain(items_after);
        let more = items.len() > page.limit as usize;
        items.truncate(page.limit as usize);
        let next = items.last().filter(|_| more).map(|last| last.token_id.to_string());
        Ok(Page { items, next, count })
    }

    /// The join token of this id, used or not.
    pub async fn find_join_ticket(self, id: JoinTokenId) -> Result<Option<JoinTicket>, StoreError> {
        let found = self.tickets().find_one(by_token(id)).await?;
        Ok(found.map(read::<JoinTicket>).transpose()?.map(|ticket| ticket.body))
    }

    /// The join token of this secret, used or not, over or not.
    pub async fn find_join_ticket_by_secret(self, hash: &[u8; 32]) -> Result<Option<JoinTicket>, StoreError> {
        let filter = doc! { "_id": binary(hash), "kind": JoinTicket::KIND };
        let found = self.tickets().find_one(filter).await?;
        Ok(found.map(read::<JoinTicket>).transpose()?.map(|ticket| ticket.body))
    }

    /// Writes down what the machine that holds a join token says of itself. `false` if there is no such token.
    pub async fn set_machine_checks(self, hash: &[u8; 32], checks: &[MachineCheck]) -> Result<bool, StoreError> {
        let checks = bson::serialize_to_bson(checks).map_err(mongodb::error::Error::from)?;
        let filter = doc! { "_id": binary(hash), "kind": JoinTicket::KIND };
        let set = self.tickets().update_one(filter, doc! { "$set": { "checks": checks } }).await?;
        Ok(set.matched_count > 0)
    }

    fn tickets(self) -> Collection<Document> {
        self.rows(COLLECTION)
    }
}

fn by_token(id: JoinTokenId) -> Document {
    doc! { "token_id": id.to_string(), "kind": JoinTicket::KIND }
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

impl IdentityChange<'_> {
    /// Adds a ticket.
    pub async fn insert_ticket<T: TicketBody>(self, hash: &[u8; 32], ticket: &Ticket<T>) -> Result<(), StoreError> {
        let row = bson::serialize_to_raw_document_buf(&row(hash, ticket)?).map_err(mongodb::error::Error::from)?;
        self.insert_into(COLLECTION, row).await
    }

    /// Spends a ticket with this change: of any number of changes that try, one is committed.
    pub async fn spend_ticket<T: TicketBody>(self, hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.delete_rows(COLLECTION, good::<T>(hash, now)).await? > 0)
    }

    /// The join token of this secret, used or not, over or not.
    pub async fn join_ticket(self, hash: &[u8; 32]) -> Result<Option<Ticket<JoinTicket>>, StoreError> {
        let filter = doc! { "_id": binary(hash), "kind": JoinTicket::KIND };
        self.find_row(COLLECTION, filter).await?.map(read).transpose()
    }

    /// Puts a join token in the place of the one with the same secret.
    pub async fn replace_join_ticket(self, hash: &[u8; 32], ticket: &Ticket<JoinTicket>) -> Result<(), StoreError> {
        self.delete_rows(COLLECTION, doc! { "_id": binary(hash) }).await?;
        self.insert_ticket(hash, ticket).await
    }

    /// Removes a join token that nobody has used, and answers whether there was one.
    pub async fn withdraw_join_ticket(self, id: JoinTokenId) -> Result<bool, StoreError> {
        let mut filter = by_token(id);
        filter.insert("redeemed", mongodb::bson::Bson::Null);
        Ok(self.delete_rows(COLLECTION, filter).await? > 0)
    }

    /// Removes the join token that a host came of.
    pub async fn drop_join_ticket_of(self, host: HostId) -> Result<(), StoreError> {
        let filter = doc! { "redeemed.host_id": host.to_string(), "kind": JoinTicket::KIND };
        self.delete_rows(COLLECTION, filter).await.map(drop)
    }

    /// Removes the profile links that any of some actors made for others than `user`.
    pub async fn drop_links_by(self, makers: &[String], user: UserId) -> Result<(), StoreError> {
        let for_others = doc! { "$ne": user.to_string() };
        let filter = doc! { "kind": ProfileTicket::KIND, "made_by": { "$in": makers }, "user_id": for_others };
        self.delete_rows(COLLECTION, filter).await.map(drop)
    }

    /// Removes the join tokens that any of some actors made and no machine has used.
    pub async fn drop_join_tickets_by(self, makers: &[String]) -> Result<(), StoreError> {
        let filter = doc! { "kind": JoinTicket::KIND, "made_by": { "$in": makers }, "redeemed": null };
        self.delete_rows(COLLECTION, filter).await.map(drop)
    }

    /// Removes all tickets that wait for a user.
    pub async fn drop_tickets_of(self, user: UserId) -> Result<(), StoreError> {
        self.delete_rows(COLLECTION, doc! { "user_id": user.to_string() }).await.map(drop)
    }
}
