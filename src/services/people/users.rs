//! Users: create, change, disable, delete.

pub use domain::user::{NewUser, UserPatch};

use crate::identity::owners::{keep_an_owner, spare_oneself};
use crate::identity::standing::end_what_lapses;
use crate::{Act, InvalidReason, Missing, People, Refusal, ServiceError, check_revision, difference};
use domain::audit::{Action, Actor};
use domain::ids::{OrganizationId, UserId};
use domain::organization::Organization;
use domain::profile::Profile;
use domain::role::{Permission, Role};
use domain::search::OrganizationRef;
use domain::user::User;
use domain::{Revised, Revision};
use store::entity::{Page, PageRequest};
use store::people::users::UserFilter;
use store::policy::PolicyChange;

impl People<'_> {
    /// A page of users.
    pub async fn users(
        self,
        act: &Act,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<Revised<User>>, ServiceError> {
        act.require(Permission::Read)?;
        let nobody = Page { items: Vec::new(), next: None, count: None };
        let named = match &filter.search.organization {
            None => return Ok(self.store().people().list_users(filter, page).await?),
            Some(OrganizationRef::Id(id)) => Some(*id),
            Some(OrganizationRef::Name(name)) => {
                self.store().people().find_organization_by_name(name).await?.map(|found| found.id)
            }
        };
        match (named, filter.organization_id) {
            (Some(named), other) if other.is_none_or(|other| other == named) => {
                let filter = UserFilter { organization_id: Some(named), ..filter.clone() };
                Ok(self.store().people().list_users(&filter, page).await?)
            }
            _ => Ok(nobody),
        }
    }

    /// Sees to it that a search finds whom the previous release wrote; answers how many were not found until now.
    pub async fn index_users(self) -> Result<u64, ServiceError> {
        Ok(self.store().people().index_users().await?)
    }

    /// One user.
    pub async fn user(self, act: &Act, id: UserId) -> Result<Revised<User>, ServiceError> {
        act.require(Permission::Read)?;
        self.store().find::<User>(&id).await?.ok_or(ServiceError::NotFound(Missing::User))
    }

    /// Makes a user.
    pub async fn create_user(self, act: &Act, new: NewUser) -> Result<Revised<User>, ServiceError> {
        act.require(Permission::ManageUsers)?;
        check_role(act, Role::User, new.role)?;
        let value = &User::new(self.new_id(), new);
        self.change_by(act, |tx| async move {
            check_organization(&tx, value.organization_id).await?;
            tx.insert(value).await.map_err(ServiceError::taken(Refusal::EmailTaken))?;
            let changes = difference(None, Some(value));
            tx.record(&self.entry(act, Action::UserCreate, &value.id, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: value.clone() })
        })
        .await
    }

    /// Changes a user. Whoever loses access by it loses the session too, on whatever host.
    pub async fn update_user(
        self,
        act: &Act,
        id: UserId,
        patch: UserPatch,
        expected: Option<Revision>,
    ) -> Result<Revised<User>, ServiceError> {
        act.require(Permission::ManageUsers)?;
        let patch = &patch;
        self.change_by(act, |tx| async move {
            let found = tx.find::<User>(&id).await?.ok_or(ServiceError::NotFound(Missing::User))?;
            check_revision(&found, expected)?;
            let before = &found.value;
            let after = before.with(patch);
            if after == *before {
                return Ok(found);
            }
            // Whoever is of one's own level or above is not one's to change in any way.
            check_role(act, before.role, after.role)?;
            spare_oneself(act, before, Some(&after))?;
            keep_an_owner(&tx, before, Some(&after)).await?;
            if after.organization_id != before.organization_id {
                check_organization(&tx, after.organization_id).await?;
            }
            tx.replace(&after).await.map_err(ServiceError::taken(Refusal::EmailTaken))?;
            end_what_lapses(&tx, before, Some(&after)).await?;
            let action = match (before.disabled, after.disabled) {
                (false, true) => Action::UserDisable,
                (true, false) => Action::UserEnable,
                _ => Action::UserUpdate,
            };
            tx.record(&self.entry(act, action, &id, difference(Some(before), Some(&after)))).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }

    /// Deletes a user with all profiles.
    pub async fn delete_user(self, act: &Act, id: UserId, expected: Option<Revision>) -> Result<(), ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.change_by(act, |tx| async move {
            let found = tx.find::<User>(&id).await?.ok_or(ServiceError::NotFound(Missing::User))?;
            check_revision(&found, expected)?;
            check_role(act, found.value.role, Role::User)?;
            spare_oneself(act, &found.value, None)?;
            keep_an_owner(&tx, &found.value, None).await?;
            for profile in tx.people().profiles_of(id).await? {
                tx.access().free_address(profile.value.id).await?;
                tx.delete::<Profile>(&profile.value.id, self.now()).await?;
            }
            end_what_lapses(&tx, &found.value, None).await?;
            tx.delete::<User>(&id, self.now()).await?;
            let changes = difference(Some(&found.value), None);
            tx.record(&self.entry(act, Action::UserDelete, &id, changes)).await?;
            Ok(())
        })
        .await
    }
}

/// Refuses to issue, link, replace or revoke a profile of a user whom the actor may not manage. A person's own profiles are
/// the person's to manage, and the holder of a link is let in by the link.
pub(crate) fn check_profiles_of(act: &Act, user: &User) -> Result<(), ServiceError> {
    match act.actor {
        Actor::Person { user: own, .. } | Actor::Holder(own) if own == user.id => Ok(()),
        _ => check_role(act, user.role, user.role),
    }
}

pub(crate) fn check_role(act: &Act, from: Role, to: Role) -> Result<(), ServiceError> {
    if (from, to) == (Role::User, Role::User) || act.actor.may_change_role(from, to) {
        Ok(())
    } else {
        Err(ServiceError::Forbidden("manage users of this role"))
    }
}

pub(crate) async fn check_organization(tx: &PolicyChange, id: OrganizationId) -> Result<(), ServiceError> {
    let found = tx.find::<Organization>(&id).await?;
    let unknown = || ServiceError::invalid("organization_id", InvalidReason::NoSuchOrganization { organization: id });
    found.map(drop).ok_or_else(unknown)
}
