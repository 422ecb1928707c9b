//! Who may connect: an immutable picture of the policy, and the two questions that daemons ask of it.
//!
//! The picture is made of persistent maps. A change makes a new picture that shares all that did not change with the
//! one before, so taking one over costs as much as the change, not as much as the number of users.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Revision;
use super::drain::Drain;
use super::host::Host;
use super::ids::{HostId, OrganizationId, ProfileId, ServerId, UserId};
use super::profile::{Fingerprint, ProfileState, WrittenFor};
use super::server::{Attachment, Server};
use super::settings::Settings;
use super::text::GroupName;

/// What the snapshot keeps of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAccess {
    /// The user.
    pub id: UserId,
    /// The user's organization.
    pub organization_id: OrganizationId,
    /// The user's groups.
    pub groups: Box<[GroupName]>,
    /// Whether the user is shut out.
    pub disabled: bool,
}

/// What the snapshot keeps of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileAccess {
    /// The profile.
    pub id: ProfileId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it leads.
    pub server_id: ServerId,
    /// Its address in the tunnel.
    pub address: Ipv4Addr,
    /// Whether it still opens anything.
    pub state: ProfileState,
    /// When its certificate ends.
    pub expires_at: Timestamp,
    /// Which certificate it is.
    pub fingerprint: Fingerprint,
    /// What its file names; unknown of imported profiles. Profiles that were issued while the same hosts ran the server
    /// share it, and so it is written down once for all of them ([`Snapshot::files`]).
    #[serde(skip)]
    pub file: Option<Arc<WrittenFor>>,
}

/// One document of the policy, in its newest form, or the news that it is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Change {
    /// A user as it is now.
    User(UserAccess),
    /// A user that was deleted.
    UserGone(UserId),
    /// A profile as it is now.
    Profile(ProfileAccess),
    /// A profile that was deleted.
    ProfileGone(ProfileId),
    /// A server as it is now.
    Server(Box<Server>),
    /// A server that was deleted.
    ServerGone(ServerId),
    /// A host as it is now.
    Host(Box<Host>),
    /// A host that was removed.
    HostGone(HostId),
    /// An attachment as it is now.
    Attachment(Box<Attachment>),
    /// A host that was detached.
    AttachmentGone(ServerId, HostId),
    /// The settings as they are now.
    Settings(Box<Settings>),
}

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denial {
    /// No profile of this server has this certificate.
    #[error("this profile is not known here")]
    UnknownProfile,
    /// The profile was revoked.
    #[error("this profile was revoked")]
    ProfileRevoked,
    /// The profile's time is over.
    #[error("this profile has expired")]
    ProfileExpired,
    /// The user is disabled.
    #[error("this account is disabled")]
    UserDisabled,
    /// The server is not open to the user's organization, or to none of the user's groups.
    #[error("this account may not use this server")]
    NotPermitted,
    /// This host does not run the server (any more), or is draining: others may.
    #[error("this host is leaving service")]
    HostLeaving,
    /// The same, and the profile's file names no other host that runs the server.
    #[error("this profile names only hosts that are out of service: get the updated profile from the portal")]
    NoOtherHost,
    /// The policy known here is too old to decide by, or there is none yet.
    #[error("this host cannot check access right now")]
    NotKnown,
    /// The question waited, and the client may be elsewhere by now.
    #[error("this host was held up")]
    HeldUp,
    /// The firewall of this host is not in place, or it does not forward: others may do better.
    #[error("this host cannot protect its networks right now")]
    HostUnprotected,
}

impl Denial {
    /// Whether the fault is ours, so that the client should try elsewhere or again rather than give up.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::HostLeaving | Self::NoOtherHost | Self::NotKnown | Self::HeldUp | Self::HostUnprotected)
    }

    /// The word for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownProfile => "unknown_profile",
            Self::ProfileRevoked => "profile_revoked",
            Self::ProfileExpired => "profile_expired",
            Self::UserDisabled => "user_disabled",
            Self::NotPermitted => "not_permitted",
            Self::HostLeaving => "host_leaving",
            Self::NoOtherHost => "no_other_host",
            Self::NotKnown => "not_known",
            Self::HeldUp => "held_up",
            Self::HostUnprotected => "host_unprotected",
        }
    }
}

