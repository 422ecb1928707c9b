//! How far the cluster has come from nothing to its first connection. Each step is judged by what is there, never by a
//! mark that somebody passed it, so it can be taken anywhere: in the console, by the API, by the command line.

use crate::{Act, Cluster, SOON, ServiceError};
use domain::Revised;
use domain::ids::{OrganizationId, ServerId};
use domain::login::Surface;
use domain::role::Permission;
use domain::server::{DaemonState, Server};
use domain::text::Name;
use store::entity::PageRequest;

/// What there is of everything that a first connection takes.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone)]
pub struct Setup {
    /// What people call the company.
    pub company: Option<Name>,
    /// Under which URL browsers reach the public pages, if this process knows.
    pub portal_url: Option<String>,
    /// Under which URL they reach the console.
    pub console_url: Option<String>,
    /// Whether people can sign in with their accounts.
    pub sign_in: bool,
    /// The first organization.
    pub organization: Option<(OrganizationId, Name)>,
    /// The first server.
    pub server: Option<Revised<Server>>,
    /// Whether any host is attached to it.
    pub is_attached: bool,
    /// Whether it runs on one that is heard of.
    pub is_running: bool,
    /// Whether anybody has a profile.
    pub has_profile: bool,
    /// Whether anybody was ever connected.
    pub has_connected: bool,
}

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The company has a name, and the public pages an address.
    Company,
    /// People can sign in with their accounts. Where it is left out, one-time profile links do.
    SignIn,
    /// There are users to open a server to.
    Organization,
    /// There is something to connect to.
    Server,
    /// It runs somewhere.
    Host,
    /// Somebody can connect.
    Profile,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Company, Self::SignIn, Self::Organization, Self::Server, Self::Host, Self::Profile];
}

impl Setup {
    /// Whether a step is done.
    pub fn has(&self, step: Step) -> bool {
        match step {
            Step::Company => self.company.is_some() && self.portal_url.is_some(),
            Step::SignIn => self.sign_in,
            Step::Organization => self.organization.is_some(),
            Step::Server => self.server.is_some(),
            Step::Host => self.is_attached,
            Step::Profile => self.has_profile,
        }
    }

    /// The step to take next: the first that is not done and not optional.
    pub fn next(&self) -> Option<Step> {
        Step::ALL.into_iter().find(|step| *step != Step::SignIn && !self.has(*step))
    }

    /// Whether nothing is missing for a first connection.
    pub fn is_complete(&self) -> bool {
        self.next().is_none()
    }

    /// How many steps are done.
    pub fn done(&self) -> usize {
        Step::ALL.into_iter().filter(|step| self.has(*step)).count()
    }
}

impl Cluster<'_> {
    /// How far the cluster has come.
    pub async fn setup(self, act: &Act) -> Result<Setup, ServiceError> {
        act.require(Permission::Read)?;
        let first = PageRequest::first(1);
        let reads = async {
            tokio::try_join!(
                self.store().people().list_organizations(&first),
                self.store().network().list_servers(&first),
                self.store().hosts().host_statuses(None),
                self.store().access().has_profiles(),
                self.store().access().has_sessions(),
            )
        };
        let (organizations, servers, statuses, has_profile, has_connected) = self.store().deadline(SOON, reads).await?;
        let server = servers.items.into_iter().next();
        let ids: Vec<ServerId> = server.iter().map(|server| server.value.id).collect();
        let fares = async {
            tokio::try_join!(self.store().hosts().attached_hosts(&ids), self.store().hosts().daemons_of_all(&ids))
        };
        let (attached, daemons) = self.store().deadline(SOON, fares).await?;
        let settings = self.current_settings().await?;
        let is_online = |host| statuses.get(host).is_some_and(|status| status.online);
        let runs = |state| state == DaemonState::Running;
        Ok(Setup {
            company: settings.company_name,
            portal_url: self.site_url(Surface::Portal),
            console_url: self.site_url(Surface::Console),
            sign_in: settings.oidc.is_complete(),
            organization: organizations.items.into_iter().next().map(|found| (found.value.id, found.value.name)),
            server,
            is_attached: !attached.is_empty(),
            is_running: daemons.iter().any(|daemon| runs(daemon.state) && is_online(&daemon.key.host_id)),
            has_profile,
            has_connected,
        })
    }

    /// Under which URL browsers reach a surface, as far as this process knows.
    pub fn site_url(self, surface: Surface) -> Option<String> {
        self.url(surface).map(ToOwned::to_owned)
    }
}
