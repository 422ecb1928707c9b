//! Logins: who is signed in with which browser, and how that ends.
//!
//! A login is a record in the database, found by the hash of the cookie. Every page reads it anew, together with its
//! user, so an end anywhere is an end everywhere. What is derived from the cookie and not stored: the token that forms
//! carry.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use crate::identity::outcome::cleaned;
use crate::people::users::check_role;
use crate::{Act, Identities, Missing, SOON, ServiceError};
use domain::audit::{Action, Actor};
use domain::ids::{LoginId, RequestId, UserId};
use domain::login::{Login, Surface, Who};
use domain::role::{Permission, Role};
use domain::secret::Secret;
use domain::user::{Identity, User};
use keys::token::{OneTimeSecret, SecretHash};
use store::policy::PolicyChange;

/// How exactly the last use of a login is known; more would be a write per page.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

/// A browser: its address and its name for itself.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Family and major version only, for instance `Firefox 140`.
    pub label: String,
    /// From where it asks.
    pub address: IpAddr,
    /// In the course of which request, for the audit log.
    pub request_id: Option<RequestId>,
}

/// The token that forms carry, bound to the login that they were made for (SEC-CSRF-01).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormToken(pub String);

impl FormToken {
    fn of(secret: &OneTimeSecret) -> Self {
        Self(data_encoding::HEXLOWER.encode(secret.hash("form").as_bytes()))
    }

    /// Whether a form carries it; in constant time.
    pub fn is(&self, token: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// Somebody who is signed in to the portal.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub user: User,
    /// By which login.
    pub login: LoginId,
    /// The token that forms carry.
    pub form_token: FormToken,
    /// In the course of which request, for the audit log; whoever answers one sets it.
    pub request_id: Option<RequestId>,
}

impl Person {
    /// The person as one who acts.
    pub fn act(&self) -> Act {
        Act::by(Actor::Person { user: self.user.id, login: self.login }, self.request_id)
    }
}

/// Somebody who is signed in to the console.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Who; nobody by name if an owner link was opened.
    pub user: Option<User>,
    /// What the person may do, as of this request.
    pub role: Role,
    /// By which login.
    pub login: LoginId,
    /// The token that forms carry.
    pub form_token: FormToken,
    /// In the course of which request, for the audit log; whoever answers one sets it.
    pub request_id: Option<RequestId>,
}

impl Admin {
    /// The person as one who acts.
    pub fn act(&self) -> Act {
        let who = self.user.as_ref().map_or(Who::OwnerLink, |user| Who::User(user.id));
        Act::by(Actor::Admin { who, login: self.login, role: self.role }, self.request_id)
    }
}

/// Whether looking a login up counts as using it. What a page does by itself does not: it would keep a login alive that
/// nobody sits in front of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Somebody opened a page or sent a form.
    Person,
    /// A page that is open somewhere asked.
    Page,
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
        let Login { id, label, address, since, seen_at, surface, .. } = login;
        let label = match surface {
            Surface::Portal => label,
            Surface::Console => format!("{label}, admin console"),
        };
        Self { id, label, address, since, seen_at, current: id == asking }
    }
}

/// The hash by which the cookie of a login is known. The surface is part of it, so that no cookie of one is found by
/// the other.
pub(crate) fn login_hash(surface: Surface, secret: &OneTimeSecret) -> SecretHash {
    match surface {
        Surface::Portal => secret.hash("login"),
        Surface::Console => secret.hash("console_login"),
    }
}

/// A login that is about to be.
pub(crate) struct NewLogin<'a> {
    /// To which pages.
    pub(crate) surface: Surface,
    /// Whose.
    pub(crate) who: Who,
    /// What that person is to the cluster.
    pub(crate) role: Role,
    /// By which account.
    pub(crate) identity: Option<&'a Identity>,
    /// With which browser.
    pub(crate) browser: &'a Browser,
}

/// A login that is good, with its user, if it has one.
struct Found {
    login: Login,
    user: Option<User>,
    form_token: FormToken,
}

