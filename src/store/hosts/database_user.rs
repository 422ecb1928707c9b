//! A database user for a host that only serves VPN: it reads what it serves, and writes its own status, sessions and
//! nudges.
//!
//! The role stands in `deploy/mongodb/postern-host.json`, the same file that an operator applies by hand where this
//! process may not. Whether it may make users depends on its own user (`userAdmin` on the database); hosted databases keep
//! users outside of the database, so there it may not.
//!
//! `userAdmin` on one database makes roles and users and grants, and does not replace: `updateRole`, and `updateUser`
//! with roles, need a right on all databases (measured on 6.0). So what is there already is only added to. That also
//! leaves alone what a later release has granted.

use crate::areas::Hosts;
use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};

use crate::StoreError;
use crate::connect::REQUEST;
use crate::error::{code, message};

const ROLE: &str = include_str!("../../../deploy/mongodb/postern-host.json");

/// The database that the file of the role is written for.
const WRITTEN_FOR: &str = "postern";

/// The codes of the server that are of interest here (`error_codes.yml`).
mod codes {
    pub(crate) const USER_NOT_FOUND: i32 = 11;
    pub(crate) const UNAUTHORIZED: i32 = 13;
    pub(crate) const ROLE_NOT_FOUND: i32 = 31;
    pub(crate) const COMMAND_NOT_FOUND: i32 = 59;
    pub(crate) const ATLAS: i32 = 8000;
    pub(crate) const ROLE_EXISTS: i32 = 51_002;
    pub(crate) const USER_EXISTS: i32 = 51_003;
}

/// What this process's own user may do about users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserRights {
    /// The database asks nobody who they are.
    Unasked,
    /// It may make users of this database.
    MakesUsers,
    /// It may not.
    MakesNone,
}

/// How the role of hosts is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRole {
    /// It allows what a host of this release needs.
    Ready,
    /// There is none.
    Missing,
    /// It lacks these rights, as `action on collection`.
    Lacks(Vec<String>),
    /// This process may not look.
    Unseen,
}

/// What came of making a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserMade {
    /// It is there, with the role and the password.
    Done,
    /// This process may not.
    NotAllowed,
    /// There is no role that it could have.
    NoRole,
}

impl Hosts<'_> {
    /// What this process may do about users, as the database tells it.
    pub async fn user_rights(self) -> Result<UserRights, StoreError> {
        let asking = async {
            let status = self.database().run_command(doc! { "connectionStatus": 1, "showPrivileges": true }).await?;
            let info = status.get_document("authInfo").map_err(StoreError::unexpected)?;
            Ok::<_, StoreError>(rights(info, self.database().name()))
        };
        self.deadline(REQUEST, asking).await
    }

    /// How the role of hosts is.
    pub async fn host_role_state(self) -> Result<HostRole, StoreError> {
        self.deadline(REQUEST, self.look_at_host_role()).await
    }

    async fn look_at_host_role(self) -> Result<HostRole, StoreError> {
        let which = doc! { "role": role_name()?, "db": self.database().name() };
        let asked = self.database().run_command(doc! { "rolesInfo": which, "showPrivileges": true }).await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if is_not_for_us(&error) => return Ok(HostRole::Unseen),
            Err(error) => return Err(error.into()),
        };
        let found = answer.get_array("roles").ok().and_then(|roles| roles.first()?.as_document());
        let Some(found) = found else { return Ok(HostRole::Missing) };
        let there = found.get_array("inheritedPrivileges").or_else(|_older| found.get_array("privileges"));
        let lacking = lacking(&self.host_role()?, there.map_err(StoreError::unexpected)?);
        Ok(if lacking.is_empty() { HostRole::Ready } else { HostRole::Lacks(lacking.into_iter().collect()) })
    }

    /// Sees to it that the role allows what a host of this release needs: makes it, or grants what it lacks. What it
    /// allows beyond that stays. Answers how it is then.
    pub async fn prepare_host_role(self) -> Result<HostRole, StoreError> {
        let preparing = async {
            let state = self.look_at_host_role().await?;
            let role = self.host_role()?;
            let command = match &state {
                HostRole::Ready | HostRole::Unseen => return Ok::<_, StoreError>(state),
                HostRole::Missing => role,
                HostRole::Lacks(_) => {
                    let privileges = role.get_array("privileges").map_err(StoreError::unexpected)?.clone();
                    doc! { "grantPrivilegesToRole": role_name()?, "privileges": privileges }
                }
            };
            match self.database().run_command(command).await {
                Ok(_) => Ok(HostRole::Ready),
                // Another process was quicker.
                Err(error) if code(&error) == Some(codes::ROLE_EXISTS) => self.look_at_host_role().await,
                Err(error) if is_not_for_us(&error) => Ok(state),
                Err(error) => Err(error.into()),
            }
        };
        self.write(REQUEST, preparing).await
    }

    /// Makes the user `name` of this database with this password and the role of a host; repeating it sets both anew.
    pub async fn make_host_user(self, name: &str, password: &str) -> Result<UserMade, StoreError> {
        let making = async {
            let database = self.database();
            let roles = vec![doc! { "role": role_name()?, "db": database.name() }];
            let create = doc! { "createUser": name, "pwd": password, "roles": roles.clone() };
            let mut made = database.run_command(create).await;
            if made.as_ref().is_err_and(|error| code(error) == Some(codes::USER_EXISTS)) {
                made = database.run_command(doc! { "updateUser": name, "pwd": password }).await;
                if made.is_ok() {
                    made = database.run_command(doc! { "grantRolesToUser": name, "roles": roles }).await;
                }
            }
            match made {
                Ok(_) => Ok::<_, StoreError>(UserMade::Done),
                Err(error) if code(&error) == Some(codes::ROLE_NOT_FOUND) => Ok(UserMade::NoRole),
                Err(error) if is_not_for_us(&error) => {
                    tracing::debug!(why = message(&error), "this process makes no users in the database");
                    Ok(UserMade::NotAllowed)
                }
                Err(error) => Err(error.into()),
            }
        };
        self.write(REQUEST, making).await
    }

    /// Sees to it that there is no user of this name. `false` if this process may not.
    pub async fn drop_host_user(self, name: &str) -> Result<bool, StoreError> {
        let dropping = async {
            match self.database().run_command(doc! { "dropUser": name }).await {
                Ok(_) => Ok(true),
                Err(error) if code(&error) == Some(codes::USER_NOT_FOUND) => Ok(true),
                Err(error) if is_not_for_us(&error) => Ok(false),
                Err(error) => Err(StoreError::from(error)),
            }
        };
        self.write(REQUEST, dropping).await
    }

    /// The role of the file, for this database.
    fn host_role(self) -> Result<Document, StoreError> {
        let mut role = role()?;
        for privilege in role.get_array_mut("privileges").map_err(StoreError::unexpected)? {
            let resource = privilege.as_document_mut().and_then(|one| one.get_document_mut("resource").ok());
            if let Some(Bson::String(database)) = resource.and_then(|resource| resource.get_mut("db"))
                && database == WRITTEN_FOR
            {
                self.database().name().clone_into(database);
            }
        }
        Ok(role)
    }
}

