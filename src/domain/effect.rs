//! What a change of the policy does to people: found by holding the policy before it against the policy after it, by the
//! same rule that hosts decide by.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Change, Snapshot};
use super::host::Host;
use super::ids::{HostId, ProfileId, ServerId, UserId};
use super::profile::{ProfileState, WrittenFor};
use super::reach::WayOut;
use super::server::{Endpoint, Server};
use super::spec::{ClientSpec, DaemonSpec};
use super::text::Name;

/// So many of those who are cut off are named.
const NAMED: usize = 20;

/// What a change of the policy does, in numbers; and whom it cuts off, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Effect {
    /// People who may use a server that they may not use now.
    pub users_gaining_access: u64,
    /// People who may no longer use a server that they may use now.
    pub users_losing_access: u64,
    /// Live sessions that end.
    pub sessions_ending: u64,
    /// Those of them that could go on, were it not that the file of their profile leads to no other host: a drain keeps
    /// them until the end of its budget. Their people need the updated profile.
    pub sessions_cut_off: u64,
    /// Live sessions that connect anew within moments, through another host or to fetch what changed.
    pub sessions_moving: u64,
    /// Profiles that go on working, but whose file no longer says everything that one issued now would.
    pub profiles_outdated: u64,
    /// Profiles whose file leads to no host any more that takes clients.
    pub profiles_cut_off: u64,
    /// Profiles that never connect again.
    pub profiles_ending: u64,
    /// Daemons that start on a host.
    pub daemons_starting: u64,
    /// Daemons that are restarted.
    pub daemons_restarting: u64,
    /// Daemons that stop.
    pub daemons_stopping: u64,
    /// Whose sessions are cut off: the first 20 of `sessions_cut_off`.
    pub cut_off: Vec<CutOff>,
    /// What is allowed, and yet likely a mistake: of the servers that change, as they would be.
    pub warnings: Vec<String>,
}

impl Effect {
    /// Whether it has no effect that people notice. A warning by itself changes nothing.
    pub fn is_nothing(&self) -> bool {
        Self { warnings: Vec::new(), ..self.clone() } == Self::default()
    }
}

/// Somebody whose live session ends, and who needs the updated profile to connect again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CutOff {
    /// Who.
    pub user_id: UserId,
    /// What the user is called.
    pub user: Option<Name>,
    /// By which profile.
    pub profile_id: ProfileId,
    /// The device.
    pub profile: Option<Name>,
}

/// A live session, as far as its fate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// By which profile.
    pub profile_id: ProfileId,
    /// To which server.
    pub server_id: ServerId,
    /// Through which host.
    pub host_id: HostId,
}

/// A file that profiles have in common but for their keys, of profiles that their owners are meant to use: neither
/// revoked nor expired nor replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileFile {
    /// Which server it leads to.
    pub server_id: ServerId,
    /// What it names.
    pub written_for: WrittenFor,
    /// How many profiles have it.
    pub profiles: u64,
}

/// Whom a change is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Users who changed, or whose profiles did.
    pub users: BTreeSet<UserId>,
    /// Servers that changed, or whose hosts did.
    pub servers: BTreeSet<ServerId>,
}

impl Touched {
    /// Whom `changes` are about, seen from the policy before them.
    pub fn by(changes: &[Change], before: &Snapshot) -> Self {
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::User(user) => drop(touched.users.insert(user.id)),
                Change::UserGone(id) => drop(touched.users.insert(*id)),
                Change::Profile(profile) => drop(touched.users.insert(profile.user_id)),
                Change::ProfileGone(id) => touched.users.extend(before.profile(*id).map(|profile| profile.user_id)),
                Change::Server(server) => drop(touched.servers.insert(server.id)),
                Change::ServerGone(id) | Change::AttachmentGone(id, _) => drop(touched.servers.insert(*id)),
                Change::Attachment(attachment) => drop(touched.servers.insert(attachment.server_id)),
                Change::Host(host) => touched.servers.extend(servers_on(before, host.id)),
                Change::HostGone(id) => touched.servers.extend(servers_on(before, *id)),
                Change::Settings(_) => {}
            }
        }
        touched
    }

    /// Whether it concerns no user.
    pub fn is_nobody(&self) -> bool {
        self.users.is_empty() && self.servers.is_empty()
    }
}

