//! What ends with somebody's standing: the logins, tokens, links and invitations of a person who is disabled or deleted, and
//! those that another role does not carry.

use crate::ServiceError;
use domain::role::Permission;
use domain::user::User;
use store::policy::PolicyChange;

/// Ends, with a change of a user or a deletion, whatever the user is no longer entitled to.
pub(crate) async fn end_what_lapses(
    tx: &PolicyChange,
    before: &User,
    after: Option<&User>,
) -> Result<(), ServiceError> {
    let id = before.id;
    let present = after.filter(|after| !after.disabled);
    if present.is_none_or(|after| after.identity != before.identity) {
        tx.identity().end_logins_of(id).await?;
        tx.identity().drop_tickets_of(id).await?;
    }
    let tokens = tx.identity().tokens_of(id).await?;
    // Links and invitations name who made them as the audit log does: the person, or a token of the person.
    let makers = tokens.iter().map(|token| token.id.to_string()).chain([id.to_string()]).collect::<Vec<_>>();
    let may = |permission| present.is_some_and(|after| after.role.may(permission));
    if !may(Permission::ManageUsers) {
        tx.identity().drop_links_by(&makers, id).await?;
    }
    if !may(Permission::ManageHosts) {
        tx.identity().drop_join_tickets_by(&makers).await?;
    }
    for token in tokens.iter().filter(|token| !present.is_some_and(|after| token.may_be_held_by(after))) {
        tx.identity().drop_token(token.id).await?;
    }
    Ok(())
}
