//! What people do with their own profiles and sessions. What is not one's own does not exist: the owner is part of
//! every query, so there is no moment at which somebody else's is in hand.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::access::profiles::{Issue, IssuedProfile, NewProfile};
use crate::cluster::limits::Limit;
use crate::identity::logins::Person;
use crate::{InvalidReason, Missing, People, SOON, ServiceError};
use domain::Revised;
use domain::access::permits;
use domain::audit::Action;
use domain::host::Host;
use domain::ids::{HostId, ProfileId, ServerId, SessionId, UserId};
pub use domain::profile::Outdated;
use domain::profile::{Profile, ProfileState};
use domain::server::Server;
use domain::session::Session;
use domain::text::{HostName, Name};
use domain::user::User;
use store::StoreError;
use store::access::session_orders::SessionsToEnd;
use store::access::sessions::SessionFilter;
use store::entity::PageRequest;

/// So many profiles and sessions are shown; a person who has more has scripts.
const SHOWN: u32 = 500;

/// A profile as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MyProfile {
    /// The profile.
    pub profile: Revised<Profile>,
    /// The server it leads to.
    pub server_name: Name,
    /// How it stands.
    pub status: MyProfileStatus,
    /// Why a new one would be better; absent if it would not.
    pub note: Option<Outdated>,
}

/// How a profile stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MyProfileStatus {
    /// It never connected.
    NeverUsed,
    /// It connects when asked to.
    Ready,
    /// It is connected.
    Connected {
        /// Through which host.
        host: HostName,
        /// Since when.
        since: Timestamp,
    },
    /// Another one took its place; it goes on working for a while.
    Replaced {
        /// Until when.
        until: Timestamp,
    },
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked {
        /// When.
        at: Timestamp,
    },
}

/// A VPN session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MySession {
    /// The session.
    pub session: Session,
    /// The profile that it connected with.
    pub profile_name: Name,
    /// The host that carries it.
    pub host_name: HostName,
}

/// What the views of one user's profiles need, read once for all of them.
struct Surroundings {
    servers: HashMap<ServerId, Server>,
    attached: HashMap<ServerId, Vec<Host>>,
    sessions: Vec<Session>,
    hosts: HashMap<HostId, HostName>,
    now: Timestamp,
}

