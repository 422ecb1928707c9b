//! People as administrators look at them: lists of users and of live sessions with what each row says, and all about one
//! user on one sheet.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::hosts::rows::HostRow;
use crate::people::self_service::{MyProfile, MySession};
use crate::{Act, People, SOON, ServiceError};
use domain::Revised;
use domain::ids::{HostId, OrganizationId, ServerId, UserId};
use domain::login::Login;
use domain::organization::Organization;
use domain::profile::Profile;
use domain::role::Permission;
use domain::server::Server;
use domain::session::{EndReason, Session};
use domain::text::{HostName, Name};
use domain::user::User;
use store::access::sessions::SessionFilter;
use store::entity::{Page, PageRequest};
use store::order::Order;
use store::people::users::UserFilter;

/// A user in a list.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Who.
    pub user: Revised<User>,
    /// What the organization is called; nothing if it was deleted just now.
    pub organization: Option<Name>,
    /// How many VPN sessions are live.
    pub sessions: u64,
}

/// All about one user.
#[derive(Debug, Clone)]
pub struct UserSheet {
    /// Who.
    pub user: Revised<User>,
    /// What the organization is called; nothing if it was deleted just now.
    pub organization: Option<Name>,
    /// The servers that are open to the user, by their names.
    pub servers: Vec<(ServerId, Name)>,
    /// The profiles, the newest first.
    pub profiles: Vec<MyProfile>,
    /// The live VPN sessions.
    pub sessions: Vec<MySession>,
    /// The browsers that are signed in, the newest first.
    pub logins: Vec<Login>,
}

/// A live session in a list; what was deleted just now has no name.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// The session.
    pub session: Session,
    /// Who is connected.
    pub user: Option<Name>,
    /// By which profile.
    pub profile: Option<Name>,
    /// To which server.
    pub server: Option<Name>,
    /// Through which host.
    pub host: Option<HostName>,
}

/// A session that is over, in a list.
#[derive(Debug, Clone)]
pub struct EndedSessionRow {
    /// The session.
    pub row: SessionRow,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why, as far as that is known.
    pub reason: Option<EndReason>,
}

/// What surrounds a list of sessions: what it can be narrowed by.
#[derive(Debug, Clone, Default)]
pub struct SessionSurroundings {
    /// Whose sessions are shown, where it is one user's.
    pub user: Option<(UserId, Name)>,
    /// The servers, by their names.
    pub servers: Vec<(ServerId, Name)>,
    /// The hosts, by their names.
    pub hosts: Vec<(HostId, HostName)>,
}

