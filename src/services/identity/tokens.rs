//! API tokens.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::evidence::history::in_words;
use crate::{Act, Identities, Missing, Nudge, Refusal, SOON, ServiceError};
use domain::audit::{Action, Actor};
use domain::ids::{TokenId, UserId};
use domain::login::Who;
use domain::role::{Permission, Role};
use domain::text::Name;
use domain::token::{ApiToken, TokenLifetime};
use domain::user::User;
use keys::secret::Secret;
use keys::token::{SecretHash, Token};
use store::entity::{Page, PageRequest};
use store::identity::tokens::StoredToken;

/// Its use is noted no more often than this.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

/// A token to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    pub name: Name,
    /// What its bearer may do; no more than who makes it.
    pub role: Role,
    /// How long it is good: 30 days unless told otherwise, 366 at most, and never longer than the token that makes it.
    #[serde(default)]
    pub expires_in_seconds: TokenLifetime,
    /// Whether it belongs to nobody, so that it outlasts the rights of whoever makes it. Owners at the console may say so.
    #[serde(default)]
    pub service: bool,
}

/// A token that was just made.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token as it is listed, without its secret.
    pub token: ApiToken,
    /// What to show; it is nowhere else.
    pub text: Secret<String>,
}

/// The people of a token, in words.
#[derive(Debug, Clone)]
pub struct TokenPeople {
    /// Who made it, where that is recorded.
    pub maker: Option<String>,
    /// Whom it belongs to; nobody, if it is a service token.
    pub owner: Option<String>,
}