/// The picture of the policy at one revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The revision up to which it is complete.
    pub revision: Revision,
    users: HashMap<UserId, Arc<UserAccess>>,
    profiles: HashMap<ProfileId, Arc<ProfileAccess>>,
    by_fingerprint: HashMap<(ServerId, Fingerprint), ProfileId>,
    servers: HashMap<ServerId, Arc<Server>>,
    hosts: HashMap<HostId, Arc<Host>>,
    attachments: OrdMap<(ServerId, HostId), Arc<Attachment>>,
    /// What files name, each once. There are as many as the hosts of a server have changed while this process runs.
    files: HashMap<Arc<WrittenFor>, ()>,
    settings: Arc<Settings>,
}

impl Snapshot {
    /// The picture after `changes`, complete up to `revision`.
    #[must_use]
    pub fn with(&self, revision: Revision, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut next = self.clone();
        next.revision = revision;
        for change in changes {
            next.apply(change);
        }
        next
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::User(user) => drop(self.users.insert(user.id, Arc::new(user))),
            Change::UserGone(id) => drop(self.users.remove(&id)),
            Change::Profile(mut profile) => {
                profile.file = profile.file.take().map(|file| self.share(file));
                self.by_fingerprint.insert((profile.server_id, profile.fingerprint), profile.id);
                self.profiles.insert(profile.id, Arc::new(profile));
            }
            Change::ProfileGone(id) => {
                if let Some(profile) = self.profiles.remove(&id) {
                    self.by_fingerprint.remove(&(profile.server_id, profile.fingerprint));
                }
            }
            Change::Server(server) => drop(self.servers.insert(server.id, Arc::from(server))),
            Change::ServerGone(id) => drop(self.servers.remove(&id)),
            Change::Host(host) => drop(self.hosts.insert(host.id, Arc::from(host))),
            Change::HostGone(id) => drop(self.hosts.remove(&id)),
            Change::Attachment(attachment) => {
                self.attachments.insert((attachment.server_id, attachment.host_id), Arc::from(attachment));
            }
            Change::AttachmentGone(server, host) => drop(self.attachments.remove(&(server, host))),
            Change::Settings(settings) => self.settings = Arc::from(settings),
        }
    }

    fn share(&mut self, file: Arc<WrittenFor>) -> Arc<WrittenFor> {
        if let Some((shared, ())) = self.files.get_key_value(&file) {
            return Arc::clone(shared);
        }
        self.files.insert(Arc::clone(&file), ());
        file
    }

    /// The profile of `server` that `fingerprint` is the certificate of, if it may connect through `host` at `now`. A
    /// draining host turns away whoever can go to another one that `takes` clients over, as far as that is known.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit(
        &self,
        host: HostId,
        server: ServerId,
        fingerprint: Fingerprint,
        now: Timestamp,
        takes: impl Fn(HostId) -> bool,
    ) -> Result<&ProfileAccess, Denial> {
        if let Some(drain) = self.drain_of(host) {
            // A profile that is not known here may be known to a host that stays.
            let profile = self.profile_with(server, fingerprint).ok_or(Denial::HostLeaving)?;
            self.wait_out(profile, host, &drain, now, takes)?;
        }
        self.renew(host, server, fingerprint, now)
    }

    /// The same for a client that is connected already and negotiates new keys: a draining host keeps it until it is
    /// moved.
    ///
    /// # Errors
    /// The reason why not.
    pub fn renew(
        &self,
        host: HostId,
        server: ServerId,
        fingerprint: Fingerprint,
        now: Timestamp,
    ) -> Result<&ProfileAccess, Denial> {
        let profile = self.profile_with(server, fingerprint);
        if !self.runs(host, server) {
            return Err(profile.map_or(Denial::HostLeaving, |profile| self.leaving(profile, host)));
        }
        let profile = profile.ok_or(Denial::UnknownProfile)?;
        self.standing(profile, now)?;
        Ok(profile)
    }

    /// The profile of a server that has this certificate.
    pub fn profile_with(&self, server: ServerId, fingerprint: Fingerprint) -> Option<&ProfileAccess> {
        let id = self.by_fingerprint.get(&(server, fingerprint))?;
        self.profiles.get(id).map(AsRef::as_ref)
    }

    /// Why a session of `profile` on `server` must end now, if it must. A draining host keeps its sessions until they
    /// are moved.
    pub fn must_end(&self, server: ServerId, profile: ProfileId, now: Timestamp) -> Option<Denial> {
        let Some(profile) = self.profiles.get(&profile).filter(|profile| profile.server_id == server) else {
            return Some(Denial::UnknownProfile);
        };
        self.standing(profile, now).err()
    }

    fn standing(&self, profile: &ProfileAccess, now: Timestamp) -> Result<(), Denial> {
        let user = self.users.get(&profile.user_id).ok_or(Denial::UnknownProfile)?;
        let server = self.servers.get(&profile.server_id).ok_or(Denial::UnknownProfile)?;
        if profile.state == ProfileState::Revoked {
            return Err(Denial::ProfileRevoked);
        }
        if profile.expires_at <= now {
            return Err(Denial::ProfileExpired);
        }
        if user.disabled {
            return Err(Denial::UserDisabled);
        }
        if !permits(server, user.organization_id, &user.groups) {
            return Err(Denial::NotPermitted);
        }
        Ok(())
    }

    fn runs(&self, host: HostId, server: ServerId) -> bool {
        let attached = self.attachments.contains_key(&(server, host));
        attached && self.servers.get(&server).is_some_and(|server| server.enabled)
    }

    /// The order to take a host out of service, while it stands.
    pub fn drain_of(&self, host: HostId) -> Option<Drain> {
        self.hosts.get(&host)?.drain
    }

    /// Whether a user may use a server, given a profile of it.
    pub fn opens(&self, user: UserId, server: ServerId) -> bool {
        let (Some(user), Some(server)) = (self.users.get(&user), self.servers.get(&server)) else { return false };
        !user.disabled && server.enabled && permits(server, user.organization_id, &user.groups)
    }

    /// The hosts that are to run a daemon of a server.
    pub fn runners(&self, server: ServerId) -> BTreeSet<HostId> {
        let enabled = self.servers.get(&server).is_some_and(|server| server.enabled);
        let attached = self.attachments.keys().filter(|(of, _)| enabled && *of == server);
        attached.map(|(_, host)| *host).collect()
    }

    /// The hosts that are attached to a server, the draining ones included.
    pub fn hosts_of(&self, server: ServerId) -> impl Iterator<Item = &Arc<Host>> {
        let attached = self.attachments.keys().filter(move |(of, _)| *of == server);
        attached.filter_map(|(_, host)| self.hosts.get(host))
    }

    /// The ids of all users.
    pub fn user_ids(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().copied()
    }

    /// The ids of all servers.
    pub fn server_ids(&self) -> impl Iterator<Item = ServerId> {
        self.servers.keys().copied()
    }

    /// All profiles.
    pub fn profiles(&self) -> impl Iterator<Item = &ProfileAccess> {
        self.profiles.values().map(AsRef::as_ref)
    }

    /// Everything it knows, as the changes that would make it from nothing.
    pub fn to_changes(&self) -> Vec<Change> {
        let mut all = vec![Change::Settings(Box::new(Settings::clone(&self.settings)))];
        all.extend(self.users.values().map(|user| Change::User(UserAccess::clone(user))));
        all.extend(self.profiles.values().map(|profile| Change::Profile(ProfileAccess::clone(profile))));
        all.extend(self.servers.values().map(|server| Change::Server(Box::new(Server::clone(server)))));
        all.extend(self.hosts.values().map(|host| Change::Host(Box::new(Host::clone(host)))));
        all.extend(self.attachments.values().map(|a| Change::Attachment(Box::new(Attachment::clone(a)))));
        all
    }

    /// What files name, and which profiles have such a file.
    pub fn files(&self) -> std::collections::HashMap<&WrittenFor, Vec<ProfileId>> {
        let mut files = std::collections::HashMap::<_, Vec<ProfileId>>::new();
        for profile in self.profiles.values() {
            if let Some(file) = &profile.file {
                files.entry(file.as_ref()).or_default().push(profile.id);
            }
        }
        files
    }

    /// The servers attached to a host, each with its attachment.
    pub fn attached_to(&self, host: HostId) -> impl Iterator<Item = (&Arc<Server>, &Arc<Attachment>)> {
        self.attachments
            .values()
            .filter(move |attachment| attachment.host_id == host)
            .filter_map(|attachment| Some((self.servers.get(&attachment.server_id)?, attachment)))
    }

    /// A host by its id.
    pub fn host(&self, id: HostId) -> Option<&Arc<Host>> {
        self.hosts.get(&id)
    }

    /// A server by its id.
    pub fn server(&self, id: ServerId) -> Option<&Arc<Server>> {
        self.servers.get(&id)
    }

    /// A profile by its id.
    pub fn profile(&self, id: ProfileId) -> Option<&Arc<ProfileAccess>> {
        self.profiles.get(&id)
    }

    /// The cluster's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many profiles it knows.
    pub fn profile_count(&self) -> usize {
        self.profiles.len()
    }
}

