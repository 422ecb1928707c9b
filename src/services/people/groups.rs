//! Groups: which there are, who is in them, what they are called.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::people::users::check_role;
use crate::{Act, InvalidReason, Missing, People, Refusal, ServiceError, difference};
use domain::audit::Action;
use domain::group::{Group, GroupId};
use domain::ids::{ServerId, UserId};
use domain::role::Permission;
use domain::server::Server;
use domain::text::{Email, GroupName};
use domain::user::User;
use store::policy::PolicyChange;

/// So many users can be put in or taken out at once.
const MOST: usize = 1_000;

/// Who is put into a group and who is taken out.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Users who are in it from now on; 1,000 at most, with the others.
    #[serde(default)]
    pub add: Vec<UserId>,
    /// Users who are not in it from now on.
    #[serde(default)]
    pub remove: Vec<UserId>,
}

/// A change of a group.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupPatch {
    /// Its new name, which no other group has.
    pub name: GroupName,
}

impl People<'_> {
    /// All groups, by their names.
    pub async fn groups(self, act: &Act) -> Result<Vec<Group>, ServiceError> {
        act.require(Permission::Read)?;
        let (users, open) =
            tokio::try_join!(self.store().people().user_groups(), self.store().people().servers_with_groups(None))?;
        let mut servers: BTreeMap<GroupName, Vec<ServerId>> = BTreeMap::new();
        for Server { id, groups, .. } in open {
            for group in groups {
                servers.entry(group).or_default().push(id);
            }
        }
        let names: BTreeSet<GroupName> = users.keys().chain(servers.keys()).cloned().collect();
        let group = |name: GroupName| Group {
            users: users.get(&name).copied().unwrap_or_default(),
            servers: servers.remove(&name).unwrap_or_default(),
            id: name.clone().into(),
            name,
        };
        Ok(names.into_iter().map(group).collect())
    }

    /// One group.
    pub async fn group(self, act: &Act, name: &GroupName) -> Result<Group, ServiceError> {
        act.require(Permission::Read)?;
        let (users, open) = tokio::try_join!(
            self.store().people().count_in_group(name),
            self.store().people().servers_with_groups(Some(name))
        )?;
        if users == 0 && open.is_empty() {
            return Err(ServiceError::NotFound(Missing::Group));
        }
        let servers = open.into_iter().map(|server| server.id).collect();
        Ok(Group { id: name.clone().into(), name: name.clone(), users, servers })
    }

    /// Puts users into a group and takes users out of it; the group comes into being by that. Whoever loses access by it
    /// loses the session too.
    pub async fn change_members(self, act: &Act, name: &GroupName, change: &Membership) -> Result<(), ServiceError> {
        act.require(Permission::ManageUsers)?;
        let Membership { add, remove } = change;
        if add.len() + remove.len() > MOST {
            return Err(ServiceError::invalid("add", InvalidReason::TooManyMembers { most: MOST }));
        }
        self.change(|tx| async move {
            if add.is_empty() && !is_there(&tx, name).await? {
                return Err(ServiceError::NotFound(Missing::Group));
            }
            for (ids, field, is_in) in [(add, "add", true), (remove, "remove", false)] {
                self.set_members(&tx, act, name, (ids, field, is_in)).await?;
            }
            Ok(())
        })
        .await
    }

    async fn set_members(
        self,
        tx: &PolicyChange,
        act: &Act,
        name: &GroupName,
        (ids, field, is_in): (&[UserId], &str, bool),
    ) -> Result<(), ServiceError> {
        let found = tx.people().users_by_id(ids).await?;
        let is_unknown = |user: UserId| found.iter().all(|known| known.value.id != user);
        if let Some((place, &user)) = ids.iter().enumerate().find(|(_, user)| is_unknown(**user)) {
            return Err(ServiceError::invalid(format!("{field}/{place}"), InvalidReason::NoSuchUser { user }));
        }
        for before in found.into_iter().map(|found| found.value) {
            let mut after = before.clone();
            let changed = if is_in { after.groups.insert(name.clone()) } else { after.groups.remove(name) };
            if changed {
                check_role(act, before.role, before.role)?;
                tx.replace(&after).await?;
                let fields = difference(Some(&before), Some(&after));
                tx.record(&self.entry(act, Action::UserUpdate, &after.id, fields)).await?;
            }
        }
        Ok(())
    }

    /// Gives a group another name, wherever it is named; nobody gains or loses access by it.
    pub async fn rename_group(self, act: &Act, from: &GroupName, to: &GroupName) -> Result<(), ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.change(|tx| async move {
            if !is_there(&tx, from).await? {
                return Err(ServiceError::NotFound(Missing::Group));
            }
            if from == to {
                return Ok(());
            }
            if is_there(&tx, to).await? {
                return Err(ServiceError::Conflict(Refusal::NameTaken { what: "group" }));
            }
            let servers = tx.people().servers_of_group(from).await?;
            if !servers.is_empty() {
                act.require(Permission::ManageServers)?;
            }
            for mut server in servers {
                server.groups.remove(from);
                server.groups.insert(to.clone());
                tx.replace(&server).await?;
            }
            let users = tx.people().move_group(from, Some(to)).await?;
            let changes = json!({ "name": [from, to], "users": [users, users] });
            tx.record(&self.entry(act, Action::GroupRename, &GroupId::from(to.clone()), changes)).await?;
            Ok(())
        })
        .await
    }

    /// Takes everybody out of a group, which ends it.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] while a server is open to it: without its last group a server is open to everybody.
    pub async fn delete_group(self, act: &Act, name: &GroupName) -> Result<(), ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.change(|tx| async move {
            if let [first, ..] = tx.people().servers_of_group(name).await?.as_slice() {
                return Err(ServiceError::Conflict(Refusal::GroupOpensServer { server: first.name.clone() }));
            }
            for role in tx.people().roles_in_group(name).await? {
                check_role(act, role, role)?;
            }
            let users = tx.people().move_group(name, None).await?;
            if users == 0 {
                return Err(ServiceError::NotFound(Missing::Group));
            }
            let changes = json!({ "name": [name, null], "users": [users, 0] });
            tx.record(&self.entry(act, Action::GroupDelete, &GroupId::from(name.clone()), changes)).await?;
            Ok(())
        })
        .await
    }

    /// The users with these addresses, as far as there are any.
    pub async fn users_by_email(self, act: &Act, emails: &BTreeSet<Email>) -> Result<Vec<User>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().people().users_by_email(emails).await?)
    }
}

async fn is_there(tx: &PolicyChange, name: &GroupName) -> Result<bool, ServiceError> {
    Ok(tx.people().has_group(name).await? || !tx.people().servers_of_group(name).await?.is_empty())
}
