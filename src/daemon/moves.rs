//! Which clients of a daemon are asked to connect anew, and when: to fetch what changed, or because this host leaves
//! service.
//!
//! Nothing here is remembered across a look at the policy but the pace, so whoever takes the daemon over goes on where
//! this left off: who is still there has not been moved.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use super::roster::Roster;
use crate::{domain::drain::Drain, openvpn::management::Cid};

/// Between two clients that are moved while the daemon runs on.
const STEP: Duration = Duration::from_millis(200);

/// Why a client is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// To fetch what changed.
    Refresh,
    /// Because this host is leaving service.
    Away,
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

    /// The clients whose turn it is at `now`, and why they go. `others` hosts can take clients over.
    pub(super) fn take(&mut self, roster: &Roster, others: usize, now: Instant, at: Timestamp) -> (Move, Vec<Cid>) {
        if self.next > now {
            return (Move::Refresh, Vec::new());
        }
        let Some(drain) = &self.drain else {
            self.next = now + STEP;
            return (Move::Refresh, self.refresh.pop_front().into_iter().collect());
        };
        let unasked = || roster.iter().filter(|(_, client)| client.stays()).map(|(cid, _)| cid);
        let wave = drain.wave(unasked().count(), others, at);
        self.next = now + wave.pause.unsigned_abs();
        (Move::Away, unasked().take(wave.size).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{roster::Client, samples};
    use crate::domain::session::EndReason;

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
        let (_, cids) = moves.take(roster, others, now, AT);
        for cid in &cids {
            roster.leaving(*cid, EndReason::Moved);
        }
        cids.len()
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
        assert_eq!(moves.take(&roster, 1, now, AT), (Move::Refresh, vec![Cid(1)]));
        assert_eq!(moves.take(&roster, 1, now, AT), (Move::Refresh, vec![]));
        assert_eq!(moves.take(&roster, 1, now + STEP, AT), (Move::Refresh, vec![Cid(2)]));
        assert_eq!(moves.due(), None);
    }
}