impl People<'_> {
    /// The profiles of the one who asks, the newest first.
    pub async fn my_profiles(self, person: &Person) -> Result<Vec<MyProfile>, ServiceError> {
        self.profile_views(person.user.id).await
    }

    /// The profiles of a user, the newest first; that the asker may see them is for the caller to know.
    pub(crate) async fn profile_views(self, user: UserId) -> Result<Vec<MyProfile>, ServiceError> {
        let profiles = self.store().access().newest_profiles(user, i64::from(SHOWN));
        let profiles = self.store().deadline(SOON, profiles).await?;
        let around = self.surroundings(user, &profiles).await?;
        Ok(profiles.into_iter().filter_map(|profile| around.view(profile)).collect())
    }

    /// One of them.
    pub async fn my_profile(self, person: &Person, id: ProfileId) -> Result<MyProfile, ServiceError> {
        let found = self.store().deadline(SOON, self.store().access().find_profile_of(person.user.id, id)).await?;
        let found = found.ok_or(ServiceError::NotFound(Missing::Profile))?;
        let around = self.surroundings(person.user.id, std::slice::from_ref(&found)).await?;
        around.view(found).ok_or(ServiceError::NotFound(Missing::Profile))
    }

    async fn surroundings(self, user: UserId, of: &[Revised<Profile>]) -> Result<Surroundings, ServiceError> {
        let mut ids: Vec<ServerId> = of.iter().map(|profile| profile.value.server_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let read = async {
            tokio::try_join!(
                self.store().network().servers_by_id(&ids),
                self.store().hosts().attached_hosts(&ids),
                self.live_sessions(user),
            )
        };
        let (servers, attached, sessions) = self.store().deadline(SOON, read).await?;
        let carriers: Vec<HostId> = sessions.iter().map(|session| session.host_id).collect();
        let hosts = self.store().deadline(SOON, self.store().hosts().host_names(&carriers)).await?;
        let servers = servers.into_iter().map(|server| (server.id, server)).collect();
        Ok(Surroundings { servers, attached, sessions, hosts, now: self.now() })
    }

    async fn live_sessions(self, user: UserId) -> Result<Vec<Session>, StoreError> {
        let filter = SessionFilter { user_id: Some(user), ..SessionFilter::default() };
        let page = PageRequest::first(SHOWN);
        Ok(self.store().access().list_sessions(&filter, &self.access().alive().await?, &page).await?.items)
    }

    /// The servers that are open to the one who asks, by their names.
    pub async fn servers_for(self, person: &Person) -> Result<Vec<Server>, ServiceError> {
        self.servers_of(&person.user).await
    }

    /// The servers that are open to a user, by their names.
    pub(crate) async fn servers_of(self, user: &User) -> Result<Vec<Server>, ServiceError> {
        let mut servers =
            self.store().deadline(SOON, self.store().network().servers_open_to(user.organization_id)).await?;
        servers.retain(|server| permits(server, user.organization_id, &user.groups));
        Ok(servers)
    }

    /// Refuses a server that is not open to the one who asks in the same words as one that does not exist.
    pub(crate) async fn own_server(self, person: &Person, id: ServerId) -> Result<(), ServiceError> {
        let open = self.servers_for(person).await?.iter().any(|server| server.id == id);
        if open { Ok(()) } else { Err(ServiceError::invalid("server_id", InvalidReason::NoSuchServer)) }
    }

    /// Issues a profile to the one who asks.
    pub async fn issue_own(self, person: &Person, new: NewProfile) -> Result<IssuedProfile, ServiceError> {
        let user = person.user.id;
        self.own_server(person, new.server_id).await?;
        self.cluster().limit_account(Limit::ProfileIssue, &user.to_string()).await?;
        let issue = Issue { user, server: new.server_id, name: &new.name, replaces: None, ticket: None };
        self.access().issue(&person.act(), &issue).await
    }

    /// Issues a profile in the place of one, which goes on working for seven days.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if that one was revoked or replaced already.
    pub async fn replace_own(self, person: &Person, id: ProfileId) -> Result<IssuedProfile, ServiceError> {
        let user = person.user.id;
        let found = self.store().deadline(SOON, self.store().access().find_profile_of(user, id)).await?;
        let old = found.ok_or(ServiceError::NotFound(Missing::Profile))?.value;
        self.own_server(person, old.server_id).await?;
        self.cluster().limit_account(Limit::ProfileIssue, &user.to_string()).await?;
        let issue = Issue { user, server: old.server_id, name: &old.name, replaces: Some(id), ticket: None };
        self.access().issue(&person.act(), &issue).await
    }

    /// Gives a profile another name.
    pub async fn rename_own(
        self,
        person: &Person,
        id: ProfileId,
        name: Name,
    ) -> Result<Revised<Profile>, ServiceError> {
        let name = &name;
        self.change(|tx| async move {
            let found =
                tx.access().profile_of(person.user.id, id).await?.ok_or(ServiceError::NotFound(Missing::Profile))?;
            if found.value.name == *name {
                return Ok(found);
            }
            let after = Profile { name: name.clone(), ..found.value.clone() };
            tx.replace(&after).await?;
            let changes = serde_json::json!({ "name": [found.value.name, name] });
            tx.record(&self.entry(&person.act(), Action::ProfileRename, &id, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }

    /// Revokes a profile: its session ends, and it never connects again.
    pub async fn revoke_own(self, person: &Person, id: ProfileId) -> Result<Revised<Profile>, ServiceError> {
        self.access().revoke(&person.act(), id, Some(person.user.id), None).await
    }

    /// The live VPN sessions of the one who asks.
    pub async fn my_sessions(self, person: &Person) -> Result<Vec<MySession>, ServiceError> {
        self.live_sessions_of(person.user.id).await
    }

    /// The live VPN sessions of a user; that the asker may see them is for the caller to know.
    pub(crate) async fn live_sessions_of(self, user: UserId) -> Result<Vec<MySession>, ServiceError> {
        let read = async {
            let sessions = self.live_sessions(user).await?;
            let profiles = self.store().access().newest_profiles(user, i64::from(SHOWN)).await?;
            let carriers: Vec<HostId> = sessions.iter().map(|session| session.host_id).collect();
            Ok::<_, StoreError>((sessions, profiles, self.store().hosts().host_names(&carriers).await?))
        };
        let (sessions, profiles, hosts) = self.store().deadline(SOON, read).await?;
        let names: HashMap<ProfileId, Name> =
            profiles.into_iter().map(|profile| (profile.value.id, profile.value.name)).collect();
        let view = |session: Session| {
            let profile_name = names.get(&session.profile_id)?.clone();
            let host_name = hosts.get(&session.host_id)?.clone();
            Some(MySession { session, profile_name, host_name })
        };
        Ok(sessions.into_iter().filter_map(view).collect())
    }

    /// Ends one of them; the host that carries it obeys within a moment.
    pub async fn end_own_session(self, person: &Person, id: SessionId) -> Result<(), ServiceError> {
        self.access().end_one(&person.act(), SessionsToEnd::Own(person.user.id, id), id).await
    }
}

impl Surroundings {
    /// A profile as its owner sees it; none whose server was deleted just now.
    fn view(&self, profile: Revised<Profile>) -> Option<MyProfile> {
        let server = self.servers.get(&profile.value.server_id)?;
        let status = self.status(&profile.value);
        let useful = !matches!(
            status,
            MyProfileStatus::Replaced { .. } | MyProfileStatus::Expired | MyProfileStatus::Revoked { .. }
        );
        let attached = self.attached.get(&server.id).map(Vec::as_slice).unwrap_or_default();
        let file = profile.value.written_for.as_ref().filter(|_| useful && server.enabled);
        let note = file.and_then(|file| file.outdated(server, attached));
        Some(MyProfile { server_name: server.name.clone(), status, note, profile })
    }

    fn status(&self, profile: &Profile) -> MyProfileStatus {
        if profile.state == ProfileState::Revoked {
            return MyProfileStatus::Revoked { at: profile.revoked_at.unwrap_or(profile.issued_at) };
        }
        if profile.expires_at <= self.now {
            return MyProfileStatus::Expired;
        }
        if profile.replaced_by.is_some() {
            return MyProfileStatus::Replaced { until: profile.expires_at };
        }
        let newest = self.sessions.iter().rev().find(|session| session.profile_id == profile.id);
        let carried = newest.and_then(|session| Some((session, self.hosts.get(&session.host_id)?)));
        match carried {
            Some((session, host)) => MyProfileStatus::Connected { host: host.clone(), since: session.connected_at },
            None if profile.last_connected_at.is_none() => MyProfileStatus::NeverUsed,
            None => MyProfileStatus::Ready,
        }
    }
}