fn role() -> Result<Document, StoreError> {
    serde_json::from_str(ROLE).map_err(StoreError::unexpected)
}

/// What the role of hosts is called.
pub fn role_name() -> Result<String, StoreError> {
    Ok(role()?.get_str("createRole").map_err(StoreError::unexpected)?.to_owned())
}

fn is_not_for_us(error: &mongodb::error::Error) -> bool {
    code(error).is_some_and(|code| [codes::UNAUTHORIZED, codes::COMMAND_NOT_FOUND, codes::ATLAS].contains(&code))
}

/// What `authInfo` of `connectionStatus` says about making users of `database`.
fn rights(info: &Document, database: &str) -> UserRights {
    if info.get_array("authenticatedUsers").is_ok_and(Vec::is_empty) {
        return UserRights::Unasked;
    }
    let privileges = info.get_array("authenticatedUserPrivileges").map(Vec::as_slice).unwrap_or_default();
    let may = |action: &str| {
        privileges.iter().filter_map(Privilege::read).any(|one| one.covers(database, "") && one.allows(action))
    };
    if ["createUser", "grantRole"].into_iter().all(may) { UserRights::MakesUsers } else { UserRights::MakesNone }
}

/// What a role allows on what.
struct Privilege<'a> {
    resource: &'a Document,
    actions: &'a [Bson],
}

impl<'a> Privilege<'a> {
    fn read(privilege: &'a Bson) -> Option<Self> {
        let privilege = privilege.as_document()?;
        let actions = privilege.get_array("actions").ok()?.as_slice();
        Some(Self { resource: privilege.get_document("resource").ok()?, actions })
    }

    /// Whether it is about a collection of a database; an empty name stands for all of them.
    fn covers(&self, database: &str, collection: &str) -> bool {
        let is = |field: &str, wanted: &str| {
            self.resource.get_str(field).is_ok_and(|name| name.is_empty() || name == wanted)
        };
        self.resource.get_bool("anyResource").unwrap_or(false) || is("db", database) && is("collection", collection)
    }

    fn allows(&self, action: &str) -> bool {
        self.actions.iter().any(|allowed| allowed.as_str() == Some(action))
    }
}

