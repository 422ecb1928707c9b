//! What keeps a cluster governable: there is always an enabled owner, and nobody changes their own standing.

use crate::{Act, Refusal, ServiceError};
use domain::audit::Actor;
use domain::ids::UserId;
use domain::login::Who;
use domain::role::Role;
use domain::user::User;
use store::policy::PolicyChange;

fn rules(user: &User) -> bool {
    user.role == Role::Owner && !user.disabled
}

/// Refuses a change of a user, or a deletion, that would leave no enabled owner. `tx` is alone, so of two changes at the
/// same time the second sees the first.
///
/// # Errors
/// [`ServiceError::Conflict`].
pub(crate) async fn keep_an_owner(tx: &PolicyChange, before: &User, after: Option<&User>) -> Result<(), ServiceError> {
    if !rules(before) || after.is_some_and(rules) || tx.people().has_another_owner(before.id).await? {
        return Ok(());
    }
    Err(ServiceError::Conflict(Refusal::LastOwner))
}

/// Refuses to let somebody change their own role, disable or delete themselves.
///
/// # Errors
/// [`ServiceError::Conflict`].
pub(crate) fn spare_oneself(act: &Act, before: &User, after: Option<&User>) -> Result<(), ServiceError> {
    let same = after.is_some_and(|after| (after.role, after.disabled) == (before.role, before.disabled));
    if same || !is_oneself(act, before.id) {
        return Ok(());
    }
    Err(ServiceError::Conflict(Refusal::OwnStanding))
}

fn is_oneself(act: &Act, user: UserId) -> bool {
    matches!(act.actor, Actor::Admin { who: Who::User(own), .. } if own == user)
}
