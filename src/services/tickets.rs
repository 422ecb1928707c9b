//! One-time links to a profile: the key is made when the link is redeemed.

use jiff::Timestamp;

use super::{
    Act, ServiceError, Services,
    logins::Person,
    profiles::{IssuedProfile, NewProfile},
};
use crate::domain::{ids::UserId, secret::Secret, text::Name};

/// A ticket that was just made.
#[derive(Debug)]
pub struct Ticket {
    /// What the link ends in; it is nowhere else.
    pub secret: Secret<String>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A ticket as its holder sees it before spending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketView {
    /// Where the profile leads.
    pub server_name: Name,
    /// What it will be called.
    pub profile_name: Name,
    /// Until when the ticket is good.
    pub expires_at: Timestamp,
}

impl Services {
    /// Makes a ticket for a profile of any user, on behalf of an administrator.
    pub async fn make_ticket(&self, _: &Act, _: UserId, _: NewProfile) -> Result<Ticket, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Makes a ticket for a profile of the one who asks.
    pub async fn make_own_ticket(&self, _: &Person, _: NewProfile) -> Result<Ticket, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// The link of a ticket, under the public URL.
    pub fn ticket_url(&self, ticket: &Ticket) -> Option<Secret<String>> {
        self.0.public_url.get().map(|url| Secret::new(format!("{url}/p/{}", ticket.secret.expose())))
    }

    /// What a ticket is good for; looking does not spend it.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] whatever is wrong with it.
    pub async fn look_at_ticket(&self, _secret: &str) -> Result<TicketView, ServiceError> {
        Err(ServiceError::NotFound("link"))
    }

    /// Spends a ticket: of any number of attempts at once, one gets the profile.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] whatever is wrong with it.
    pub async fn redeem_ticket(&self, _secret: &str) -> Result<IssuedProfile, ServiceError> {
        Err(ServiceError::NotFound("link"))
    }
}
