//! Which clients of a daemon are asked to connect anew, and when: to fetch what changed, or because this host leaves
//! service.
//!
//! Nothing here is remembered across a look at the policy but the pace, so whoever takes the daemon over goes on where
//! this left off: who is still there has not been moved.
//!
//! When the host leaves service, the clients go first that another host of their file takes over. Those whose file names no
//! other host are kept until the end of the budget, and go only when nobody is left who can be moved.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::roster::{Client, Roster};
use domain::access::Snapshot;
use domain::drain::Drain;
use domain::ids::{HostId, ProfileId, ServerId};
use domain::reach::WayOut;
use openvpn::management::Cid;

/// Between two clients that are moved while the daemon runs on.
const STEP: Duration = Duration::from_millis(200);

/// Why a client is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// To fetch what changed.
    Refresh,
    /// To another host, because this one is leaving service.
    Away,
    /// For the same reason, with nowhere to go: no other host takes it over.
    Out,
}

/// Where the clients of a daemon can go on, by the policy and by what is known of the other hosts.
pub(super) struct WaysOut<'a> {
    snapshot: &'a Snapshot,
    server: ServerId,
    host: HostId,
    takers: Option<&'a BTreeSet<HostId>>,
    /// Clients with the same file have the same way. Files are shared, so where one is in memory tells which it is.
    known: HashMap<Option<usize>, WayOut>,
}

impl<'a> WaysOut<'a> {
    /// For the clients of one daemon of `host`; without `takers`, every other host counts as one that takes clients over.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        server: ServerId,
        host: HostId,
        takers: Option<&'a BTreeSet<HostId>>,
    ) -> Self {
        Self { snapshot, server, host, takers, known: HashMap::new() }
    }

    /// Where a client can go on.
    pub(super) fn of(&mut self, client: &Client) -> WayOut {
        self.of_profile(client.session.profile_id)
    }

    /// Where a client with this profile can go on.
    pub(super) fn of_profile(&mut self, profile: ProfileId) -> WayOut {
        let file = self.snapshot.profile(profile).and_then(|profile| profile.file.as_ref());
        let Self { snapshot, server, host, takers, .. } = *self;
        *self.known.entry(file.map(|file| Arc::as_ptr(file).addr())).or_insert_with(|| {
            let takes = |other| takers.is_none_or(|takers| takers.contains(&other));
            snapshot.way_out(server, file.map(AsRef::as_ref), host, takes)
        })
    }
}

/// The moves that are to come.
#[derive(Debug)]
pub(super) struct Moves {
    refresh: VecDeque<Cid>,
    drain: Option<Drain>,
    next: Instant,
}

impl Moves {
    /// None for now.
    pub(super) fn new(now: Instant) -> Self {
        Self { refresh: VecDeque::new(), drain: None, next: now }
    }

    /// What the policy wants: that the host leaves service, or that the clients which are `outdated` come again.
    pub(super) fn plan(&mut self, drain: Option<Drain>, outdated: impl Iterator<Item = Cid>, now: Instant) {
        // A new order or budget counts at once; the same one does not go faster because somebody changed the policy.
        if drain.is_some() && self.drain != drain {
            self.next = now;
        }
        self.drain = drain;
        self.refresh.clear();
        // On their next host they get what is new.
        if drain.is_none() {
            self.refresh.extend(outdated);
        }
    }

