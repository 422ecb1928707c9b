//! Users: create, change, disable, delete.

use std::collections::BTreeSet;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    Act, People, Removable, ServiceError, check_revision, difference, given,
    identity::owners::{keep_an_owner, spare_oneself},
};
use domain::{
    Revised, Revision,
    audit::Action,
    ids::{OrganizationId, UserId},
    organization::Organization,
    profile::Profile,
    role::{Permission, Role},
    search::OrganizationRef,
    text::{Email, GroupName, Name},
    user::User,
};
use store::{
    entity::{Page, PageRequest},
    people::users::UserFilter,
    policy::PolicyChange,
};

const WHAT: &str = "user";

/// A new user.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Whom the user belongs to.
    pub organization_id: OrganizationId,
    /// What people call the user.
    pub name: Name,
    /// The mailbox; machines have none.
    pub email: Option<Email>,
    /// The groups that open servers.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// What the user may do in the console.
    #[serde(default = "plain_user")]
    pub role: Role,
    /// Whether the user starts shut out.
    #[serde(default)]
    pub disabled: bool,
}

fn plain_user() -> Role {
    Role::User
}

/// A change of a user; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// The new organization.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub organization_id: Option<OrganizationId>,
    /// The new name.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub name: Option<Name>,
    /// The new mailbox; `null` removes it.
    #[serde(default)]
    #[schema(value_type = Option<Email>)]
    pub email: Removable<Email>,
    /// All groups from now on.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub groups: Option<BTreeSet<GroupName>>,
    /// The new role.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub role: Option<Role>,
    /// Whether the user is shut out.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub disabled: Option<bool>,
    /// `null` forgets the account that the user signs in with; the next sign-in under the user's verified e-mail address
    /// links another one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub identity: Removable<Unlinked>,
}

/// No value: an account is linked by signing in, never by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Unlinked {}

impl UserPatch {
    fn apply(&self, user: &User) -> User {
        User {
            id: user.id,
            organization_id: self.organization_id.unwrap_or(user.organization_id),
            name: self.name.clone().unwrap_or_else(|| user.name.clone()),
            email: self.email.over(user.email.as_ref()),
            groups: self.groups.clone().unwrap_or_else(|| user.groups.clone()),
            role: self.role.unwrap_or(user.role),
            disabled: self.disabled.unwrap_or(user.disabled),
            identity: match self.identity {
                Removable::Removed => None,
                Removable::Kept => user.identity.clone(),
                Removable::Set(never) => match never {},
            },
        }
    }
}

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

    /// Sees to it that a search finds whom the release before wrote; answers how many were not found until now.
    pub async fn index_users(self) -> Result<u64, ServiceError> {
        Ok(self.store().people().index_users().await?)
    }

    /// One user.
    pub async fn user(self, act: &Act, id: UserId) -> Result<Revised<User>, ServiceError> {
        act.require(Permission::Read)?;
        self.store().find::<User>(&id).await?.ok_or(ServiceError::NotFound(WHAT))
    }

    /// Makes a user.
    pub async fn create_user(self, act: &Act, new: NewUser) -> Result<Revised<User>, ServiceError> {
        act.require(Permission::ManageUsers)?;
        check_role(act, Role::User, new.role)?;
        let NewUser { organization_id, name, email, groups, role, disabled } = new;
        let value = &User { id: self.new_id(), organization_id, name, email, groups, role, disabled, identity: None };
        self.change_by(act, |tx| async move {
            check_organization(&tx, value.organization_id).await?;
            tx.insert(value).await.map_err(ServiceError::taken("email", WHAT))?;
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
            let found = tx.find::<User>(&id).await?.ok_or(ServiceError::NotFound(WHAT))?;
            check_revision(&found, expected)?;
            let before = &found.value;
            let after = patch.apply(before);
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
            tx.replace(&after).await.map_err(ServiceError::taken("email", WHAT))?;
            if after.disabled || after.identity != before.identity {
                tx.identity().end_logins_of(id).await?;
                tx.identity().drop_tickets_of(id).await?;
            }
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
            let found = tx.find::<User>(&id).await?.ok_or(ServiceError::NotFound(WHAT))?;
            check_revision(&found, expected)?;
            check_role(act, found.value.role, Role::User)?;
            spare_oneself(act, &found.value, None)?;
            keep_an_owner(&tx, &found.value, None).await?;
            for profile in tx.people().profiles_of(id).await? {
                tx.access().free_address(profile.value.id).await?;
                tx.delete::<Profile>(&profile.value.id, self.now()).await?;
            }
            tx.identity().end_logins_of(id).await?;
            tx.identity().drop_tickets_of(id).await?;
            tx.delete::<User>(&id, self.now()).await?;
            let changes = difference(Some(&found.value), None);
            tx.record(&self.entry(act, Action::UserDelete, &id, changes)).await?;
            Ok(())
        })
        .await
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
    found.map(drop).ok_or_else(|| ServiceError::invalid("organization_id", "there is no such organization"))
}
