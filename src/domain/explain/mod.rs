//! Whether and how a user reaches a destination, and what would have to change.
//!
//! The verdict is that of [`Snapshot::admit`], the very function that answers when a client connects: it is asked on
//! each host that is online, over a picture of just what the question is about. The chain beside it (user,
//! organization, group, profile, server, route, host) says in words what led there. The two are computed apart, and a
//! property holds them together: a way is open exactly when no link of its chain is broken.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Revision;
use super::access::{Change, Denial, ProfileAccess, Snapshot, UserAccess};
use super::host::Host;
use super::ids::{HostId, ProfileId, ServerId};
use super::network::Route;
use super::profile::{Profile, ProfileState};
use super::server::{Attachment, Server};
use super::text::Name;
use super::user::User;

/// A destination: an IPv4 address or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "10.8.0.5")]
pub struct Target(Ipv4Net);

/// A text that is no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an IPv4 address such as 10.8.0.5, or a network such as 10.8.0.0/16")]
pub struct TargetError;

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let address = || text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from);
        let network = || text.parse::<Ipv4Net>().ok().filter(|network| *network == network.trunc());
        address().or_else(network).map(Self).ok_or(TargetError)
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(destination: Target) -> Self {
        destination.to_string()
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == 32 { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// All that a question is about.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Who wants to get there.
    pub user: User,
    /// What the user's organization is called.
    pub organization: Name,
    /// The user's profiles that may be used.
    pub profiles: Vec<Profile>,
    /// The servers that may be used, each with the hosts that are to run it.
    pub servers: Vec<(Server, Vec<Host>)>,
    /// The hosts that are online.
    pub online: BTreeSet<HostId>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// Where to.
    pub destination: Target,
    /// As of when; later than now tells what will have expired by then.
    pub at: Timestamp,
    /// Whether any way is open.
    pub allowed: bool,
    /// The ways that could lead there, one for each server, the open ones first.
    pub ways: Vec<Way>,
    /// What would have to change for the way that lacks the least; empty if one is open.
    pub changes: Vec<String>,
}

/// A way through one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Way {
    /// Which server.
    pub server_id: ServerId,
    /// What it is called.
    pub server: Name,
    /// By which profile, if there is one.
    pub profile_id: Option<ProfileId>,
    /// Whether it is open: whether a client would be let in, and led there.
    pub allowed: bool,
    /// The chain.
    pub links: Vec<ChainLink>,
}

/// A link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChainLink {
    /// What it is about.
    pub kind: LinkKind,
    /// Whether it holds.
    pub holds: bool,
    /// What is so, as a sentence.
    pub says: String,
    /// What would have to change, if it does not hold.
    pub change: Option<String>,
}

/// What a link is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Whether the user is enabled.
    User,
    /// Whether the server is open to the organization.
    Organization,
    /// Whether the server is open to a group of the user.
    Group,
    /// Whether there is a profile that works.
    Profile,
    /// Whether the server is enabled.
    Server,
    /// Whether the server leads to the destination.
    Route,
    /// Whether a host takes the connection.
    Host,
}

impl LinkKind {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::Group => "group",
            Self::Profile => "profile",
            Self::Server => "server",
            Self::Route => "route",
            Self::Host => "host",
        }
    }
}

/// Explains whether and how the user of a scene reaches a destination at a moment.
pub fn explain(scene: &Scene, destination: Target, at: Timestamp) -> Explanation {
    let snapshot = scene.snapshot();
    let mut ways: Vec<Way> = Vec::new();
    for (server, hosts) in &scene.servers {
        let profiles: Vec<&Profile> = scene.profiles.iter().filter(|profile| profile.server_id == server.id).collect();
        let mut tried = profiles.iter().map(|profile| Some(*profile)).collect::<Vec<_>>();
        if tried.is_empty() {
            tried.push(None);
        }
        let way = |profile| Question { scene, snapshot: &snapshot, server, hosts, destination, at }.way(profile);
        // Of several profiles the one that comes furthest; of equals the first.
        ways.extend(tried.into_iter().map(way).min_by_key(Way::lacks));
    }
    ways.sort_by_key(Way::lacks);
    let allowed = ways.iter().any(|way| way.allowed);
    let changes = match ways.first() {
        _ if allowed => Vec::new(),
        None => vec![format!("Add a route to {destination} to a server.")],
        Some(nearest) => nearest.links.iter().filter_map(|link| link.change.clone()).collect(),
    };
    Explanation { destination, at, allowed, ways, changes }
}

/// Whether a server leads to a destination, and by which route: the narrowest one.
pub fn route_to(server: &Server, destination: Target) -> Option<&Route> {
    let leads = |route: &&Route| route.network.net().contains(&destination.0);
    server.routes.iter().filter(leads).max_by_key(|route| route.network.net().prefix_len())
}

