//! API tokens, without their secrets.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{TokenId, UserId};
use super::role::Role;
use super::text::Name;
use super::user::User;

/// The longest life of a token.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiToken {
    /// Its id, which opens nothing.
    pub id: TokenId,
    /// What it is for.
    pub name: Name,
    /// What its bearer may do.
    pub role: Role,
    /// Who made it, as the audit log names actors.
    pub created_by: Option<String>,
    /// The user whom the token belongs to, and with whose rights it ends; `null` for a service token.
    pub owner_id: Option<UserId>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute; `null` if never.
    pub last_used_at: Option<Timestamp>,
}

impl ApiToken {
    /// The token that this one was made with, and with which it ends.
    pub fn made_with(&self) -> Option<TokenId> {
        self.created_by.as_ref()?.parse().ok()
    }

    /// Whether a person may hold this token: whoever is disabled holds none, and nobody holds one mightier than themselves.
    pub fn may_be_held_by(&self, person: &User) -> bool {
        !person.disabled && person.role.may_grant(self.role)
    }
}

/// How long a token is good, in seconds: one minute to 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 60, maximum = 31_622_400, example = 2_592_000)]
pub struct TokenLifetime(u32);

impl TokenLifetime {
    /// As a duration.
    pub fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(self.0.into())
    }
}

impl Default for TokenLifetime {
    /// 30 days.
    fn default() -> Self {
        Self(30 * 24 * 60 * 60)
    }
}

impl TryFrom<u32> for TokenLifetime {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        SignedDuration::from_secs(seconds.into()).try_into()
    }
}

impl TryFrom<SignedDuration> for TokenLifetime {
    type Error = &'static str;

    fn try_from(life: SignedDuration) -> Result<Self, Self::Error> {
        let seconds = u32::try_from(life.as_secs()).ok().filter(|_| life <= LONGEST && life.as_secs() >= 60);
        seconds.map(Self).ok_or("must be between 60 and 31622400 seconds (366 days)")
    }
}

impl From<TokenLifetime> for u32 {
    fn from(lifetime: TokenLifetime) -> Self {
        lifetime.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_tokens_are_bounded() {
        for good in [60, 3600, 31_622_400] {
            assert_eq!(TokenLifetime::try_from(good).map(u32::from), Ok(good));
        }
        for bad in [0, 59, 31_622_401, u32::MAX] {
            assert!(TokenLifetime::try_from(bad).is_err(), "{bad}");
        }
        assert!(TokenLifetime::try_from(SignedDuration::from_secs(-90)).is_err());
    }
}
