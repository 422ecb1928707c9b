//! API tokens.

use jiff::SignedDuration;

use super::{Act, ServiceError, Services};
use crate::{
    domain::{
        audit::{Action, Actor},
        ids::TokenId,
        role::Role,
        text::Name,
    },
    keys::{
        secret::Secret,
        token::{SecretHash, Token},
    },
    store::tokens::StoredToken,
};

/// The longest life of a token.
pub const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(366 * 24);

impl Services {
    /// Makes a token; its text is in the answer only.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a life of more than 366 days.
    pub async fn create_token(
        &self,
        act: &Act,
        name: Name,
        role: Role,
        expires_in: SignedDuration,
    ) -> Result<Secret<String>, ServiceError> {
        if expires_in <= SignedDuration::ZERO || expires_in > LONGEST_LIFE {
            return Err(ServiceError::invalid("expires_in", "must be more than nothing and at most 366 days"));
        }
        self.require_writable().await?;
        let id: TokenId = self.new_id();
        let token = Token::generate(id);
        let expires_at = self.now() + expires_in;
        let stored = &StoredToken { id, name, role, secret_hash: token.hash().as_bytes().to_vec(), expires_at };
        let changes = serde_json::json!({
            "name": [null, stored.name], "role": [null, role], "expires_at": [null, expires_at],
        });
        self.store().insert_token(stored).await?;
        self.store().insert_audit(&self.entry(act, Action::TokenCreate, &id, changes)).await?;
        Ok(token.to_text())
    }

    /// Who the bearer of a token is.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`], whatever is wrong with the token.
    pub async fn authenticate(&self, bearer: &str) -> Result<Actor, ServiceError> {
        let token: Token = bearer.parse().map_err(|_malformed| ServiceError::Unauthenticated)?;
        let stored = self.store().find_token(token.id).await?.ok_or(ServiceError::Unauthenticated)?;
        let hash: [u8; 32] = stored.secret_hash.try_into().map_err(|_corrupt| ServiceError::Unauthenticated)?;
        if SecretHash::from_bytes(hash) != token.hash() || stored.expires_at <= self.now() {
            return Err(ServiceError::Unauthenticated);
        }
        Ok(Actor::Token { id: stored.id, role: stored.role })
    }
}