fn servers_on(snapshot: &Snapshot, host: HostId) -> impl Iterator<Item = ServerId> {
    snapshot.attached_to(host).map(|(server, _)| server.id)
}

/// The policy before and after a change.
#[derive(Debug, Clone, Copy)]
pub struct Difference<'a> {
    /// As it is.
    pub before: &'a Snapshot,
    /// As it would be.
    pub after: &'a Snapshot,
    /// Where the two can differ.
    pub touched: &'a Touched,
    /// The hosts that are online: no other one takes clients over.
    pub online: &'a BTreeSet<HostId>,
    /// The moment that it is asked for.
    pub now: Timestamp,
}

impl Difference<'_> {
    /// What it does to these sessions and files, and to everybody else.
    pub fn effect(&self, sessions: &[Carried], files: &[ProfileFile]) -> Effect {
        let mut effect = Effect::default();
        self.count_users(&mut effect);
        self.count_daemons(&mut effect);
        let server_changes = self.server_changes();
        effect.daemons_restarting = self.restarting(&server_changes);
        for session in sessions {
            let change = server_changes.get(&session.server_id).copied().unwrap_or_default();
            match self.fate(session, change) {
                Fate::Stays => {}
                Fate::Moves => effect.sessions_moving += 1,
                Fate::Ends => effect.sessions_ending += 1,
                Fate::IsCutOff => {
                    effect.sessions_ending += 1;
                    effect.sessions_cut_off += 1;
                    effect.cut_off.extend(self.named(session).filter(|_| effect.cut_off.len() < NAMED));
                }
            }
        }
        let ending = self.before.profiles().filter(|profile| {
            let opens = |snapshot: &Snapshot| {
                let found = snapshot.profile(profile.id);
                found.is_some_and(|found| found.state == ProfileState::Active && found.expires_at > self.now)
            };
            opens(self.before) && !opens(self.after)
        });
        effect.profiles_ending = number(ending.count());
        for id in &self.touched.servers {
            let (Some(before), Some(after)) = (Served::by(self.before, *id), Served::by(self.after, *id)) else {
                continue;
            };
            let becomes = |file: &&ProfileFile| {
                file.server_id == *id && before.suits(&file.written_for) && !after.suits(&file.written_for)
            };
            effect.profiles_outdated += files.iter().filter(becomes).map(|file| file.profiles).sum::<u64>();
            let leads_nowhere = |file: &&ProfileFile| {
                file.server_id == *id && before.takes(&file.written_for) && !after.takes(&file.written_for)
            };
            effect.profiles_cut_off += files.iter().filter(leads_nowhere).map(|file| file.profiles).sum::<u64>();
        }
        let servers = self.touched.servers.iter().filter_map(|id| self.after.server(*id));
        effect.warnings = servers.flat_map(|server| server.warnings()).map(str::to_owned).collect();
        effect
    }

    /// Whose session it is; names are for the caller to find.
    fn named(&self, session: &Carried) -> Option<CutOff> {
        let profile = self.before.profile(session.profile_id)?;
        Some(CutOff { user_id: profile.user_id, user: None, profile_id: profile.id, profile: None })
    }

    fn count_users(&self, effect: &mut Effect) {
        let ids = |snapshot: &Snapshot| snapshot.user_ids().collect::<BTreeSet<_>>();
        let servers: BTreeSet<ServerId> = self.before.server_ids().chain(self.after.server_ids()).collect();
        for user in ids(self.before).union(&ids(self.after)) {
            let is_touched =
                |server: &&ServerId| self.touched.users.contains(user) || self.touched.servers.contains(*server);
            let (mut gains, mut loses) = (false, false);
            for server in servers.iter().filter(is_touched) {
                match (self.before.opens(*user, *server), self.after.opens(*user, *server)) {
                    (false, true) => gains = true,
                    (true, false) => loses = true,
                    _ => {}
                }
            }
            effect.users_gaining_access += u64::from(gains);
            effect.users_losing_access += u64::from(loses);
        }
    }

    fn count_daemons(&self, effect: &mut Effect) {
        for id in &self.touched.servers {
            let (before, after) = (self.before.runners(*id), self.after.runners(*id));
            effect.daemons_starting += number(after.difference(&before).count());
            effect.daemons_stopping += number(before.difference(&after).count());
        }
    }

    /// What becomes different about the servers that stay; about those that are not touched, nothing.
    fn server_changes(&self) -> BTreeMap<ServerId, ServerChange> {
        let compare = |id: &ServerId| {
            let (old, new) = (self.before.server(*id)?, self.after.server(*id)?);
            let change = ServerChange {
                relocates: Endpoint::of(old) != Endpoint::of(new),
                restarts: DaemonSpec::of(old) != DaemonSpec::of(new),
                pushes_anew: ClientSpec::fixed(self.before, old) != ClientSpec::fixed(self.after, new),
            };
            Some((*id, change))
        };
        self.touched.servers.iter().filter_map(compare).collect()
    }

    fn restarting(&self, server_changes: &BTreeMap<ServerId, ServerChange>) -> u64 {
        let restart = server_changes.iter().filter(|(_, change)| change.restarts);
        let go_on = |id| self.before.runners(id).intersection(&self.after.runners(id)).count();
        restart.map(|(id, _)| number(go_on(*id))).sum()
    }

    fn fate(&self, session: &Carried, change: ServerChange) -> Fate {
        let Carried { profile_id, server_id, host_id } = *session;
        let ends = |snapshot: &Snapshot| snapshot.must_end(server_id, profile_id, self.now).is_some();
        let runs = |snapshot: &Snapshot| snapshot.runners(server_id).contains(&host_id);
        if ends(self.before) || !runs(self.before) {
            return Fate::Stays;
        }
        let stays = self.after.server(server_id).is_some_and(|server| server.enabled) && !ends(self.after);
        let Some(profile) = self.after.profile(profile_id).filter(|_| stays) else {
            return Fate::Ends;
        };
        // A client goes on looking where its file says.
        if change.relocates {
            return Fate::IsCutOff;
        }
        let (was_leaving, is_leaving) = (self.before.drain_of(host_id), self.after.drain_of(host_id));
        if !runs(self.after) || (was_leaving.is_none() && is_leaving.is_some()) {
            let forced = is_leaving.is_none_or(|drain| drain.forced);
            return match self
                .after
                .way_out(server_id, profile.file.as_deref(), host_id, |other| self.online.contains(&other))
            {
                WayOut::Open(_) => Fate::Moves,
                // A host that drains keeps whom nobody takes over.
                WayOut::Closed if runs(self.after) && !forced => Fate::Stays,
                WayOut::Closed | WayOut::None => Fate::IsCutOff,
            };
        }
        if change.restarts || change.pushes_anew { Fate::Moves } else { Fate::Stays }
    }
}

