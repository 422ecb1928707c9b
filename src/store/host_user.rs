//! A database user for a host that only serves VPN: it reads what it serves, and writes its own status, sessions and
//! nudges.
//!
//! The role stands in `deploy/mongodb/postern-host.json`, the same file that an operator applies by hand where this
//! process may not. Whether it may depends on its own user (`userAdmin` on the database); hosted databases keep users
//! outside of the database, so there it may not.

use mongodb::bson::{Bson, Document, doc};

use super::{
    Store, StoreError,
    connect::REQUEST,
    error::{code, message},
};

const ROLE: &str = include_str!("../../deploy/mongodb/postern-host.json");

/// The database that the file of the role is written for.
const WRITTEN_FOR: &str = "postern";

/// The codes of the server that are of interest here (`error_codes.yml`).
mod codes {
    pub(super) const USER_NOT_FOUND: i32 = 11;
    pub(super) const UNAUTHORIZED: i32 = 13;
    pub(super) const COMMAND_NOT_FOUND: i32 = 59;
    pub(super) const ATLAS: i32 = 8000;
    pub(super) const ROLE_EXISTS: i32 = 51_002;
    pub(super) const USER_EXISTS: i32 = 51_003;
}

impl Store {
    /// Makes the user `name` of this database with this password and the role of a host; repeating it sets both anew.
    /// `false` if this process may not make users.
    pub async fn make_host_user(&self, name: &str, password: &str) -> Result<bool, StoreError> {
        let made = async {
            if !self.run_or_else("createRole", "updateRole", codes::ROLE_EXISTS, &self.host_role()?).await? {
                return Ok(false);
            }
            let role = role_name()?;
            let user =
                doc! { "createUser": name, "pwd": password, "roles": [{ "role": role, "db": self.database().name() }] };
            self.run_or_else("createUser", "updateUser", codes::USER_EXISTS, &user).await
        };
        self.write(REQUEST, made).await
    }

    /// Sees to it that there is no user of this name. `false` if this process may not.
    pub async fn drop_host_user(&self, name: &str) -> Result<bool, StoreError> {
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

    /// Runs `command`, whose first key is `create`; where that exists already, the same with `update` in its place.
    async fn run_or_else(
        &self,
        create: &str,
        update: &str,
        exists: i32,
        command: &Document,
    ) -> Result<bool, StoreError> {
        match self.database().run_command(command.clone()).await {
            Ok(_) => return Ok(true),
            Err(error) if code(&error) == Some(exists) => {}
            Err(error) if is_not_for_us(&error) => {
                tracing::debug!(create, why = message(&error), "this process makes no users in the database");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let renamed = command.iter().map(|(key, value)| {
            let key = if key == create { update } else { key };
            (key.to_owned(), value.clone())
        });
        self.database().run_command(renamed.collect::<Document>()).await?;
        Ok(true)
    }

    /// The role of the file, for this database.
    fn host_role(&self) -> Result<Document, StoreError> {
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

fn role_name() -> Result<String, StoreError> {
    Ok(role()?.get_str("createRole").map_err(StoreError::unexpected)?.to_owned())
}

fn is_not_for_us(error: &mongodb::error::Error) -> bool {
    code(error).is_some_and(|code| [codes::UNAUTHORIZED, codes::COMMAND_NOT_FOUND, codes::ATLAS].contains(&code))
}

/// Whether a connection string shows who connects; without, the database asks nobody.
pub fn has_credentials(uri: &str) -> bool {
    split(uri).is_some_and(|(_, credentials, _)| credentials.is_some())
}

/// The connection string of another user: the same servers and options, but for how one proves who one is. `database`
/// is where the user is kept. `None` if it is not a connection string.
pub fn uri_of_user(uri: &str, user: &str, password: &str, database: &str) -> Option<String> {
    let (scheme, _, rest) = split(uri)?;
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

fn split(uri: &str) -> Option<(&str, Option<&str>, &str)> {
    let (scheme, rest) = uri.split_once("://").filter(|(scheme, _)| scheme.starts_with("mongodb"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, _) = rest.split_at(end);
    match authority.rfind('@') {
        Some(at) => {
            let (credentials, rest) = rest.split_at(at);
            Some((scheme, Some(credentials), rest.strip_prefix('@')?))
        }
        None => Some((scheme, None, rest)),
    }
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
    fn credentials_are_seen_where_they_are() {
        assert!(has_credentials("mongodb://a:b@db/?x=1"));
        assert!(!has_credentials("mongodb://db/?x=a@b"));
        assert!(!has_credentials("mongodb://db"));
    }

    #[test]
    fn the_role_is_a_command_of_the_database() {
        assert_eq!(role_name().unwrap(), "posternHost");
    }
}