impl Identities<'_> {
    /// Makes a token; its text is in the answer only.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] for a role that can do more than who asks, and for a service token that no owner makes;
    /// [`ServiceError::Conflict`] if it is made with a token that was made with another one.
    pub async fn create_token(self, act: &Act, new: NewToken) -> Result<IssuedToken, ServiceError> {
        act.require(Permission::ManageTokens)?;
        check_grant(act, new.role)?;
        let (id, now) = (self.new_id(), self.now());
        let secret = Token::generate(id);
        let Bounds { owner_id, ends_with } = self.bounds(act, new.service).await?;
        let expires_at = now + new.expires_in_seconds.duration();
        let token = ApiToken {
            id,
            name: new.name,
            role: new.role,
            created_by: Some(act.actor.to_string()),
            owner_id,
            created_at: Some(now),
            expires_at: ends_with.map_or(expires_at, |end| end.min(expires_at)),
            last_used_at: None,
        };
        let changes = serde_json::json!({
            "name": [null, token.name], "role": [null, token.role], "expires_at": [null, token.expires_at],
            "owner_id": [null, token.owner_id],
        });
        let entry = &self.entry(act, Action::TokenCreate, &id, changes);
        let stored = &StoredToken { token, secret_hash: secret.hash().as_bytes().to_vec() };
        self.store()
            .note(|tx| async move {
                tx.identity().insert_token(stored).await?;
                Ok::<_, ServiceError>(tx.record(entry).await?)
            })
            .await?;
        self.nudge(&Nudge::TokenChange(id));
        Ok(IssuedToken { token: stored.token.clone(), text: secret.to_text() })
    }

    /// What bounds a token that is to be made: whom it belongs to, and what it ends with.
    async fn bounds(self, act: &Act, service: bool) -> Result<Bounds, ServiceError> {
        let not_yours = || ServiceError::Forbidden("make service tokens");
        match act.actor {
            Actor::Shell(_) | Actor::Admin { who: Who::OwnerLink, .. } => Ok(Bounds::default()),
            Actor::Admin { role: Role::Owner, .. } if service => Ok(Bounds::default()),
            Actor::Admin { who: Who::User(user), .. } if !service => {
                Ok(Bounds { owner_id: Some(user), ends_with: None })
            }
            Actor::Token { id, .. } => {
                let with = self.store().identity().find_token(id).await?.ok_or(ServiceError::Unauthenticated)?.token;
                if with.made_with().is_some() {
                    return Err(ServiceError::Conflict(Refusal::MadeWithToken));
                }
                if service && with.owner_id.is_some() {
                    return Err(not_yours());
                }
                Ok(Bounds { owner_id: with.owner_id, ends_with: Some(with.expires_at) })
            }
            Actor::Admin { .. } | Actor::Person { .. } | Actor::Holder(_) | Actor::Host(_) | Actor::System(_) => {
                Err(not_yours())
            }
        }
    }

    /// A page of the tokens that are good.
    pub async fn tokens(self, act: &Act, page: &PageRequest) -> Result<Page<ApiToken>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().identity().list_tokens(self.now(), page).await?)
    }

    /// One token.
    pub async fn token(self, act: &Act, id: TokenId) -> Result<ApiToken, ServiceError> {
        act.require(Permission::Read)?;
        let found = self.store().identity().find_token(id).await?.map(|found| found.token);
        found.filter(|token| token.expires_at > self.now()).ok_or(ServiceError::NotFound(Missing::ApiToken))
    }

    /// Who made each of some tokens, and whom each belongs to, in words for people.
    pub async fn people_of(self, tokens: &[ApiToken]) -> Result<Vec<TokenPeople>, ServiceError> {
        let owners: Vec<_> = tokens.iter().map(|token| token.owner_id.map(|id| id.to_string())).collect();
        let makers = tokens.iter().filter_map(|token| token.created_by.as_deref());
        let names = self.evidence().names_of(makers.chain(owners.iter().flatten().map(String::as_str))).await?;
        let words = |actor: &str| in_words(actor, &names);
        let people = |(token, owner): (&ApiToken, &Option<String>)| TokenPeople {
            maker: token.created_by.as_deref().map(words),
            owner: owner.as_deref().map(words),
        };
        Ok(tokens.iter().zip(&owners).map(people).collect())
    }

    /// Revokes a token: the next request with it, or with one that was made with it, is refused.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] for a token that can do more than who asks.
    pub async fn revoke_token(self, act: &Act, id: TokenId) -> Result<(), ServiceError> {
        act.require(Permission::ManageTokens)?;
        let token = self.token(act, id).await?;
        check_grant(act, token.role)?;
        let changes = serde_json::json!({ "name": [token.name, null], "role": [token.role, null] });
        let entry = &self.entry(act, Action::TokenRevoke, &id, changes);
        self.store()
            .note(|tx| async move {
                if !tx.identity().drop_token(id).await? {
                    return Err(ServiceError::NotFound(Missing::ApiToken));
                }
                Ok(tx.record(entry).await?)
            })
            .await?;
        self.nudge(&Nudge::TokenChange(id));
        Ok(())
    }

    /// Who the bearer of a token is.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`], whatever is wrong with the token.
    pub async fn authenticate(self, bearer: &str) -> Result<Actor, ServiceError> {
        let shown: Token = bearer.parse().map_err(|_malformed| ServiceError::Unauthenticated)?;
        let found = self.store().identity().find_token(shown.id).await?.ok_or(ServiceError::Unauthenticated)?;
        let hash: [u8; 32] = found.secret_hash.try_into().map_err(|_corrupt| ServiceError::Unauthenticated)?;
        if SecretHash::from_bytes(hash) != shown.hash() || found.token.expires_at <= self.now() {
            return Err(ServiceError::Unauthenticated);
        }
        if !self.stands(&found.token).await? {
            return Err(ServiceError::Unauthenticated);
        }
        self.note_token(&found.token).await;
        Ok(Actor::Token { id: found.token.id, role: found.token.role })
    }

    /// Whether everything that a token rests on stands: each token that it comes of, and the person whom it belongs to.
    async fn stands(self, token: &ApiToken) -> Result<bool, ServiceError> {
        // The previous release made tokens with tokens of any depth, and named the owner of the first one only.
        let (mut maker, mut owner) = (token.made_with(), token.owner_id);
        while let Some(id) = maker {
            let Some(StoredToken { token: above, .. }) = self.store().identity().find_token(id).await? else {
                return Ok(false);
            };
            if above.expires_at <= self.now() || !above.role.may_grant(token.role) {
                return Ok(false);
            }
            (maker, owner) = (above.made_with(), owner.or(above.owner_id));
        }
        let Some(owner) = owner else { return Ok(true) };
        Ok(self.store().find::<User>(&owner).await?.is_some_and(|found| token.may_be_held_by(&found.value)))
    }

    async fn note_token(self, token: &ApiToken) {
        let now = self.now();
        if token.last_used_at.is_some_and(|used| now.duration_since(used) < TOUCH) {
            return;
        }
        // That it could not be noted shuts nobody out; the next use notes it.
        if let Err(error) = self.store().write(SOON, self.store().identity().touch_token(token.id, now)).await {
            tracing::debug!(%error, "the use of a token was not noted");
        }
    }
}

/// What bounds a token that is to be made.
#[derive(Default)]
struct Bounds {
    /// Whom it belongs to.
    owner_id: Option<UserId>,
    /// When the token ends that it is made with.
    ends_with: Option<Timestamp>,
}

fn check_grant(act: &Act, role: Role) -> Result<(), ServiceError> {
    if act.actor.may_grant(role) { Ok(()) } else { Err(ServiceError::Forbidden("do all that the token may")) }
}
