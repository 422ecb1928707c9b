//! API tokens.

use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::evidence::history::in_words;
use crate::{Act, Identities, Missing, Nudge, SOON, ServiceError};
use domain::audit::{Action, Actor};
use domain::ids::TokenId;
use domain::role::{Permission, Role};
use domain::text::Name;
use domain::token::{ApiToken, TokenLifetime};
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
    /// How long it is good: 30 days unless told otherwise, 366 at most.
    #[serde(default)]
    pub expires_in_seconds: TokenLifetime,
}

/// A token that was just made.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token as it is listed, without its secret.
    pub token: ApiToken,
    /// What to show; it is nowhere else.
    pub text: Secret<String>,
}

impl Identities<'_> {
    /// Makes a token; its text is in the answer only.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] for a role that can do more than who asks.
    pub async fn create_token(self, act: &Act, new: NewToken) -> Result<IssuedToken, ServiceError> {
        act.require(Permission::ManageTokens)?;
        check_grant(act, new.role)?;
        let (id, now) = (self.new_id(), self.now());
        let secret = Token::generate(id);
        let token = ApiToken {
            id,
            name: new.name,
            role: new.role,
            created_by: Some(act.actor.to_string()),
            created_at: Some(now),
            expires_at: now + new.expires_in_seconds.duration(),
            last_used_at: None,
        };
        let changes = serde_json::json!({
            "name": [null, token.name], "role": [null, token.role], "expires_at": [null, token.expires_at],
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

    /// Who made each of some tokens, in words for people.
    pub async fn makers(self, tokens: &[ApiToken]) -> Result<Vec<Option<String>>, ServiceError> {
        let makers = tokens.iter().filter_map(|token| token.created_by.as_deref());
        let names = self.evidence().names_of(makers).await?;
        Ok(tokens.iter().map(|token| token.created_by.as_deref().map(|actor| in_words(actor, &names))).collect())
    }

    /// Revokes a token: the next request with it is refused.
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
        self.note_token(&found.token).await;
        Ok(Actor::Token { id: found.token.id, role: found.token.role })
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

fn check_grant(act: &Act, role: Role) -> Result<(), ServiceError> {
    if act.actor.may_grant(role) { Ok(()) } else { Err(ServiceError::Forbidden("do all that the token may")) }
}
