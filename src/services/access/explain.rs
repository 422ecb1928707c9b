//! Who can reach what, and why: gathers what a question is about and asks [`domain::explain`].

use jiff::Timestamp;

use crate::{Access, Act, Missing, ServiceError};
pub use domain::explain::{ChainLink, Explanation, LinkKind, Target, Way};
use domain::explain::{Scene, explain, route_to};
use domain::ids::{ProfileId, ServerId, UserId};
use domain::organization::Organization;
use domain::profile::Profile;
use domain::role::Permission;
use domain::server::Server;
use domain::user::User;
use store::access::profiles::ProfileFilter;
use store::entity::PageRequest;

/// So many servers, and so many profiles of one user, are looked at.
const MOST: u32 = 1_000;

/// Whose access is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A user, with any of the user's profiles.
    User(UserId),
    /// One profile.
    Profile(ProfileId),
}

impl Access<'_> {
    /// Explains whether and how the subject reaches a target, as policy is now; `at` tells when, for what expires.
    pub async fn explain(
        self,
        act: &Act,
        subject: Subject,
        target: Target,
        at: Option<Timestamp>,
    ) -> Result<Explanation, ServiceError> {
        act.require(Permission::Read)?;
        let (user, profiles, only) = match subject {
            Subject::User(id) => {
                let filter = ProfileFilter { user_id: Some(id), ..ProfileFilter::default() };
                let page = PageRequest::first(MOST);
                let profiles = self.store().access().list_profiles(&filter, &page).await?.items;
                (id, profiles.into_iter().map(|found| found.value).collect(), None)
            }
            Subject::Profile(id) => {
                let found = self
                    .store()
                    .access()
                    .find_profile(id)
                    .await?
                    .ok_or(ServiceError::NotFound(Missing::Profile))?
                    .value;
                (found.user_id, vec![found.clone()], Some(found.server_id))
            }
        };
        let user = self.store().find::<User>(&user).await?.ok_or(ServiceError::NotFound(Missing::User))?.value;
        let scene = self.scene(user, profiles, only, target).await?;
        Ok(explain(&scene, target, at.unwrap_or_else(|| self.now())))
    }

    async fn scene(
        self,
        user: User,
        profiles: Vec<Profile>,
        only: Option<ServerId>,
        target: Target,
    ) -> Result<Scene, ServiceError> {
        let page = PageRequest::first(MOST);
        let servers = self.store().network().list_servers(&page).await?.items.into_iter().map(|found| found.value);
        // A profile leads to one server, wherever that leads; a user to any server that leads there.
        let is_asked = |server: &Server| match only {
            Some(only) => server.id == only,
            None => route_to(server, target).is_some(),
        };
        let servers: Vec<Server> = servers.filter(is_asked).collect();
        let ids: Vec<ServerId> = servers.iter().map(|server| server.id).collect();
        let (mut attached, alive, organization) = tokio::try_join!(
            self.store().hosts().attached_hosts(&ids),
            self.alive(),
            self.store().find::<Organization>(&user.organization_id)
        )?;
        let organization = organization.ok_or(ServiceError::NotFound(Missing::Organization))?.value.name;
        let with_hosts = |server: Server| {
            let hosts = attached.remove(&server.id).unwrap_or_default();
            (server, hosts)
        };
        let servers = servers.into_iter().map(with_hosts).collect();
        Ok(Scene { user, organization, profiles, servers, online: alive.into_iter().collect() })
    }
}