/// Whether a server is open to a user of `organization` with `groups`: the one rule of access.
pub fn permits<'a>(
    server: &Server,
    organization: OrganizationId,
    groups: impl IntoIterator<Item = &'a GroupName>,
) -> bool {
    server.organization_ids.contains(&organization)
        && (server.groups.is_empty() || groups.into_iter().any(|group| server.groups.contains(group)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::samples::id;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    struct World {
        user: UserAccess,
        profile: ProfileAccess,
        server: Server,
        host: Host,
    }

    fn world() -> World {
        World {
            user: samples::user_access(3),
            profile: ProfileAccess {
                expires_at: NOW + jiff::SignedDuration::from_hours(1),
                ..samples::profile_access(4)
            },
            server: samples::server(2),
            host: Host { name: "vpn-1".parse().unwrap(), ..samples::host(6) },
        }
    }

    impl World {
        fn snapshot(&self) -> Snapshot {
            let attachment = Attachment { server_id: self.server.id, host_id: self.host.id, credentials: None };
            Snapshot::default().with(
                Revision(1),
                [
                    Change::User(self.user.clone()),
                    Change::Profile(self.profile.clone()),
                    Change::Server(Box::new(self.server.clone())),
                    Change::Host(Box::new(self.host.clone())),
                    Change::Attachment(Box::new(attachment)),
                ],
            )
        }

        fn admit(&self) -> Result<Ipv4Addr, Denial> {
            self.snapshot()
                .admit(self.host.id, self.server.id, self.profile.fingerprint, NOW, |_| true)
                .map(|found| found.address)
        }

        fn must_end(&self) -> Option<Denial> {
            self.snapshot().must_end(self.server.id, self.profile.id, NOW)
        }
    }

    #[test]
    fn an_active_profile_gets_its_address() {
        assert_eq!(world().admit(), Ok(Ipv4Addr::new(10, 9, 0, 7)));
        assert_eq!(world().must_end(), None);
    }

    #[test]
    fn whoever_is_refused_entry_also_loses_the_session() {
        type Spoil = fn(&mut World);
        let cases: [(Denial, Spoil); 6] = [
            (Denial::ProfileRevoked, |w| w.profile.state = ProfileState::Revoked),
            (Denial::ProfileExpired, |w| w.profile.expires_at = NOW),
            (Denial::UserDisabled, |w| w.user.disabled = true),
            (Denial::NotPermitted, |w| w.server.organization_ids.clear()),
            (Denial::NotPermitted, |w| w.server.groups = BTreeSet::from(["ops".parse().unwrap()])),
            (Denial::UnknownProfile, |w| w.profile.user_id = id(99)),
        ];
        for (denial, spoil) in cases {
            let mut world = world();
            spoil(&mut world);
            assert_eq!(world.admit(), Err(denial));
            assert_eq!(world.must_end(), Some(denial));
            assert!(!denial.is_temporary());
        }
    }

    #[test]
    fn one_shared_group_is_enough() {
        let mut world = world();
        world.server.groups = BTreeSet::from(["ops".parse().unwrap(), "dev".parse().unwrap()]);
        world.user.groups = Box::new(["dev".parse().unwrap(), "all".parse().unwrap()]);
        assert!(world.admit().is_ok());
    }

    #[test]
    fn a_host_that_does_not_run_the_server_refuses_for_now() {
        let mut world = world();
        world.server.enabled = false;
        assert_eq!(world.admit(), Err(Denial::HostLeaving));
        assert!(Denial::HostLeaving.is_temporary() && Denial::NoOtherHost.is_temporary());
        assert_eq!(world.must_end(), None);
    }

    #[test]
    fn what_is_gone_is_gone_and_the_old_picture_stays() {
        let world = world();
        let before = world.snapshot();
        let after = before.with(Revision(2), [Change::ProfileGone(world.profile.id)]);
        assert_eq!(
            after.renew(world.host.id, world.server.id, world.profile.fingerprint, NOW),
            Err(Denial::UnknownProfile)
        );
        assert!(before.renew(world.host.id, world.server.id, world.profile.fingerprint, NOW).is_ok());
        assert_eq!((before.revision, after.revision), (Revision(1), Revision(2)));
    }

    #[test]
    fn a_certificate_opens_only_its_own_server() {
        let world = world();
        let other = Server { id: id(77), ..world.server.clone() };
        let attachment = Attachment { server_id: other.id, host_id: world.host.id, credentials: None };
        let snapshot = world
            .snapshot()
            .with(Revision(2), [Change::Server(Box::new(other.clone())), Change::Attachment(Box::new(attachment))]);
        assert_eq!(
            snapshot.renew(world.host.id, other.id, world.profile.fingerprint, NOW),
            Err(Denial::UnknownProfile)
        );
    }
}
