//! Lookup: users, hosts and other things that a text may name, by name, mailbox or id.

use std::fmt::Display;

use crate::{Access, Act, InvalidReason, Page, PageRequest, ServiceError, SessionFilter, UserFilter};
use domain::group::GroupId;
use domain::host::Host;
use domain::ids::{HostId, OrganizationId, ServerId, UserId};
use domain::organization::Organization;
use domain::role::Permission;
use domain::search::UserSearch;
use domain::server::Server;
use domain::session_search::SessionSearch;
use domain::text::{GroupName, Name};
use domain::user::User;
use store::entity::Entity;

/// The sessions of more people than this are not looked for at once.
const MOST_PEOPLE: u32 = 500;

/// So many users are suggested for one text.
const OFFERED: u32 = 8;

/// A user or a thing that a text may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The id, as the audit log has it.
    pub id: String,
    /// The name.
    pub name: String,
    /// What tells it from others of that name: a mailbox, or the kind of thing.
    pub about: String,
}

impl Suggestion {
    fn new(id: &impl Display, name: &impl Display, about: impl Into<String>) -> Self {
        Self { id: id.to_string(), name: name.to_string(), about: about.into() }
    }

    fn user(user: &User) -> Self {
        Self::new(&user.id, &user.name, user.email.as_ref().map_or_else(|| "user".to_owned(), ToString::to_string))
    }
}

impl Access<'_> {
    /// Users and hosts that a text may name, a few of each.
    pub async fn suggest_actors(self, act: &Act, text: &str) -> Result<Vec<Suggestion>, ServiceError> {
        act.require(Permission::Read)?;
        let mut suggestions = self.suggest_users(act, text).await?;
        suggestions.extend(self.things::<Host>(text, "host").await?);
        Ok(suggestions)
    }

    /// Users, hosts, servers and organizations that a text may name, a few of each, and a group.
    pub async fn suggest_objects(self, act: &Act, text: &str) -> Result<Vec<Suggestion>, ServiceError> {
        let mut suggestions = self.suggest_actors(act, text).await?;
        suggestions.extend(self.things::<Server>(text, "server").await?);
        suggestions.extend(self.things::<Organization>(text, "organization").await?);
        if let Ok(name) = text.parse::<GroupName>()
            && self.store().people().count_in_group(&name).await? > 0
        {
            suggestions.push(Suggestion::new(&GroupId::from(name.clone()), &name, "group"));
        }
        Ok(suggestions)
    }

    /// The names of some ids; none for what is no id, or the id of something that is gone or has no name.
    pub async fn called<const N: usize>(self, act: &Act, ids: [&str; N]) -> Result<[Option<String>; N], ServiceError> {
        act.require(Permission::Read)?;
        let mut names = ids.map(|_| None);
        for (id, name) in ids.into_iter().zip(&mut names) {
            *name = self.name_of(id.trim()).await?;
        }
        Ok(names)
    }

    async fn name_of(self, id: &str) -> Result<Option<String>, ServiceError> {
        let store = self.store();
        Ok(if let Ok(id) = id.parse::<UserId>() {
            store.names::<User, Name>(&[id]).await?.remove(&id).map(|name| name.to_string())
        } else if let Ok(id) = id.parse::<HostId>() {
            store.hosts().host_names(&[id]).await?.remove(&id).map(|name| name.to_string())
        } else if let Ok(id) = id.parse::<ServerId>() {
            store.names::<Server, Name>(&[id]).await?.remove(&id).map(|name| name.to_string())
        } else if let Ok(id) = id.parse::<OrganizationId>() {
            store.names::<Organization, Name>(&[id]).await?.remove(&id).map(|name| name.to_string())
        } else {
            id.parse::<GroupId>().ok().map(|id| id.name().to_string())
        })
    }

    async fn suggest_users(self, act: &Act, text: &str) -> Result<Vec<Suggestion>, ServiceError> {
        let Ok(search) = text.parse::<UserSearch>() else { return Ok(Vec::new()) };
        if search.words.is_empty() {
            return Ok(Vec::new());
        }
        let filter = UserFilter { search, ..UserFilter::default() };
        let Page { items, .. } = self.people().users(act, &filter, &PageRequest::first(OFFERED)).await?;
        Ok(items.iter().map(|found| Suggestion::user(&found.value)).collect())
    }

    async fn things<E>(self, text: &str, kind: &str) -> Result<Vec<Suggestion>, ServiceError>
    where
        E: Entity<Key: std::str::FromStr>,
    {
        let found = self.store().called::<E>(text).await?;
        Ok(found.into_iter().map(|(id, name)| Suggestion::new(&id, &name, kind)).collect())
    }

    /// The sessions that a search means, of those that `filter` lets through; nothing where there can be none.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a search that fits more people than can be looked for at once.
    pub async fn searched_sessions(
        self,
        act: &Act,
        search: &SessionSearch,
        filter: SessionFilter,
    ) -> Result<Option<SessionFilter>, ServiceError> {
        act.require(Permission::Read)?;
        let mut found = filter;
        if let Some(text) = &search.server {
            let server: Option<ServerId> = self.one::<Server>(text).await?;
            if server.is_none() || found.server_id.is_some() && found.server_id != server {
                return Ok(None);
            }
            found.server_id = server;
        }
        if let Some(text) = &search.host {
            let host: Option<HostId> = self.one::<Host>(text).await?;
            if host.is_none() || found.host_id.is_some() && found.host_id != host {
                return Ok(None);
            }
            found.host_id = host;
        }
        if let Some(user) = search.user {
            if found.user_id.is_some_and(|wanted| wanted != user) {
                return Ok(None);
            }
            found.user_id = Some(user);
        }
        if let Some(search) = search.users() {
            let filter = UserFilter { search, ..UserFilter::default() };
            let Page { items, next, .. } = self.people().users(act, &filter, &PageRequest::first(MOST_PEOPLE)).await?;
            if next.is_some() {
                return Err(ServiceError::invalid("q", InvalidReason::SearchTooWide { most: MOST_PEOPLE }));
            }
            found.users = Some(items.iter().map(|found| found.value.id).collect());
        }
        Ok(Some(found))
    }

    /// The one thing that a text means: an id, or a name in any case.
    async fn one<E>(self, text: &str) -> Result<Option<E::Key>, ServiceError>
    where
        E: Entity<Key: std::str::FromStr>,
    {
        if let Ok(id) = text.parse() {
            return Ok(Some(id));
        }
        Ok(self.store().called::<E>(text).await?.into_iter().next().map(|(id, _)| id))
    }
}