impl Scene {
    fn snapshot(&self) -> Snapshot {
        let user = UserAccess {
            id: self.user.id,
            organization_id: self.user.organization_id,
            groups: self.user.groups.iter().cloned().collect(),
            disabled: self.user.disabled,
        };
        let profile = |profile: &Profile| {
            Change::Profile(ProfileAccess {
                id: profile.id,
                user_id: profile.user_id,
                server_id: profile.server_id,
                address: profile.address,
                state: profile.state,
                expires_at: profile.expires_at,
                fingerprint: profile.fingerprint,
                file: profile.written_for.clone().map(Arc::new),
            })
        };
        let mut changes = vec![Change::User(user)];
        changes.extend(self.profiles.iter().map(profile));
        for (server, hosts) in &self.servers {
            changes.push(Change::Server(Box::new(server.clone())));
            for host in hosts {
                let attachment = Attachment { server_id: server.id, host_id: host.id, credentials: None };
                changes.extend([Change::Host(Box::new(host.clone())), Change::Attachment(Box::new(attachment))]);
            }
        }
        Snapshot::default().with(Revision(1), changes)
    }
}

/// The question for one server.
struct Question<'a> {
    scene: &'a Scene,
    snapshot: &'a Snapshot,
    server: &'a Server,
    hosts: &'a [Host],
    destination: Target,
    at: Timestamp,
}

impl Way {
    /// How far it is from being open.
    fn lacks(&self) -> usize {
        self.links.iter().filter(|link| !link.holds).count()
    }
}