/// What a change makes different about a server, each found by comparing its specifications.
#[derive(Clone, Copy, Default)]
struct ServerChange {
    /// The lines of profiles' files lead nowhere any more.
    relocates: bool,
    /// Its daemons start anew.
    restarts: bool,
    /// Its clients have to get another configuration.
    pushes_anew: bool,
}

enum Fate {
    Stays,
    Moves,
    Ends,
    IsCutOff,
}

/// A server with the hosts that are to run it.
struct Served<'a> {
    server: &'a Server,
    hosts: Vec<Host>,
}

impl<'a> Served<'a> {
    fn by(snapshot: &'a Snapshot, id: ServerId) -> Option<Self> {
        let server = snapshot.server(id)?;
        Some(Self { server, hosts: snapshot.hosts_of(id).map(|host| Host::clone(host)).collect() })
    }

    fn suits(&self, file: &WrittenFor) -> bool {
        file.outdated(self.server, &self.hosts).is_none()
    }

    /// Whether a client with this file finds a host that takes it.
    fn takes(&self, file: &WrittenFor) -> bool {
        let takes = |host: &&Host| !host.is_draining() && file.reaches(self.server, host);
        self.server.enabled && self.hosts.iter().any(|host| takes(&host))
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{ProfileAccess, UserAccess};
    use crate::drain::Drain;
    use crate::profile::Fingerprint;
    use crate::samples::id;
    use crate::server::Attachment;
    use crate::{Revision, samples};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn user(n: u128) -> UserAccess {
        samples::user_access(n)
    }

    fn profile(n: u128, of: u128) -> ProfileAccess {
        ProfileAccess {
            user_id: id(of),
            expires_at: NOW + jiff::SignedDuration::from_hours(1),
            fingerprint: Fingerprint([u8::try_from(n).unwrap(); 32]),
            file: Some(Arc::new(written_for(&[6, 7]))),
            ..samples::profile_access(n)
        }
    }

    fn written_for(hosts: &[u128]) -> WrittenFor {
        WrittenFor::now(&server(), &hosts.iter().map(|n| host(*n)).collect::<Vec<_>>())
    }

    fn server() -> Server {
        samples::server(2)
    }

    fn host(n: u128) -> Host {
        samples::host(n.try_into().unwrap())
    }

    fn draining(n: u128, forced: bool) -> Change {
        let drain = Drain { started_at: NOW, ends_at: NOW, forced };
        Change::Host(Box::new(Host { drain: Some(drain), ..host(n) }))
    }

    fn attached(host: u128) -> Change {
        Change::Attachment(Box::new(Attachment { server_id: id(2), host_id: id(host), credentials: None }))
    }

    /// Users 3 and 4 with a profile each, 13 and 14, on a server on hosts 6 and 7.
    fn world() -> Snapshot {
        let hosts = [6, 7].map(|n| Change::Host(Box::new(host(n))));
        let people = [3, 4].into_iter().flat_map(|n| [Change::User(user(n)), Change::Profile(profile(10 + n, n))]);
        let changes = people.chain(hosts).chain([Change::Server(Box::new(server())), attached(6), attached(7)]);
        Snapshot::default().with(Revision(1), changes)
    }

    /// What a change does to both users, connected through host 6 with files that name both hosts.
    fn effect(changes: &[Change]) -> Effect {
        effect_in(&world(), &[7], changes)
    }

    /// What it does in another world, where these hosts are online beside the one that carries the sessions.
    fn effect_in(before: &Snapshot, others: &[u128], changes: &[Change]) -> Effect {
        let after = &before.with(Revision(2), changes.iter().cloned());
        let touched = &Touched::by(changes, before);
        let sessions = [13, 14].map(|n| Carried { profile_id: id(n), server_id: id(2), host_id: id(6) });
        let files: Vec<_> = before
            .files()
            .into_iter()
            .map(|(file, of)| ProfileFile { server_id: id(2), written_for: file.clone(), profiles: number(of.len()) })
            .collect();
        let online = &others.iter().chain([&6]).map(|n| id(*n)).collect();
        Difference { before, after, touched, online, now: NOW }.effect(&sessions, &files)
    }

    fn cut_off(profiles: &[u128]) -> Vec<CutOff> {
        let one = |n: &u128| CutOff { user_id: id(n - 10), user: None, profile_id: id(*n), profile: None };
        profiles.iter().map(one).collect()
    }

    fn changed(change: impl FnOnce(&mut Server)) -> Effect {
        let mut server = server();
        change(&mut server);
        effect(&[Change::Server(Box::new(server))])
    }

    #[test]
    fn a_name_is_nothing_to_anybody() {
        assert_eq!(changed(|server| server.name = "other".parse().unwrap()), Effect::default());
        assert!(effect(&[]).is_nothing());
    }

    #[test]
    fn who_loses_access_loses_the_session() {
        let all = Effect { users_losing_access: 2, sessions_ending: 2, ..Effect::default() };
        assert_eq!(changed(|server| server.organization_ids.clear()), all);
        assert_eq!(changed(|server| server.groups = ["ops".parse().unwrap()].into()), all);
        let disabled = UserAccess { disabled: true, ..user(3) };
        let one = Effect { users_losing_access: 1, sessions_ending: 1, ..Effect::default() };
        assert_eq!(effect(&[Change::User(disabled)]), one);
        let gone = effect(&[Change::ProfileGone(id(13)), Change::UserGone(id(3))]);
        assert_eq!(gone, Effect { profiles_ending: 1, ..one });
        let newcomer = Effect { users_gaining_access: 1, ..Effect::default() };
        assert_eq!(effect(&[Change::User(user(5))]), newcomer);
    }

    #[test]
    fn another_port_needs_new_files_and_other_routes_a_moment() {
        let moved = changed(|server| server.port = 1195.try_into().unwrap());
        let expected = Effect {
            sessions_ending: 2,
            sessions_cut_off: 2,
            profiles_outdated: 2,
            profiles_cut_off: 2,
            daemons_restarting: 2,
            cut_off: cut_off(&[13, 14]),
            ..Effect::default()
        };
        assert_eq!(moved, expected);
        let resolver = changed(|server| server.dns_servers = vec![[10, 0, 0, 53].into()]);
        assert_eq!(resolver, Effect { sessions_moving: 2, ..Effect::default() });
    }

    #[test]
    fn a_server_that_is_switched_off_stops_everywhere() {
        let off = changed(|server| server.enabled = false);
        let expected = Effect {
            users_losing_access: 2,
            sessions_ending: 2,
            profiles_cut_off: 2,
            daemons_stopping: 2,
            ..Effect::default()
        };
        assert_eq!(off, expected);
    }

    #[test]
    fn a_likely_mistake_is_told_before_it_is_made() {
        let route = serde_json::from_str(r#"{"network": "0.0.0.0/0"}"#).unwrap();
        let blind = changed(|server| server.routes = vec![route]);
        assert!(matches!(blind.warnings.as_slice(), [warning] if warning.contains("no DNS servers")), "{blind:?}");
        assert!(changed(|server| server.port = 1195.try_into().unwrap()).warnings.is_empty());
    }

    #[test]
    fn another_host_is_news_to_clients_whose_routes_cover_it() {
        let wide =
            Server { routes: vec![serde_json::from_str(r#"{"network": "203.0.113.0/24"}"#).unwrap()], ..server() };
        let before = &world().with(Revision(2), [Change::Server(Box::new(wide))]);
        let sessions = [13, 14].map(|n| Carried { profile_id: id(n), server_id: id(2), host_id: id(6) });
        let moving = |address: &str| {
            let host = Host { public_addresses: vec![address.parse().unwrap()], ..host(8) };
            let changes = [Change::Host(Box::new(host)), attached(8)];
            let after = &before.with(Revision(3), changes.clone());
            let touched = &Touched::by(&changes, before);
            let online = &[id(6), id(7), id(8)].into();
            Difference { before, after, touched, online, now: NOW }.effect(&sessions, &[]).sessions_moving
        };
        assert_eq!(moving("203.0.113.11"), 2);
        assert_eq!(moving("198.51.100.11"), 0);
        assert_eq!(moving("vpn-8.example.com"), 0, "what a name stands for interrupts nobody");
    }

    #[test]
    fn who_is_on_a_detached_host_goes_to_another_one() {
        let detached = effect(&[Change::AttachmentGone(id(2), id(6))]);
        let expected = Effect { sessions_moving: 2, profiles_outdated: 2, daemons_stopping: 1, ..Effect::default() };
        assert_eq!(detached, expected);
        let last = effect(&[Change::AttachmentGone(id(2), id(6)), Change::AttachmentGone(id(2), id(7))]);
        assert_eq!((last.sessions_ending, last.sessions_moving, last.daemons_stopping), (2, 0, 2));
        let third = effect(&[Change::Host(Box::new(host(8))), attached(8)]);
        assert_eq!(third, Effect { profiles_outdated: 2, daemons_starting: 1, ..Effect::default() });
    }

    #[test]
    fn whoever_has_a_file_without_the_other_host_is_cut_off_by_name() {
        let old = ProfileAccess { file: Some(Arc::new(written_for(&[6]))), ..profile(13, 3) };
        let world = world().with(Revision(2), [Change::Profile(old)]);
        let one = Effect { sessions_ending: 1, sessions_cut_off: 1, sessions_moving: 1, ..Effect::default() };
        let one = Effect { profiles_cut_off: 1, cut_off: cut_off(&[13]), ..one };
        assert_eq!(effect_in(&world, &[7], &[draining(6, false)]), one);
        // The other profile was outdated before, too: it lacks a host.
        let detached = Effect { daemons_stopping: 1, profiles_outdated: 1, ..one.clone() };
        assert_eq!(effect_in(&world, &[7], &[Change::AttachmentGone(id(2), id(6))]), detached);
        // The other host does not run: who is named by it waits, or is cut off with the rest.
        let held = Effect { sessions_moving: 0, ..one };
        assert_eq!(effect_in(&world, &[], &[draining(6, false)]), held);
        let forced = effect_in(&world, &[], &[draining(6, true)]);
        assert_eq!((forced.sessions_cut_off, forced.cut_off), (2, cut_off(&[13, 14])));
    }
}
