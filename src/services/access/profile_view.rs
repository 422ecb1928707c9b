//! Profiles as the API shows them: with the hosts that their files name, and whether a file issued now would be another.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Access, Missing, ServiceError};
use domain::Revised;
use domain::host::Host;
use domain::ids::{HostId, ServerId};
use domain::profile::{OutdatedReason, Profile, ProfileState};
use domain::server::Server;
use store::evidence::audit::FileChange;

/// A profile, and what its file is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Profile)]
pub struct ProfileView {
    /// The profile.
    #[serde(flatten)]
    pub profile: Profile,
    /// The hosts that its file names: a client with it connects by no other one. Unknown of imported profiles.
    pub hosts: Option<Vec<HostId>>,
    /// Since when and why its file is not what one issued now would be; nothing where it is.
    pub outdated: Option<OutdatedView>,
}

/// Since when and why a profile's file is not what one issued now would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Outdated)]
pub struct OutdatedView {
    /// Since when, as far as the audit log still tells.
    pub since: Option<Timestamp>,
    /// Why.
    pub reasons: Vec<OutdatedReason>,
}

impl ProfileView {
    /// A profile that was issued just now.
    pub fn fresh(profile: Profile) -> Self {
        Self::new(profile, None)
    }

    fn new(profile: Profile, outdated: Option<OutdatedView>) -> Self {
        let names = profile.written_for.as_ref();
        let hosts = names.map(|file| file.hosts.iter().map(|host| host.id).collect());
        Self { profile, hosts, outdated }
    }
}

impl Access<'_> {
    /// Profiles as the API shows them. A number of queries that does not depend on how many there are.
    pub async fn profile_api_views(
        self,
        profiles: Vec<Revised<Profile>>,
    ) -> Result<Vec<Revised<ProfileView>>, ServiceError> {
        let ids: BTreeSet<ServerId> = profiles.iter().map(|found| found.value.server_id).collect();
        let ids: Vec<ServerId> = ids.into_iter().collect();
        let (servers, attached) =
            tokio::try_join!(self.store().network().servers_by_id(&ids), self.store().hosts().attached_hosts(&ids))?;
        let servers: HashMap<ServerId, Server> = servers.into_iter().map(|server| (server.id, server)).collect();
        let hosts_of = |server: ServerId| attached.get(&server).map(Vec::as_slice).unwrap_or_default();
        let reasons = |profile: &Profile| {
            let server = servers.get(&profile.server_id)?;
            // Nobody is meant to use another one.
            let useful = profile.state == ProfileState::Active && profile.replaced_by.is_none();
            let file = profile.written_for.as_ref().filter(|_| useful)?;
            Some(file.outdated(server, hosts_of(server.id))?.reasons())
        };
        let reasons: Vec<_> = profiles.iter().map(|found| reasons(&found.value)).collect();
        let outdated = || profiles.iter().zip(&reasons).filter(|(_, reasons)| reasons.is_some());
        let changes = match outdated().map(|(found, _)| found.value.issued_at).min() {
            Some(oldest) => {
                let objects = outdated().flat_map(|(found, _)| objects(&found.value, hosts_of(found.value.server_id)));
                self.store().evidence().file_changes(&objects.collect(), oldest).await?
            }
            None => Vec::new(),
        };
        let since = |profile: &Profile| {
            let about = objects(profile, hosts_of(profile.server_id));
            let is_later = |change: &&FileChange| change.at > profile.issued_at && about.contains(&change.object);
            changes.iter().find(is_later).map(|change| change.at)
        };
        let views: Vec<_> = profiles
            .iter()
            .zip(reasons)
            .map(|(found, reasons)| reasons.map(|reasons| OutdatedView { since: since(&found.value), reasons }))
            .collect();
        let view = |(Revised { rev, value }, outdated)| Revised { rev, value: ProfileView::new(value, outdated) };
        Ok(profiles.into_iter().zip(views).map(view).collect())
    }

    /// One profile as the API shows it.
    pub async fn profile_api_view(self, profile: Revised<Profile>) -> Result<Revised<ProfileView>, ServiceError> {
        let view = self.profile_api_views(vec![profile]).await?.pop();
        view.ok_or(ServiceError::NotFound(Missing::Profile))
    }
}

/// What a change of can outdate the file of a profile: its server, and the hosts that it names or should name.
fn objects(profile: &Profile, attached: &[Host]) -> BTreeSet<String> {
    let named = profile.written_for.iter().flat_map(|file| file.hosts.iter().map(|host| host.id.to_string()));
    let attached = attached.iter().map(|host| host.id.to_string());
    named.chain(attached).chain([profile.server_id.to_string()]).collect()
}