impl Question<'_> {
    fn way(&self, profile: Option<&Profile>) -> Way {
        let is_let_in = profile.is_some_and(|profile| self.hosts.iter().any(|host| self.admits(host, profile)));
        Way {
            server_id: self.server.id,
            server: self.server.name.clone(),
            profile_id: profile.map(|profile| profile.id),
            allowed: is_let_in && route_to(self.server, self.destination).is_some(),
            links: vec![
                self.user(),
                self.organization(),
                self.group(),
                self.profile(profile),
                self.enabled(),
                self.route(),
                self.host(profile),
            ],
        }
    }

    /// Whether a client with this profile finds a host and is let in.
    fn admits(&self, host: &Host, profile: &Profile) -> bool {
        let admit = || {
            let takes = |other| self.is_online(other);
            self.snapshot.admit(host.id, self.server.id, profile.fingerprint, self.at, takes)
        };
        self.is_online(host.id) && self.is_named(host, profile) && admit().is_ok()
    }

    fn is_online(&self, host: HostId) -> bool {
        self.scene.online.contains(&host)
    }

    fn is_named(&self, host: &Host, profile: &Profile) -> bool {
        profile.written_for.as_ref().is_none_or(|file| file.reaches(self.server, host))
    }

    fn user(&self) -> ChainLink {
        let name = &self.scene.user.name;
        if self.scene.user.disabled {
            return broken(LinkKind::User, format!("{name} is disabled."), format!("Enable {name}."));
        }
        holds(LinkKind::User, format!("{name} is enabled."))
    }

    fn organization(&self) -> ChainLink {
        let (organization, server) = (&self.scene.organization, &self.server.name);
        if self.server.organization_ids.contains(&self.scene.user.organization_id) {
            return holds(LinkKind::Organization, format!("{server} is open to {organization}."));
        }
        let says = format!("{server} is not open to {organization}.");
        broken(LinkKind::Organization, says, format!("Open {server} to {organization}."))
    }

    fn group(&self) -> ChainLink {
        let (user, server) = (&self.scene.user, self.server);
        if server.groups.is_empty() {
            return holds(LinkKind::Group, format!("{} asks for no group.", server.name));
        }
        if let Some(group) = user.groups.iter().find(|group| server.groups.contains(*group)) {
            return holds(LinkKind::Group, format!("{} is in {group}, to which {} is open.", user.name, server.name));
        }
        let groups = listed(&server.groups);
        let says = format!("{} is open to {groups} only, and {} is in none of them.", server.name, user.name);
        let one_of = if server.groups.len() == 1 { "" } else { "one of " };
        broken(LinkKind::Group, says, format!("Put {} into {one_of}{groups}.", user.name))
    }

    fn profile(&self, profile: Option<&Profile>) -> ChainLink {
        let (user, server) = (&self.scene.user.name, &self.server.name);
        let renew = || format!("Issue a new profile for {server} to {user}.");
        let Some(profile) = profile else {
            return broken(LinkKind::Profile, format!("{user} has no profile for {server}."), renew());
        };
        let name = &profile.name;
        if profile.state == ProfileState::Revoked {
            return broken(LinkKind::Profile, format!("The profile {name} was revoked."), renew());
        }
        let until = profile.expires_at.strftime("%Y-%m-%d");
        if profile.expires_at <= self.at {
            return broken(LinkKind::Profile, format!("The profile {name} ended on {until}."), renew());
        }
        holds(LinkKind::Profile, format!("The profile {name} works until {until}."))
    }

    fn enabled(&self) -> ChainLink {
        let server = &self.server.name;
        if self.server.enabled {
            return holds(LinkKind::Server, format!("{server} is enabled."));
        }
        broken(LinkKind::Server, format!("{server} is disabled, so it runs nowhere."), format!("Enable {server}."))
    }

    fn route(&self) -> ChainLink {
        let (server, destination) = (&self.server.name, self.destination);
        match route_to(self.server, destination) {
            Some(Route { network, comment: Some(comment), .. }) => {
                holds(LinkKind::Route, format!("{server} leads to {} ({comment}).", network.net()))
            }
            Some(Route { network, .. }) => holds(LinkKind::Route, format!("{server} leads to {}.", network.net())),
            None => {
                let says = format!("{server} has no route to {destination}.");
                broken(LinkKind::Route, says, format!("Add a route to {destination} to {server}."))
            }
        }
    }

    /// Whether one of the hosts that the profile's file names takes the connection: a client dials no other one.
    fn host(&self, profile: Option<&Profile>) -> ChainLink {
        let server = &self.server.name;
        if self.hosts.is_empty() {
            return broken(LinkKind::Host, format!("No host runs {server}."), format!("Attach a host to {server}."));
        }
        let file = profile.and_then(|profile| Some((profile, profile.written_for.as_ref()?)));
        let Some((profile, file)) = file else {
            return self.taking(self.hosts.iter().collect(), profile, "");
        };
        let named: Vec<&Host> = self.hosts.iter().filter(|host| file.reaches(self.server, host)).collect();
        let says = match (named.as_slice(), named.len() == self.hosts.len()) {
            (_, true) => return self.taking(named, Some(profile), ""),
            ([], _) if file.hosts.is_empty() => format!("The profile {} names no host.", profile.name),
            ([], _) => {
                let old = listed(file.hosts.iter().map(|host| &host.name));
                format!(
                    "The profile {} names no host of {server} where it is now; it was made for {old}.",
                    profile.name
                )
            }
            (named, _) => {
                let others = self.hosts.iter().filter(|host| !named.iter().any(|named| named.id == host.id));
                let (named, others) = (names(named), listed(others.map(|host| &host.name)));
                let name = &profile.name;
                format!("The profile {name} names {named}, so it cannot connect by {others}.")
            }
        };
        if named.is_empty() {
            return broken(LinkKind::Host, says, self.update());
        }
        self.taking(named, Some(profile), &format!("{says} "))
    }

    /// What helps somebody whose file does not lead to the hosts of now.
    fn update(&self) -> String {
        let (server, user) = (&self.server.name, &self.scene.user.name);
        format!("{user} gets the updated profile for {server} from the portal, or issue a new one.")
    }

    /// Whether any of the hosts that a client dials takes it, behind what is said of its file.
    fn taking(&self, dialled: Vec<&Host>, profile: Option<&Profile>, file: &str) -> ChainLink {
        let (online, silent): (Vec<&Host>, Vec<&Host>) = dialled.into_iter().partition(|host| self.is_online(host.id));
        // Whether the profile itself is good is for another link to say.
        let turns_away = |host: &&Host| {
            let Some(profile) = profile else { return host.is_draining() };
            let takes = |other| self.is_online(other);
            let admitted = self.snapshot.admit(host.id, self.server.id, profile.fingerprint, self.at, takes);
            host.is_draining() && matches!(admitted, Err(Denial::HostLeaving | Denial::NoOtherHost))
        };
        let (leaving, ready): (Vec<&Host>, Vec<&Host>) = online.into_iter().partition(turns_away);
        if !ready.is_empty() {
            return holds(LinkKind::Host, format!("{file}These hosts take connections: {}.", names(&ready)));
        }
        let (says, change) = if leaving.is_empty() {
            let silent = names(&silent);
            (format!("These hosts are offline: {silent}."), format!("Bring one of these hosts up: {silent}."))
        } else {
            let leaving = names(&leaving);
            let says = format!("These hosts are leaving service and take nobody: {leaving}.");
            (says, format!("Take one of these hosts back into service: {leaving}."))
        };
        let others_take = self.hosts.iter().any(|host| self.is_online(host.id) && !host.is_draining());
        let change = if others_take { format!("{} Or: {}", self.update(), lower(&change)) } else { change };
        broken(LinkKind::Host, format!("{file}{says}"), change)
    }
}

/// A sentence that goes on behind a colon.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn names(hosts: &[&Host]) -> String {
    listed(hosts.iter().map(|host| &host.name))
}

fn holds(kind: LinkKind, says: String) -> ChainLink {
    ChainLink { kind, holds: true, says, change: None }
}

fn broken(kind: LinkKind, says: String, change: String) -> ChainLink {
    ChainLink { kind, holds: false, says, change: Some(change) }
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