impl People<'_> {
    /// A page of users, each with what a list says of it.
    pub async fn user_rows(
        self,
        act: &Act,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<UserRow>, ServiceError> {
        let Page { items, next, count } = self.users(act, filter, page).await?;
        let users: Vec<UserId> = items.iter().map(|found| found.value.id).collect();
        let organizations: BTreeSet<OrganizationId> = items.iter().map(|found| found.value.organization_id).collect();
        let organizations: Vec<OrganizationId> = organizations.into_iter().collect();
        let alive = self.access().alive().await?;
        let (names, sessions): (HashMap<_, Name>, _) = tokio::try_join!(
            self.store().names::<Organization, Name>(&organizations),
            self.store().access().live_sessions_by_user(&users, &alive)
        )?;
        let row = |user: Revised<User>| UserRow {
            organization: names.get(&user.value.organization_id).cloned(),
            sessions: sessions.get(&user.value.id).copied().unwrap_or_default(),
            user,
        };
        Ok(Page { items: items.into_iter().map(row).collect(), next, count })
    }

    /// A page of the live sessions, each with what a list says of it.
    pub async fn session_rows(
        self,
        act: &Act,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<SessionRow>, ServiceError> {
        let Page { items, next, count } = self.access().sessions(act, filter, page).await?;
        Ok(Page { items: self.named_sessions(items, None).await?, next, count })
    }

    /// A page of the live sessions that a host carries, the newest first.
    pub async fn sessions_through(
        self,
        act: &Act,
        host: &HostRow,
        page: &PageRequest,
    ) -> Result<Page<SessionRow>, ServiceError> {
        act.require(Permission::Read)?;
        let carrier = &host.host.value;
        // Of a host that is silent nothing is known.
        let alive: Vec<HostId> = host.is_heard().then_some(carrier.id).into_iter().collect();
        let filter = SessionFilter { host_id: Some(carrier.id), ..SessionFilter::default() };
        let page = PageRequest { order: Some(Order::NEWEST), ..page.clone() };
        let Page { items, next, count } = self.store().access().list_sessions(&filter, &alive, &page).await?;
        let carrier = HashMap::from([(carrier.id, carrier.name.clone())]);
        Ok(Page { items: self.named_sessions(items, Some(carrier)).await?, next, count })
    }

    /// A page of the sessions that are over, each with what a list says of it. It is recorded who looked.
    pub async fn ended_session_rows(
        self,
        act: &Act,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<EndedSessionRow>, ServiceError> {
        let Page { items, next, count } = self.access().ended_sessions(act, filter, page).await?;
        let ends: Vec<_> = items.iter().map(|ended| (ended.ended_at, ended.reason)).collect();
        let rows = self.named_sessions(items.into_iter().map(|ended| ended.session).collect(), None).await?;
        let row = |(row, (ended_at, reason))| EndedSessionRow { row, ended_at, reason };
        Ok(Page { items: rows.into_iter().zip(ends).map(row).collect(), next, count })
    }

    /// Sessions with what their parts are called; the names of the hosts may be known already.
    async fn named_sessions(
        self,
        items: Vec<Session>,
        hosts: Option<HashMap<HostId, HostName>>,
    ) -> Result<Vec<SessionRow>, ServiceError> {
        let (users, profiles) = (ids(&items, |found| found.user_id), ids(&items, |found| found.profile_id));
        let (servers, carriers) = (ids(&items, |found| found.server_id), ids(&items, |found| found.host_id));
        let (users, profiles, servers) = tokio::try_join!(
            self.store().names::<User, Name>(&users),
            self.store().names::<Profile, Name>(&profiles),
            self.store().names::<Server, Name>(&servers),
        )?;
        let hosts = match hosts {
            Some(hosts) => hosts,
            None => self.store().hosts().host_names(&carriers).await?,
        };
        let row = |session: Session| SessionRow {
            user: users.get(&session.user_id).cloned(),
            profile: profiles.get(&session.profile_id).cloned(),
            server: servers.get(&session.server_id).cloned(),
            host: hosts.get(&session.host_id).cloned(),
            session,
        };
        Ok(items.into_iter().map(row).collect())
    }

    /// What a list of sessions can be narrowed by: as many servers and hosts as a page holds.
    pub async fn session_surroundings(
        self,
        act: &Act,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<SessionSurroundings, ServiceError> {
        act.require(Permission::Read)?;
        let users: Vec<UserId> = filter.user_id.into_iter().collect();
        let (users, servers, hosts) = tokio::try_join!(
            self.store().names::<User, Name>(&users),
            self.store().network().list_servers(page),
            self.store().hosts().list_hosts(page)
        )?;
        let mut servers: Vec<_> = servers.items.into_iter().map(|found| (found.value.id, found.value.name)).collect();
        let mut hosts: Vec<_> = hosts.items.into_iter().map(|found| (found.value.id, found.value.name)).collect();
        servers.sort_by(|a, b| a.1.cmp(&b.1));
        hosts.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(SessionSurroundings { user: users.into_iter().next(), servers, hosts })
    }

    /// What some servers are called.
    pub async fn server_names(self, act: &Act, ids: &[ServerId]) -> Result<HashMap<ServerId, Name>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().names::<Server, Name>(ids).await?)
    }

    /// All about one user.
    pub async fn user_sheet(self, act: &Act, id: UserId) -> Result<UserSheet, ServiceError> {
        let user = self.user(act, id).await?;
        let organization = [user.value.organization_id];
        let (mut names, servers, profiles, sessions, logins) = tokio::try_join!(
            async {
                Ok::<_, ServiceError>(
                    self.store().deadline(SOON, self.store().names::<Organization, Name>(&organization)).await?,
                )
            },
            self.servers_of(&user.value),
            self.profile_views(id),
            self.live_sessions_of(id),
            async { Ok(self.store().deadline(SOON, self.store().identity().logins_of(id)).await?) },
        )?;
        let now = self.now();
        let logins = logins.into_iter().filter(|login| login.ends_at() > now).collect();
        let servers = servers.into_iter().map(|server| (server.id, server.name)).collect();
        let organization = names.remove(&user.value.organization_id);
        Ok(UserSheet { user, organization, servers, profiles, sessions, logins })
    }
}

/// The different ids that some sessions name.
fn ids<T: Ord>(sessions: &[Session], of: impl Fn(&Session) -> T) -> Vec<T> {
    sessions.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
}