/// What `role` allows and `there` does not.
fn lacking(role: &Document, there: &[Bson]) -> BTreeSet<String> {
    let mut lacking = BTreeSet::new();
    let wanted = role.get_array("privileges").map(Vec::as_slice).unwrap_or_default();
    for privilege in wanted.iter().filter_map(Privilege::read) {
        let name = |field: &str| privilege.resource.get_str(field).unwrap_or_default();
        let (database, collection) = (name("db"), name("collection"));
        for action in privilege.actions.iter().filter_map(Bson::as_str) {
            let is_there = |one: Privilege<'_>| one.covers(database, collection) && one.allows(action);
            if !there.iter().filter_map(Privilege::read).any(is_there) {
                let place = if collection.is_empty() { "the database" } else { collection };
                lacking.insert(format!("{action} on {place}"));
            }
        }
    }
    lacking
}

/// The connection string of another user: the same servers and options, but for how one proves who one is. `database`
/// is where the user is kept. `None` if it is not a connection string.
pub fn uri_of_user(uri: &str, user: &str, password: &str, database: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://").filter(|(scheme, _)| scheme.starts_with("mongodb"))?;
    let authority = rest.find(['/', '?']).map_or(rest, |end| rest.split_at(end).0);
    // A password may hold an @ that nobody has escaped.
    let rest = rest.split_at(authority.rfind('@').map_or(0, |at| at + 1)).1;
    let (servers, options) = rest.split_once('?').unwrap_or((rest, ""));
    let servers = servers.split('/').next().unwrap_or_default();
    let concerns_authentication = |option: &&str| {
        let name = option.split('=').next().unwrap_or_default().to_ascii_lowercase();
        ["authsource", "authmechanism", "authmechanismproperties", ""].contains(&name.as_str())
    };
    let mut options: Vec<&str> = options.split('&').filter(|option| !concerns_authentication(option)).collect();
    let source = format!("authSource={database}");
    options.push(&source);
    Some(format!("{scheme}://{user}:{password}@{servers}/?{}", options.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_gets_the_same_servers_and_options() {
        for (uri, expected) in [
            (
                "mongodb://a:p%40ss@db1:27017,db2:27017/?replicaSet=t&authSource=admin",
                "mongodb://u:p@db1:27017,db2:27017/?replicaSet=t&authSource=postern",
            ),
            ("mongodb+srv://a:b@c.example.net", "mongodb+srv://u:p@c.example.net/?authSource=postern"),
            (
                "mongodb+srv://a:b@c.example.net/admin?tls=true",
                "mongodb+srv://u:p@c.example.net/?tls=true&authSource=postern",
            ),
            ("mongodb://db/?authMechanism=MONGODB-X509", "mongodb://u:p@db/?authSource=postern"),
        ] {
            assert_eq!(uri_of_user(uri, "u", "p", "postern").as_deref(), Some(expected));
        }
        assert_eq!(uri_of_user("postgres://db", "u", "p", "postern"), None);
    }

    #[test]
    fn what_a_role_lacks_is_named() {
        let role = role().unwrap();
        let mut there = role.get_array("privileges").unwrap().clone();
        assert_eq!(lacking(&role, &there), BTreeSet::new());
        let is_usage = |one: &Bson| Privilege::read(one).unwrap().resource.get_str("collection").unwrap() == "usage";
        there.retain(|one| !is_usage(one));
        assert_eq!(
            lacking(&role, &there),
            ["find", "insert", "update"].map(|action| format!("{action} on usage")).into()
        );
        let whole = doc! { "resource": { "db": "postern", "collection": "" }, "actions": ["find", "insert", "update"] };
        there.push(whole.into());
        assert_eq!(lacking(&role, &there), BTreeSet::new(), "a right on the database is one on each collection");
        assert!(lacking(&role, &[]).contains("listCollections on the database"));
    }

    #[test]
    fn who_may_make_users_is_told_by_the_database() {
        let info = |users: Vec<Document>, resource: Document, actions: Vec<&str>| {
            let privileges = vec![doc! { "resource": resource, "actions": actions }];
            doc! { "authenticatedUsers": users, "authenticatedUserPrivileges": privileges }
        };
        let web = || vec![doc! { "user": "web", "db": "postern" }];
        let all = || vec!["createUser", "grantRole", "find"];
        for (info, expected) in [
            (info(vec![], doc! {}, vec![]), UserRights::Unasked),
            (info(web(), doc! { "db": "postern", "collection": "" }, all()), UserRights::MakesUsers),
            (info(web(), doc! { "db": "", "collection": "" }, all()), UserRights::MakesUsers),
            (info(web(), doc! { "anyResource": true }, all()), UserRights::MakesUsers),
            (info(web(), doc! { "db": "other", "collection": "" }, all()), UserRights::MakesNone),
            (info(web(), doc! { "db": "postern", "collection": "" }, vec!["find"]), UserRights::MakesNone),
            (info(web(), doc! { "cluster": true }, all()), UserRights::MakesNone),
        ] {
            assert_eq!(rights(&info, "postern"), expected, "{info}");
        }
    }

    #[test]
    fn the_role_is_a_command_of_the_database() {
        assert_eq!(role_name().unwrap(), "posternHost");
    }
}
