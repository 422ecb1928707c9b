//! As whom hosts come to the database.
//!
//! It follows from the configuration of the process that is asked, and from what its own user may do: the connection
//! string for hosts if one is configured; else its own string, for a database user of the host's own where this process
//! may make one (`store/hosts/database_user.rs`). The password is derived from the master key, the host and its key, so it rests
//! nowhere, and another machine under the name of a host gets another one.
//!
//! Where neither can be had, a host would get what the web process has: the right to read and change everything. That is
//! for an administrator to decide, in the join token.

use crate::{Hosts, Refusal, ServiceError};
use domain::ids::HostId;
use domain::join::{DatabaseUser, JoinTicket};
use domain::secret::Secret;
use keys::host::HostPublicKey;
use keys::seal::Context;
use store::hosts::database_user::{HostRole, UserMade, UserRights, role_name, uri_of_user};

/// How hosts come to the database.
#[derive(Debug, Clone)]
pub struct HostDatabase {
    /// The connection string.
    pub uri: Secret<String>,
    /// The name of the database.
    pub name: String,
    /// Whether the string is meant for hosts as it stands, rather than being this process's own.
    pub for_hosts: bool,
}

/// How hosts would come to the database now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAccess {
    /// As this user.
    As(DatabaseUser),
    /// As users of their own, whose role lacks these rights.
    Lacks(Vec<String>),
}

/// The way to the database for one machine that joins.
pub(crate) struct DatabaseAccess<'a> {
    database: &'a HostDatabase,
    key: &'a HostPublicKey,
    expected: DatabaseUser,
}

impl Hosts<'_> {
    pub(crate) fn host_database(&self) -> Result<&HostDatabase, ServiceError> {
        Ok(self.host_database.as_ref().ok_or(Refusal::PrivateDatabase)?)
    }

    /// As whom a host that joins now would come to the database, if it may share the user of the web process.
    pub async fn expected_database_user(self) -> Result<DatabaseUser, ServiceError> {
        if self.host_database()?.for_hosts {
            return Ok(DatabaseUser::SharedByHosts);
        }
        Ok(match self.store().hosts().user_rights().await? {
            UserRights::Unasked => DatabaseUser::NotAsked,
            UserRights::MakesUsers => DatabaseUser::Own,
            UserRights::MakesNone => DatabaseUser::SharedWithWeb,
        })
    }

    /// How hosts would come to the database, as far as can be told without changing anything.
    pub async fn host_access(self) -> Result<HostAccess, ServiceError> {
        let user = self.expected_database_user().await?;
        let role = match user {
            DatabaseUser::Own => self.store().hosts().host_role_state().await?,
            _ => HostRole::Ready,
        };
        Ok(match role {
            HostRole::Lacks(rights) => HostAccess::Lacks(rights),
            HostRole::Ready | HostRole::Missing | HostRole::Unseen => HostAccess::As(user),
        })
    }

    /// The way to the database for the machine with this key. The role that a user of its own would have is brought up
    /// to date.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if the role is not what this release needs, and this process cannot change that.
    pub(crate) async fn database_access<'a>(
        &'a self,
        key: &'a HostPublicKey,
    ) -> Result<DatabaseAccess<'a>, ServiceError> {
        let (database, expected) = (self.host_database()?, self.expected_database_user().await?);
        if expected == DatabaseUser::Own {
            self.require_host_role().await?;
        }
        Ok(DatabaseAccess { database, key, expected })
    }

    async fn require_host_role(self) -> Result<(), ServiceError> {
        match self.store().hosts().prepare_host_role().await? {
            HostRole::Ready | HostRole::Unseen => Ok(()),
            HostRole::Missing => Err(no_role()),
            HostRole::Lacks(rights) => {
                Err(ServiceError::Conflict(Refusal::DatabaseRoleOutdated { role: role_name()?, lacks: rights }))
            }
        }
    }

    /// Takes the way to the database from a host that is gone. `false` if this process may not.
    pub(crate) async fn drop_host_user(self, host: HostId) -> Result<bool, ServiceError> {
        Ok(self.store().hosts().drop_host_user(&user_of(host)).await?)
    }
}

impl DatabaseAccess<'_> {
    /// Gives a host its database user: makes it, where it is one of its own.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] where the host can have none of its own and the token does not let it share another.
    pub(crate) async fn give(
        &self,
        services: Hosts<'_>,
        host: HostId,
        ticket: &JoinTicket,
    ) -> Result<DatabaseUser, ServiceError> {
        let user = match self.expected {
            DatabaseUser::Own => {
                let password = self.password(services, host)?;
                match services.store().hosts().make_host_user(&user_of(host), password.expose()).await? {
                    UserMade::Done => DatabaseUser::Own,
                    UserMade::NoRole => return Err(no_role()),
                    // A hosted database may promise more than it keeps.
                    UserMade::NotAllowed => DatabaseUser::SharedWithWeb,
                }
            }
            other => other,
        };
        if user == DatabaseUser::SharedWithWeb && !ticket.share_database_user {
            return Err(ServiceError::Conflict(Refusal::NoDatabaseUser));
        }
        Ok(user)
    }

    /// The connection string of a host that was given this user.
    pub(crate) fn uri(
        &self,
        services: Hosts<'_>,
        host: HostId,
        user: DatabaseUser,
    ) -> Result<Secret<String>, ServiceError> {
        let own = self.database.uri.expose();
        if user != DatabaseUser::Own {
            return Ok(Secret::new(own.clone()));
        }
        let password = self.password(services, host)?;
        let uri = uri_of_user(own, &user_of(host), password.expose(), &self.database.name);
        uri.map(Secret::new).ok_or_else(|| ServiceError::Internal("database.uri is no connection string".into()))
    }

    /// Another machine under the name of a host gets another password, and the one before stops working.
    fn password(&self, services: Hosts<'_>, host: HostId) -> Result<Secret<String>, ServiceError> {
        let key = self.key.to_string();
        Ok(services.master_key()?.password(&Context { collection: "hosts", id: &user_of(host), field: &key }))
    }
}

/// The name of a host's user in the database.
fn user_of(host: HostId) -> String {
    host.to_string()
}

fn no_role() -> ServiceError {
    match role_name() {
        Ok(role) => ServiceError::Conflict(Refusal::DatabaseRoleMissing { role }),
        Err(error) => error.into(),
    }
}
