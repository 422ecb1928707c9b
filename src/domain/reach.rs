//! Where a client can go on: the hosts that its profile's file leads to.
//!
//! A client dials the `remote` lines of its file and nothing else. So a host that leaves service sends it elsewhere
//! only if the file leads to another one; where it leads to none, the client is kept, and let in again, until the
//! budget of the drain is over, and beyond it where no other host can take anybody over, unless the order is by force.
//! Of imported profiles it is not known what their files name: they count as naming every host.

use jiff::Timestamp;

use super::access::{Denial, ProfileAccess, Snapshot};
use super::drain::Drain;
use super::host::Host;
use super::ids::{HostId, ServerId};
use super::profile::{Fingerprint, WrittenFor};

/// Where a client can go on when its host leaves service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// So many other hosts of its file take it over now.
    Open(usize),
    /// None of the other hosts of its file takes it over right now, or no other host runs the server at all.
    Closed,
    /// Other hosts run the server, and its file leads to none of them.
    None,
}

impl Snapshot {
    /// The hosts other than `host` that are to run a server and are not draining. Whether they are alive is not known
    /// here.
    pub fn others(&self, host: HostId, server: ServerId) -> impl Iterator<Item = &Host> {
        let enabled = self.server(server).is_some_and(|server| server.enabled);
        let stays = move |other: &&Host| enabled && other.id != host && !other.is_draining();
        self.hosts_of(server).map(AsRef::as_ref).filter(stays)
    }

    /// Where a client of `host` with a profile of this file can go on; `takes` tells which hosts take clients over right
    /// now.
    pub fn way_out(
        &self,
        server: ServerId,
        file: Option<&WrittenFor>,
        host: HostId,
        takes: impl Fn(HostId) -> bool,
    ) -> WayOut {
        let Some(what) = self.server(server) else { return WayOut::Closed };
        let (mut others, mut named, mut open) = (0_usize, 0_usize, 0_usize);
        for other in self.others(host, server) {
            others += 1;
            if file.is_none_or(|file| file.reaches(what, other)) {
                named += 1;
                open += usize::from(takes(other.id));
            }
        }
        match (others, named, open) {
            (1.., 0, _) => WayOut::None,
            (_, _, 0) => WayOut::Closed,
            (_, _, open) => WayOut::Open(open),
        }
    }

    /// How many hosts other than `host` a client with this certificate may try.
    pub fn others_for(&self, host: HostId, server: ServerId, fingerprint: Option<Fingerprint>) -> usize {
        let profile = fingerprint.and_then(|fingerprint| self.profile_with(server, fingerprint));
        match self.way_out(server, profile.and_then(|profile| profile.file.as_deref()), host, |_| true) {
            WayOut::Open(others) => others,
            WayOut::Closed | WayOut::None => 0,
        }
    }

    /// The answer to a client that `host` refuses because it leaves service.
    pub(super) fn leaving(&self, profile: &ProfileAccess, host: HostId) -> Denial {
        match self.way_out(profile.server_id, profile.file.as_deref(), host, |_| true) {
            WayOut::None => Denial::NoOtherHost,
            WayOut::Open(_) | WayOut::Closed => Denial::HostLeaving,
        }
    }

