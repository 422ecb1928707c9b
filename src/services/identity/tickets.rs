//! One-time links to a profile: the key is made when the link is redeemed.
//!
//! The ticket is spent by the very change that adds the profile, so it is spent exactly when somebody got the profile:
//! not by looking, not by a failure half-way, and not twice. Whoever made it for whom is in the audit log.

use jiff::Timestamp;
use serde_json::json;

use crate::access::profiles::{Issue, IssuedProfile, NewProfile};
use crate::cluster::limits::Limit;
use crate::identity::logins::{Browser, Person};
use crate::people::users::check_profiles_of;
use crate::{Act, Identities, InvalidReason, Missing, Refusal, SOON, ServiceError};
use domain::access::permits;
use domain::audit::{Action, Actor};
use domain::ids::UserId;
use domain::login::Surface;
use domain::role::Permission;
use domain::secret::Secret;
use domain::server::Server;
use domain::text::Name;
use domain::ticket;
use domain::ticket::{LIFETIME, ProfileTicket};
use domain::user::User;
use keys::token::{OneTimeSecret, SecretHash};

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

fn hash(secret: &OneTimeSecret) -> SecretHash {
    secret.hash("profile_ticket")
}

fn parse(secret: &str) -> Result<SecretHash, ServiceError> {
    secret.parse().map(|secret| hash(&secret)).map_err(|_malformed| ServiceError::NotFound(Missing::Link))
}

impl Identities<'_> {
    /// Makes a ticket for a profile of any user, on behalf of an administrator.
    pub async fn make_ticket(self, act: &Act, user: UserId, new: NewProfile) -> Result<Ticket, ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.ticket(act, user, new).await
    }

    /// Makes a ticket for a profile of the one who asks.
    pub async fn make_own_ticket(self, person: &Person, new: NewProfile) -> Result<Ticket, ServiceError> {
        self.cluster().limit_account(Limit::ProfileIssue, &person.user.id.to_string()).await?;
        self.people().own_server(person, new.server_id).await?;
        self.ticket(&person.act(), person.user.id, new).await
    }

    async fn ticket(self, act: &Act, user: UserId, new: NewProfile) -> Result<Ticket, ServiceError> {
        let secret = OneTimeSecret::generate();
        let expires_at = self.now() + LIFETIME;
        let body =
            ProfileTicket { user_id: user, server_id: new.server_id, name: new.name, made_by: act.actor.to_string() };
        let changes = json!({
            "server_id": [null, body.server_id], "name": [null, body.name], "expires_at": [null, expires_at],
        });
        let ticket = &ticket::Ticket { body, expires_at };
        let entry = &self.entry(act, Action::TicketCreate, &user, changes);
        let hash = hash(&secret);
        self.store()
            .note(|tx| async move {
                let user = tx.find::<User>(&user).await?.ok_or(ServiceError::NotFound(Missing::User))?.value;
                check_profiles_of(act, &user)?;
                let server = tx.find::<Server>(&ticket.body.server_id).await?;
                let server =
                    server.ok_or_else(|| ServiceError::invalid("server_id", InvalidReason::NoSuchServer))?.value;
                if user.disabled {
                    return Err(ServiceError::Conflict(Refusal::UserDisabled));
                }
                if !permits(&server, user.organization_id, &user.groups) {
                    return Err(ServiceError::Conflict(Refusal::ServerNotOpen));
                }
                tx.identity().insert_ticket(hash.as_bytes(), ticket).await?;
                Ok(tx.record(entry).await?)
            })
            .await?;
        Ok(Ticket { secret: secret.to_text(), expires_at })
    }

    /// The link of a ticket, if it is known under which URL browsers reach the public pages.
    pub fn ticket_url(self, ticket: &Ticket) -> Option<Secret<String>> {
        self.url(Surface::Portal).map(|url| Secret::new(format!("{url}/p/{}", ticket.secret.expose())))
    }

    /// What a ticket is good for; looking does not spend it.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] whatever is wrong with it, [`ServiceError::TooMany`] for an address that tries many.
    pub async fn look_at_ticket(self, secret: &str, browser: &Browser) -> Result<TicketView, ServiceError> {
        self.cluster().limit_address(Limit::Ticket, browser.address)?;
        let hash = parse(secret)?;
        let found =
            self.store().deadline(SOON, self.store().identity().find_ticket(hash.as_bytes(), self.now())).await?;
        let ticket::Ticket { body: ProfileTicket { server_id, name, .. }, expires_at } =
            found.ok_or(ServiceError::NotFound(Missing::Link))?;
        let server = self.store().deadline(SOON, self.store().find::<Server>(&server_id)).await?;
        let server_name = server.ok_or(ServiceError::NotFound(Missing::Link))?.value.name;
        Ok(TicketView { server_name, profile_name: name, expires_at })
    }

    /// Spends a ticket: of any number of attempts at once, one gets the profile.
    ///
    /// # Errors
    /// As [`Self::look_at_ticket`], and what stands against issuing the profile.
    pub async fn redeem_ticket(self, secret: &str, browser: &Browser) -> Result<IssuedProfile, ServiceError> {
        self.cluster().limit_address(Limit::Ticket, browser.address)?;
        let hash = parse(secret)?;
        let found =
            self.store().deadline(SOON, self.store().identity().find_ticket(hash.as_bytes(), self.now())).await?;
        let ProfileTicket { user_id, server_id, name, .. } = found.ok_or(ServiceError::NotFound(Missing::Link))?.body;
        let act = Act::by(Actor::Holder(user_id), browser.request_id);
        let ticket = Some(hash.as_bytes());
        self.access()
            .issue(&act, &Issue { user: user_id, server: server_id, name: &name, replaces: None, ticket })
            .await
    }
}