impl Identities<'_> {
    /// Whose cookie of the portal this is; nobody's if the login is over.
    pub async fn person(self, cookie: &str) -> Result<Option<Person>, ServiceError> {
        let Some(Found { login, user: Some(user), form_token }) = self.login(Surface::Portal, cookie).await? else {
            return Ok(None);
        };
        self.note_use(&login).await;
        Ok(Some(Person { user, login: login.id, form_token, request_id: None }))
    }

    /// Whose cookie of the console this is; nobody's if the login is over, or if its user administers nothing any more.
    pub async fn admin(self, cookie: &str, by: Use) -> Result<Option<Admin>, ServiceError> {
        let Some(Found { login, user, form_token }) = self.login(Surface::Console, cookie).await? else {
            return Ok(None);
        };
        let role = user.as_ref().map_or(Role::Owner, |user| user.role);
        if role == Role::User {
            return Ok(None);
        }
        if by == Use::Person {
            self.note_use(&login).await;
        }
        Ok(Some(Admin { user, role, login: login.id, form_token, request_id: None }))
    }

    async fn login(self, surface: Surface, cookie: &str) -> Result<Option<Found>, ServiceError> {
        let Ok(secret) = cookie.parse::<OneTimeSecret>() else { return Ok(None) };
        let hash = login_hash(surface, &secret);
        let found = self.store().deadline(SOON, self.store().identity().find_login(hash.as_bytes())).await?;
        let now = self.now();
        let is_live = |login: &Login| login.surface == surface && login.ends_at() > now;
        let live = found.filter(|(login, user)| is_live(login) && user.as_ref().is_none_or(|user| !user.disabled));
        Ok(live.map(|(login, user)| Found { login, user, form_token: FormToken::of(&secret) }))
    }

    async fn note_use(self, login: &Login) {
        let now = self.now();
        if now.duration_since(login.seen_at) >= TOUCH {
            let seen = Login { seen_at: now, ..login.clone() };
            // That it could not be noted shuts nobody out; the next page notes it.
            if let Err(error) = self.store().write(SOON, self.store().identity().touch_login(&seen)).await {
                tracing::debug!(%error, "the use of a login was not noted");
            }
        }
    }

    /// Begins a login, in the transaction of what it was opened by; answers the value of its cookie.
    pub(crate) async fn open_login(
        self,
        tx: &PolicyChange,
        new: &NewLogin<'_>,
    ) -> Result<Secret<String>, ServiceError> {
        let NewLogin { surface, who, role, identity, browser } = *new;
        let (secret, now) = (OneTimeSecret::generate(), self.now());
        let id: LoginId = self.new_id();
        let (label, address) = (cleaned(&browser.label), browser.address);
        let login = Login { id, who, surface, label, address, since: now, seen_at: now };
        tx.identity().insert_login(&login, identity, login_hash(surface, &secret).as_bytes()).await?;
        let actor = match (surface, who) {
            (Surface::Portal, Who::User(user)) => Actor::Person { user, login: id },
            _ => Actor::Admin { who, login: id, role },
        };
        let act = Act::by(actor, browser.request_id);
        let changes = serde_json::json!({
            "address": [null, login.address], "browser": [null, login.label], "surface": [null, surface],
        });
        tx.record(&self.entry(&act, Action::LoginStart, &id, changes)).await?;
        Ok(secret.to_text())
    }

    /// Ends the login of the console that asks.
    pub async fn sign_out_admin(self, admin: &Admin) -> Result<(), ServiceError> {
        let entry = &self.entry(&admin.act(), Action::LoginEnd, &admin.login, serde_json::json!({}));
        self.store()
            .note(|tx| async move {
                // Over already: what was wanted.
                if tx.identity().drop_login(admin.login).await? {
                    tx.record(entry).await?;
                }
                Ok(())
            })
            .await
    }

    /// Ends the login that asks.
    pub async fn sign_out(self, person: &Person) -> Result<(), ServiceError> {
        match self.end_login(person, person.login).await {
            // Over already: what was wanted.
            Err(ServiceError::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    /// All logins of the one who asks, the newest first.
    pub async fn logins_of(self, person: &Person) -> Result<Vec<LoginView>, ServiceError> {
        let logins = self.store().deadline(SOON, self.store().identity().logins_of(person.user.id)).await?;
        let now = self.now();
        let live = logins.into_iter().filter(|login| login.ends_at() > now);
        Ok(live.map(|login| LoginView::new(login, person.login)).collect())
    }

    /// Ends a login of the one who asks.
    pub async fn end_login(self, person: &Person, id: LoginId) -> Result<(), ServiceError> {
        let entry = &self.entry(&person.act(), Action::LoginEnd, &id, serde_json::json!({}));
        self.store()
            .note(|tx| async move {
                if !tx.identity().end_login(person.user.id, id).await? {
                    return Err(ServiceError::NotFound(Missing::SignIn));
                }
                Ok(tx.record(entry).await?)
            })
            .await
    }

    /// Ends all logins of a user, to the portal and to the console; answers how many.
    pub async fn end_logins_of(self, act: &Act, user: UserId) -> Result<u64, ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.store()
            .note(|tx| async move {
                let found = tx.find::<User>(&user).await?.ok_or(ServiceError::NotFound(Missing::User))?.value;
                check_role(act, found.role, found.role)?;
                let ended = tx.identity().end_logins_of(user).await?;
                if ended > 0 {
                    let changes = serde_json::json!({ "sign_ins": [ended, 0] });
                    tx.record(&self.entry(act, Action::LoginEnd, &user, changes)).await?;
                }
                Ok(ended)
            })
            .await
    }

    /// Ends all logins of the one who asks but the one that asks; answers how many.
    pub async fn end_other_logins(self, person: &Person) -> Result<u64, ServiceError> {
        self.store()
            .note(|tx| async move {
                let ended = tx.identity().end_other_logins(person.user.id, person.login).await?;
                if ended > 0 {
                    let changes = serde_json::json!({ "others": [ended, 0] });
                    tx.record(&self.entry(&person.act(), Action::LoginEnd, &person.user.id, changes)).await?;
                }
                Ok(ended)
            })
            .await
    }
}