    /// Whether a draining host lets a newcomer in: only somebody who could not connect anywhere else, and until the end
    /// of the budget. Where it keeps its sessions because nobody takes them over, it keeps newcomers too.
    pub(super) fn wait_out(
        &self,
        profile: &ProfileAccess,
        host: HostId,
        drain: &Drain,
        now: Timestamp,
        takes: impl Fn(HostId) -> bool,
    ) -> Result<(), Denial> {
        match self.way_out(profile.server_id, profile.file.as_deref(), host, takes) {
            WayOut::None | WayOut::Closed if now < drain.ends_at => Ok(()),
            WayOut::Closed if !drain.forced => Ok(()),
            WayOut::None | WayOut::Closed | WayOut::Open(_) => Err(self.leaving(profile, host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{Change, UserAccess};
    use crate::profile::{Fingerprint, ProfileState, WrittenFor};
    use crate::samples::{host, id};
    use crate::server::{Attachment, Server};
    use crate::{Revision, samples};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn server() -> Server {
        samples::server(2)
    }

    /// A drain of one minute that began now.
    fn drain(forced: bool) -> Drain {
        Drain { started_at: NOW, ends_at: NOW + jiff::SignedDuration::from_mins(1), forced }
    }

    /// Hosts 6 and 7 with a server. Profile 1 names the first of them, 2 both; what 3 names is not known.
    fn world(leaving: Drain) -> Snapshot {
        let hosts = [Host { drain: Some(leaving), ..host(6) }, host(7)];
        let profile = |n: u8, file: Option<WrittenFor>| {
            Change::Profile(ProfileAccess {
                id: id(n.into()),
                user_id: id(3),
                server_id: id(2),
                address: [10, 9, 0, n].into(),
                state: ProfileState::Active,
                expires_at: NOW + jiff::SignedDuration::from_hours(1),
                fingerprint: Fingerprint([n; 32]),
                file: file.map(Arc::new),
            })
        };
        let changes = [
            Change::User(UserAccess { id: id(3), organization_id: id(1), groups: Box::new([]), disabled: false }),
            Change::Server(Box::new(server())),
            profile(1, Some(WrittenFor::now(&server(), &[host(6)]))),
            profile(2, Some(WrittenFor::now(&server(), &[host(6), host(7)]))),
            profile(3, None),
        ];
        let attached = hosts.into_iter().flat_map(|host| {
            let attachment = Attachment { server_id: id(2), host_id: host.id, credentials: None };
            [Change::Host(Box::new(host)), Change::Attachment(Box::new(attachment))]
        });
        Snapshot::default().with(Revision(1), changes.into_iter().chain(attached))
    }

    fn way_out(snapshot: &Snapshot, profile: u128, takes: bool) -> WayOut {
        let file = snapshot.profile(id(profile)).unwrap().file.as_deref();
        snapshot.way_out(id(2), file, id(6), |_| takes)
    }

    /// The answer of the draining host to a newcomer with a profile, so many seconds after the order.
    fn asked(snapshot: &Snapshot, profile: u8, after: i64, takes: bool) -> Result<(), Denial> {
        let at = NOW + jiff::SignedDuration::from_secs(after);
        snapshot.admit(id(6), id(2), Fingerprint([profile; 32]), at, |_| takes).map(drop)
    }

    #[test]
    fn whoever_can_go_elsewhere_is_sent_there_and_nobody_else() {
        let world = world(drain(false));
        let ways = [1, 2, 3].map(|profile| way_out(&world, profile, true));
        assert_eq!(ways, [WayOut::None, WayOut::Open(1), WayOut::Open(1)]);
        let others = |n: u8| world.others_for(id(6), id(2), Some(Fingerprint([n; 32])));
        assert_eq!([others(1), others(2), others(9), world.others_for(id(6), id(2), None)], [0, 1, 1, 1]);
        assert_eq!([2, 3, 9].map(|n| asked(&world, n, 0, true)), [Err(Denial::HostLeaving); 3]);
        assert_eq!(asked(&world, 1, 59, true), Ok(()));
        assert_eq!(asked(&world, 1, 60, true), Err(Denial::NoOtherHost));
        assert!(world.renew(id(6), id(2), Fingerprint([1; 32]), NOW).is_ok(), "who is connected stays so");
    }

    #[test]
    fn a_host_that_keeps_its_sessions_keeps_newcomers_unless_by_force() {
        let held = world(drain(false));
        assert_eq!(way_out(&held, 2, false), WayOut::Closed);
        assert_eq!(asked(&held, 2, 90, false), Ok(()));
        let forced = world(drain(true));
        assert_eq!([59, 60].map(|after| asked(&forced, 2, after, false)), [Ok(()), Err(Denial::HostLeaving)]);
    }

    #[test]
    fn the_last_host_keeps_everybody_and_by_force_until_the_end_of_the_budget() {
        let last = |forced| world(drain(forced)).with(Revision(2), [Change::AttachmentGone(id(2), id(7))]);
        let asked = |forced, after| [1, 2, 3].map(|n| asked(&last(forced), n, after, false));
        assert_eq!(asked(false, 600), [Ok(()); 3]);
        assert_eq!(asked(true, 59), [Ok(()); 3]);
        assert_eq!(asked(true, 60), [Err(Denial::HostLeaving); 3]);
        assert_eq!(last(true).others(id(6), id(2)).count(), 0);
    }

    #[test]
    fn a_host_that_moved_to_another_address_is_not_reached() {
        let moved = Host { public_addresses: vec!["203.0.113.99".parse().unwrap()], ..host(7) };
        let world = world(drain(false)).with(Revision(2), [Change::Host(Box::new(moved))]);
        assert_eq!(way_out(&world, 2, true), WayOut::None);
    }

    #[test]
    fn a_detached_host_tells_whom_it_leaves_behind() {
        let detached = world(drain(false)).with(Revision(2), [Change::AttachmentGone(id(2), id(6))]);
        assert_eq!(asked(&detached, 1, 0, true), Err(Denial::NoOtherHost));
        assert_eq!(asked(&detached, 2, 0, true), Err(Denial::HostLeaving));
    }

    #[test]
    fn profiles_of_one_moment_share_their_file() {
        let world = world(drain(false));
        let file = |snapshot: &Snapshot, n: u128| snapshot.profile(id(n)).unwrap().file.clone().unwrap();
        let again = ProfileAccess {
            id: id(5),
            fingerprint: Fingerprint([5; 32]),
            file: Some(Arc::new(WrittenFor::clone(&file(&world, 1)))),
            ..ProfileAccess::clone(world.profile(id(1)).unwrap())
        };
        let world = world.with(Revision(2), [Change::Profile(again)]);
        assert!(Arc::ptr_eq(&file(&world, 1), &file(&world, 5)));
        assert_eq!(world.files().len(), 2);
    }
}