    /// When the next move is due, if there is any.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.drain.is_some() || !self.refresh.is_empty()).then_some(self.next)
    }

    /// How long until the clients whose turn it is are looked for again, at least.
    pub(super) fn pause(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// The clients whose turn it is at `now`, and why they go. `way_out` tells where each can go on.
    pub(super) fn take(
        &mut self,
        roster: &Roster,
        way_out: &mut impl FnMut(&Client) -> WayOut,
        now: Instant,
        at: Timestamp,
    ) -> Vec<(Cid, Move)> {
        if self.next > now {
            return Vec::new();
        }
        let Some(drain) = &self.drain else {
            self.next = now + STEP;
            return self.refresh.pop_front().map(|cid| (cid, Move::Refresh)).into_iter().collect();
        };
        let (mut movable, mut others, mut stranded) = (Vec::new(), 0, Vec::new());
        for (cid, client) in roster.iter().filter(|(_, client)| client.stays()) {
            match way_out(client) {
                WayOut::Open(hosts) => {
                    others = others.max(hosts);
                    movable.push((cid, Move::Away));
                }
                WayOut::None => stranded.push((cid, Move::Out)),
                WayOut::Closed if drain.forced => stranded.push((cid, Move::Out)),
                // It stays for as long as nobody takes it over.
                WayOut::Closed => {}
            }
        }
        let (mut turn, others) =
            if movable.is_empty() && at >= drain.ends_at { (stranded, 1) } else { (movable, others) };
        let wave = drain.wave(turn.len(), others, at);
        self.next = now + wave.pause.unsigned_abs();
        turn.truncate(wave.size);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use domain::session::EndReason;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn roster(clients: u64) -> Roster {
        let mut roster = Roster::default();
        for n in 0..clients {
            let mut session = samples::session(u128::from(n));
            session.profile_id = samples::id(1000 + u128::from(n));
            roster.admitted(Cid(n), Client::admitted(session, String::new(), String::new()));
        }
        roster
    }

    fn drain(budget: i64) -> Drain {
        Drain { started_at: AT, ends_at: AT + jiff::SignedDuration::from_secs(budget), forced: false }
    }

    /// Takes what is due, as the conversation does.
    fn step(moves: &mut Moves, roster: &mut Roster, others: usize, now: Instant) -> usize {
        let way_out = if others == 0 { WayOut::Closed } else { WayOut::Open(others) };
        let taken = moves.take(roster, &mut |_| way_out, now, AT);
        for (cid, _) in &taken {
            roster.leaving(*cid, EndReason::Moved);
        }
        taken.len()
    }

    #[test]
    fn a_drain_asks_everybody_once_and_no_faster_for_other_news() {
        let (now, mut roster) = (Instant::now(), roster(10));
        let mut moves = Moves::new(now);
        moves.plan(Some(drain(0)), [Cid(3)].into_iter(), now);
        assert_eq!(step(&mut moves, &mut roster, 1, now), 10);
        moves.plan(Some(drain(0)), std::iter::empty(), now);
        assert!(moves.due().unwrap() > now);
        assert_eq!(step(&mut moves, &mut roster, 1, now + Duration::from_secs(5)), 0);
    }

    #[test]
    fn a_shorter_budget_counts_at_once_and_a_recall_stops_everything() {
        let (now, mut roster) = (Instant::now(), roster(10));
        let mut moves = Moves::new(now);
        moves.plan(Some(drain(3600)), std::iter::empty(), now);
        assert_eq!(step(&mut moves, &mut roster, 1, now), 1);
        assert_eq!(step(&mut moves, &mut roster, 1, now), 0);
        // Nine in the three seconds before the last call.
        moves.plan(Some(drain(6)), std::iter::empty(), now);
        assert_eq!(step(&mut moves, &mut roster, 1, now), 3);
        moves.plan(None, std::iter::empty(), now);
        assert_eq!(moves.due(), None);
    }

    #[test]
    fn nobody_moves_while_nobody_takes_over() {
        let (now, mut roster) = (Instant::now(), roster(3));
        let mut moves = Moves::new(now);
        moves.plan(Some(drain(0)), std::iter::empty(), now);
        assert_eq!(step(&mut moves, &mut roster, 0, now), 0);
        let due = moves.due().unwrap();
        assert_eq!(step(&mut moves, &mut roster, 1, due), 3);
    }

    #[test]
    fn what_changed_is_fetched_one_by_one() {
        let (now, roster) = (Instant::now(), roster(3));
        let mut moves = Moves::new(now);
        moves.plan(None, [Cid(1), Cid(2)].into_iter(), now);
        let mut take = |now| moves.take(&roster, &mut |_| WayOut::Open(1), now, AT);
        assert_eq!(take(now), [(Cid(1), Move::Refresh)]);
        assert_eq!(take(now), []);
        assert_eq!(take(now + STEP), [(Cid(2), Move::Refresh)]);
        assert_eq!(moves.due(), None);
    }

    #[test]
    fn whoever_has_nowhere_to_go_stays_until_the_end_of_the_budget() {
        let (start, mut roster) = (Instant::now(), roster(4));
        // The odd ones can be moved.
        let mut way_out = |client: &Client| {
            let is_even = [samples::id(100), samples::id(102)].contains(&client.session.id);
            if is_even { WayOut::None } else { WayOut::Open(1) }
        };
        let mut moves = Moves::new(start);
        moves.plan(Some(drain(60)), std::iter::empty(), start);
        let mut asked = Vec::new();
        for second in 0..63 {
            let (now, at) =
                (start + Duration::from_secs(second), AT + jiff::SignedDuration::from_secs(second.cast_signed()));
            for (cid, why) in moves.take(&roster, &mut way_out, now, at) {
                roster.leaving(cid, EndReason::Moved);
                asked.push((cid.0, why, second >= 60));
            }
        }
        asked.sort_by_key(|(cid, ..)| *cid);
        let expected = [(0, Move::Out, true), (1, Move::Away, false), (2, Move::Out, true), (3, Move::Away, false)];
        assert_eq!(asked, expected);
    }

    #[test]
    fn by_force_those_whom_nobody_takes_over_go_at_the_end_and_not_before() {
        let (now, roster) = (Instant::now(), roster(2));
        let mut moves = Moves::new(now);
        moves.plan(Some(Drain { forced: true, ..drain(60) }), std::iter::empty(), now);
        let end = AT + jiff::SignedDuration::from_secs(60);
        assert_eq!(moves.take(&roster, &mut |_| WayOut::Closed, now, AT), []);
        let next = moves.due().unwrap();
        assert_eq!(moves.take(&roster, &mut |_| WayOut::Closed, next, end), [(Cid(0), Move::Out), (Cid(1), Move::Out)]);
    }

    #[test]
    fn clients_with_the_same_file_have_the_same_way_out() {
        let snapshot = samples::snapshot();
        let mut ways = WaysOut::new(&snapshot, samples::server().id, samples::host(), None);
        let client = Client::admitted(samples::session(1), String::new(), String::new());
        assert_eq!((ways.of(&client), ways.of(&client), ways.known.len()), (WayOut::Closed, WayOut::Closed, 1));
    }
}
