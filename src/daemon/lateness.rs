//! What comes late: questions that waited while this process stood still, and how long ago a client dialled.
//!
//! A client that gets no answer goes to another host. An answer that it gets after all would admit a client that is not
//! there any more, and make the connection that it has elsewhere look like the older one.

use std::time::Duration;

use jiff::Timestamp;

/// A question that may have waited longer than this is not answered any more.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a standstill, what came meanwhile may still lie in sockets of ours and of the daemon for so long.
const AFTERMATH: Duration = Duration::from_secs(2);
/// How long a client may take from its first packet until it is up (OpenVPN's `hand-window`).
const HANDSHAKE: Duration = Duration::from_mins(1);

/// How often the loop has to turn when nothing happens, so that a standstill shows.
pub(super) const TURN: Duration = Duration::from_millis(500);

/// Since when a loop has kept up with what comes. All times are uptimes of the machine.
#[derive(Debug)]
pub(super) struct Turns {
    /// When nothing waited the last time.
    caught_up: Duration,
    /// Until then questions may be from before a standstill.
    doubtful_until: Duration,
}

impl Turns {
    /// Of a loop that begins.
    pub(super) fn new(now: Duration) -> Self {
        Self { caught_up: now, doubtful_until: Duration::ZERO }
    }

    /// The loop turns; `idle` if nothing waits for it.
    pub(super) fn turn(&mut self, now: Duration, idle: bool) {
        if now.saturating_sub(self.caught_up) > PATIENCE {
            self.doubtful_until = now + AFTERMATH;
        }
        if idle {
            self.caught_up = now;
        }
    }

    /// Whether a question that is taken up now may have waited too long.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        now < self.doubtful_until || now.saturating_sub(self.caught_up) > PATIENCE
    }
}

/// Whether a question that was put aside at `since` has waited too long.
pub(super) fn has_waited(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) > PATIENCE
}

/// How long ago, at most, a client that is up now sent its first packet; `dialled` is in seconds, by the clock of this
/// machine like `now`. If that clock was set meanwhile, the longest that OpenVPN allows.
pub(super) fn dialled_ago(dialled: Option<i64>, now: Timestamp) -> Duration {
    let dialled = dialled.and_then(|second| Timestamp::from_second(second).ok());
    let ago = dialled.and_then(|dialled| Duration::try_from(now.duration_since(dialled)).ok());
    ago.filter(|ago| *ago <= HANDSHAKE).unwrap_or(HANDSHAKE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(100_000 + millis)
    }

    #[test]
    fn a_loop_that_keeps_up_answers() {
        let mut turns = Turns::new(at(0));
        for turn in 1..100 {
            turns.turn(at(turn * 500), true);
            assert!(!turns.is_late(at(turn * 500)));
        }
    }

    #[test]
    fn what_waited_through_a_standstill_is_late_and_what_comes_after_it_is_not() {
        let mut turns = Turns::new(at(0));
        assert!(turns.is_late(at(2_001)), "before the loop turns again");
        turns.turn(at(2_001), true);
        assert!(turns.is_late(at(2_001)) && turns.is_late(at(4_000)));
        turns.turn(at(4_001), true);
        assert!(!turns.is_late(at(4_001)));
    }

    #[test]
    fn a_queue_that_is_never_empty_makes_late() {
        let mut turns = Turns::new(at(0));
        for turn in 1..=20 {
            turns.turn(at(turn * 100), false);
            assert!(!turns.is_late(at(turn * 100)));
        }
        turns.turn(at(2_100), false);
        assert!(turns.is_late(at(2_100)));
    }

    #[test]
    fn a_clock_that_was_set_says_nothing_about_a_dial() {
        let now = Timestamp::from_second(1_000).unwrap();
        for (dialled, expected) in [(Some(998), 2), (Some(940), 60), (Some(400), 60), (Some(1_600), 60), (None, 60)] {
            assert_eq!(dialled_ago(dialled, now), Duration::from_secs(expected), "{dialled:?}");
        }
    }
}
