//! The link that opens the console as owner: for the first sign-in to a new cluster, and for the day on which nobody
//! gets in any more.
//!
//! Whoever has a shell on a machine that may write to the database makes one with `postern owner-link`. It needs no
//! user, so it works on an empty cluster: the login that it opens belongs to the link, and so the audit log says.

use jiff::Timestamp;
use serde_json::json;

use crate::cluster::limits::Limit;
use crate::identity::logins::{Browser, NewLogin};
use crate::{Act, Identities, Missing, SOON, ServiceError};
use domain::audit::{Action, Actor};
use domain::login::{Surface, Who};
use domain::role::Role;
use domain::secret::Secret;
use domain::ticket::{LIFETIME, OwnerLinkTicket, Ticket};
use keys::token::{OneTimeSecret, SecretHash};

/// A link that was just made.
#[derive(Debug)]
pub struct OwnerLink {
    /// What the link ends in; it is nowhere else.
    pub secret: Secret<String>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

fn hash(secret: &OneTimeSecret) -> SecretHash {
    secret.hash("owner_link")
}

fn parse(secret: &str) -> Result<SecretHash, ServiceError> {
    secret.parse().map(|secret| hash(&secret)).map_err(|_malformed| ServiceError::NotFound(Missing::Link))
}

impl Identities<'_> {
    /// Makes a link.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] for whoever has no shell on a machine of the cluster.
    pub async fn make_owner_link(self, act: &Act) -> Result<OwnerLink, ServiceError> {
        if !matches!(act.actor, Actor::Shell(_)) {
            return Err(ServiceError::Forbidden("make owners"));
        }
        let secret = OneTimeSecret::generate();
        let expires_at = self.now() + LIFETIME;
        let ticket = &Ticket { body: OwnerLinkTicket { made_by: act.actor.to_string() }, expires_at };
        let changes = json!({ "expires_at": [null, expires_at] });
        let entry = &self.entry(act, Action::OwnerLinkCreate, &"owner_link", changes);
        let hash = hash(&secret);
        self.store()
            .note(|tx| async move {
                tx.identity().insert_ticket(hash.as_bytes(), ticket).await?;
                Ok::<_, ServiceError>(tx.record(entry).await?)
            })
            .await?;
        Ok(OwnerLink { secret: secret.to_text(), expires_at })
    }

    /// Until when a link is good; looking does not spend it.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] whatever is wrong with it, [`ServiceError::TooMany`] for an address that tries many.
    pub async fn look_at_owner_link(self, secret: &str, browser: &Browser) -> Result<Timestamp, ServiceError> {
        self.cluster().limit_address(Limit::Ticket, browser.address)?;
        let hash = parse(secret)?;
        let finding = self.store().identity().find_ticket::<OwnerLinkTicket>(hash.as_bytes(), self.now());
        let found = self.store().deadline(SOON, finding).await?;
        found.map(|ticket| ticket.expires_at).ok_or(ServiceError::NotFound(Missing::Link))
    }

    /// Spends a link and signs its opener in; answers the value of the cookie. Of any number of attempts at once, one
    /// gets in.
    ///
    /// # Errors
    /// As [`Self::look_at_owner_link`].
    pub async fn redeem_owner_link(self, secret: &str, browser: &Browser) -> Result<Secret<String>, ServiceError> {
        self.cluster().limit_address(Limit::Ticket, browser.address)?;
        let hash = parse(secret)?;
        let new =
            &NewLogin { surface: Surface::Console, who: Who::OwnerLink, role: Role::Owner, identity: None, browser };
        self.store()
            .note(|tx| async move {
                if !tx.identity().spend_ticket::<OwnerLinkTicket>(hash.as_bytes(), self.now()).await? {
                    return Err(ServiceError::NotFound(Missing::Link));
                }
                self.open_login(&tx, new).await
            })
            .await
    }
}
