//! Logins: who is signed in with which browser, and how that ends.
//!
//! A login is a record in the database, found by the hash of the cookie. Every page reads it anew, together with its
//! user, so an end anywhere is an end everywhere. What is derived from the cookie and not stored: the token that forms
//! carry.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::{Act, SOON, ServiceError, Services};
use crate::{
    domain::{
        audit::{Action, Actor},
        ids::{LoginId, RequestId},
        login::Login,
        user::User,
    },
    keys::token::{OneTimeSecret, SecretHash},
};

pub use super::sign_in::{CallbackAnswer, SignInFacts, SignInRefusal, SignInStart, SignedIn};

/// How exactly the last use of a login is known; more would be a write per page.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

/// What is known of a browser.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Family and major version only, for instance `Firefox 140`.
    pub label: String,
    /// From where it asks.
    pub address: IpAddr,
    /// In the course of which request, for the trail.
    pub request_id: Option<RequestId>,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub user: User,
    /// By which login.
    pub login: LoginId,
    /// The token that forms carry, bound to the login (SEC-CSRF-01).
    pub form_token: String,
    /// In the course of which request, for the trail; whoever answers one sets it.
    pub request_id: Option<RequestId>,
}

impl Person {
    /// The person as one who acts.
    pub fn act(&self) -> Act {
        Act { actor: Actor::Person { user: self.user.id, login: self.login }, request_id: self.request_id }
    }

    /// Whether a form was made for this login; in constant time.
    pub fn is_own_form(&self, token: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.form_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// A login as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginView {
    /// Its id.
    pub id: LoginId,
    /// Which browser.
    pub label: String,
    /// From where.
    pub address: IpAddr,
    /// Since when.
    pub since: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl LoginView {
    fn new(login: Login, asking: LoginId) -> Self {
        let Login { id, label, address, since, seen_at, .. } = login;
        Self { id, label, address, since, seen_at, current: id == asking }
    }
}

/// The hash by which a login cookie is known.
pub(super) fn login_hash(secret: &OneTimeSecret) -> SecretHash {
    secret.hash("login")
}

fn form_token(secret: &OneTimeSecret) -> String {
    data_encoding::HEXLOWER.encode(secret.hash("form").as_bytes())
}

impl Services {
    /// Whose login cookie this is; nobody's if it is over.
    pub async fn person(&self, cookie: &str) -> Result<Option<Person>, ServiceError> {
        let Ok(secret) = cookie.parse::<OneTimeSecret>() else { return Ok(None) };
        let hash = login_hash(&secret);
        let found = self.store().deadline(SOON, self.store().find_login(hash.as_bytes())).await?;
        let now = self.now();
        let Some((login, user)) = found.filter(|(login, user)| login.ends_at() > now && !user.disabled) else {
            return Ok(None);
        };
        if now.duration_since(login.seen_at) >= TOUCH {
            let seen = Login { seen_at: now, ..login.clone() };
            // That it could not be noted shuts nobody out; the next page notes it.
            if let Err(error) = self.store().write(SOON, self.store().touch_login(&seen)).await {
                tracing::debug!(%error, "the use of a login was not noted");
            }
        }
        Ok(Some(Person { user, login: login.id, form_token: form_token(&secret), request_id: None }))
    }

    /// Ends the login that asks.
    pub async fn sign_out(&self, person: &Person) -> Result<(), ServiceError> {
        match self.end_login(person, person.login).await {
            // Over already: what was wanted.
            Err(ServiceError::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    /// All logins of the one who asks, the newest first.
    pub async fn logins_of(&self, person: &Person) -> Result<Vec<LoginView>, ServiceError> {
        let logins = self.store().deadline(SOON, self.store().logins_of(person.user.id)).await?;
        let now = self.now();
        let live = logins.into_iter().filter(|login| login.ends_at() > now);
        Ok(live.map(|login| LoginView::new(login, person.login)).collect())
    }

    /// Ends a login of the one who asks.
    pub async fn end_login(&self, person: &Person, id: LoginId) -> Result<(), ServiceError> {
        let entry = &self.entry(&person.act(), Action::LoginEnd, &id, serde_json::json!({}));
        self.store()
            .note(|tx| async move {
                if !tx.end_login(person.user.id, id).await? {
                    return Err(ServiceError::NotFound("sign-in"));
                }
                Ok(tx.record(entry).await?)
            })
            .await
    }

    /// Ends all logins of the one who asks but the one that asks; answers how many.
    pub async fn end_other_logins(&self, person: &Person) -> Result<u64, ServiceError> {
        self.store()
            .note(|tx| async move {
                let ended = tx.end_other_logins(person.user.id, person.login).await?;
                if ended > 0 {
                    let changes = serde_json::json!({ "others": [ended, 0] });
                    tx.record(&self.entry(&person.act(), Action::LoginEnd, &person.user.id, changes)).await?;
                }
                Ok(ended)
            })
            .await
    }
}
