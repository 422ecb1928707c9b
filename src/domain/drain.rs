//! Taking a host out of service: the order to do so, and how fast its sessions are sent to other hosts.
//!
//! A drain is policy. Each daemon of the host carries it out on its own, from the order and what it sees at that moment;
//! nothing else is remembered, so a daemon that is picked up again half-way goes on as if nothing had been. The
//! sessions are spread evenly over the budget, and never move faster than the hosts that take them over can follow: a
//! budget that is too small is passed, and nobody is dropped for its sake. Only whoever could not connect by another host
//! anyway, because the profile names none, is ended when the budget is over.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Between the starts of two waves, at the least.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// The most sessions in one wave, for each host that takes some over. One core of a host admits several hundred clients
/// in a second when it does nothing else; these come beside what it carries already.
const PER_HOST: usize = 40;

/// So long before its end, everybody has been asked, or after half of a shorter budget: a daemon forgets a client that it
/// sent away five seconds later.
const GRACE: SignedDuration = SignedDuration::from_secs(6);

/// The order to take a host out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Since when newcomers are turned away.
    pub started_at: Timestamp,
    /// By when all sessions are to be elsewhere.
    pub ends_at: Timestamp,
    /// Whether sessions end even where no other host can take them over.
    pub forced: bool,
}

/// Seconds that a drain may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, maximum = 86400, example = 60)]
pub struct DrainBudget(u32);

impl DrainBudget {
    /// As a span of time.
    pub fn span(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.0))
    }
}

impl TryFrom<u32> for DrainBudget {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        (seconds <= 86_400).then_some(Self(seconds)).ok_or("must be between 0 and 86400 seconds")
    }
}

impl From<DrainBudget> for u32 {
    fn from(budget: DrainBudget) -> Self {
        budget.0
    }
}

/// How far a host has come with leaving service, as it tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainProgress {
    /// The `started_at` of the order that this is about.
    pub order: Timestamp,
    /// When the host took it up, by the clock that also dates its sessions.
    pub taken_up_at: Timestamp,
    /// How many sessions it still carries.
    pub remaining: u64,
    /// How many attempts to connect it has turned away.
    pub refused: u64,
    /// Whether it waits because no other host can take its sessions over.
    pub held: bool,
    /// Since when it carries none.
    pub drained_at: Option<Timestamp>,
}

/// What became of the people whom a host told to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainOutcome {
    /// How many were seen on another host since.
    pub moved: u64,
    /// How many were not.
    pub cut_off: u64,
}

/// Sessions that are asked to move at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wave {
    /// How many.
    pub size: usize,
    /// How long until the next wave is looked for.
    pub pause: SignedDuration,
}

impl Drain {
    /// The wave that is due at `now`, when `remaining` sessions of a daemon have not been asked yet and `others` hosts
    /// can take them over. Where none can, nobody is asked, unless the order is to do so all the same.
    pub fn wave(&self, remaining: usize, others: usize, now: Timestamp) -> Wave {
        if remaining == 0 || (others == 0 && !self.forced) {
            return Wave { size: 0, pause: STEP };
        }
        // A clock that was put back does not stretch the budget.
        let budget = self.ends_at.duration_since(self.started_at);
        let last_call = self.ends_at - GRACE.min(budget / 2);
        let left = last_call.duration_since(now).min(budget).max(SignedDuration::ZERO);
        let pause = (left / i32::try_from(remaining).unwrap_or(i32::MAX)).max(STEP);
        let waves = usize::try_from(left.as_millis() / pause.as_millis()).unwrap_or(usize::MAX).max(1);
        Wave { size: remaining.div_ceil(waves).min(PER_HOST * others.max(1)), pause }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn seconds(count: i64) -> SignedDuration {
        SignedDuration::from_secs(count)
    }

    fn drain(budget: i64) -> Drain {
        Drain { started_at: START, ends_at: START + seconds(budget), forced: false }
    }

    /// When each wave went, and how many it took, until nobody is left.
    fn waves(drain: Drain, sessions: usize, others: usize, from: Timestamp) -> Vec<(Timestamp, usize)> {
        let (mut remaining, mut now, mut waves) = (sessions, from, Vec::new());
        while remaining > 0 {
            let wave = drain.wave(remaining, others, now);
            assert!((1..=remaining).contains(&wave.size), "{wave:?} of {remaining}");
            waves.push((now, wave.size));
            remaining -= wave.size;
            now += wave.pause;
        }
        waves
    }

    proptest! {
        #[test]
        fn others_are_never_flooded(budget in 0..3600_i64, sessions in 0..5000_usize, others in 1..5_usize) {
            let waves = waves(drain(budget), sessions, others, START);
            prop_assert!(waves.iter().all(|(_, size)| *size <= PER_HOST * others));
            prop_assert!(waves.windows(2).all(|pair| pair[1].0.duration_since(pair[0].0) >= STEP));
        }

        #[test]
        fn a_budget_that_can_be_kept_is_kept(budget in 2..3600_i64, sessions in 1..5000_usize, others in 1..5_usize) {
            let waves = waves(drain(budget), sessions, others, START);
            let enough = usize::try_from(budget - (budget + 1).div_euclid(2).min(6)).unwrap() * PER_HOST * others;
            if sessions <= enough {
                prop_assert!(waves.last().unwrap().0 <= START + seconds(budget) - GRACE.min(seconds(budget) / 2));
            } else {
                // As fast as the others can follow, from the first wave on.
                prop_assert_eq!(waves.len(), sessions.div_ceil(PER_HOST * others));
            }
        }

        #[test]
        fn people_are_spread_over_the_budget(budget in 60..3600_i64, sessions in 2..500_usize) {
            let waves = waves(drain(budget), sessions, 4, START);
            let half = START + seconds(budget) / 2;
            let early: usize = waves.iter().filter(|(at, _)| *at < half).map(|(_, size)| size).sum();
            let fair = sessions / 2 + sessions / 5 + 2;
            prop_assert!(early <= fair, "{early} of {sessions} in the first half: {waves:?}");
        }

        #[test]
        fn a_drain_that_is_taken_up_again_late_goes_on(sessions in 1..5000_usize, late in 0..7200_i64) {
            let waves = waves(drain(600), sessions, 1, START + seconds(late));
            prop_assert!(waves.len() <= sessions.div_ceil(PER_HOST).max(600));
        }
    }

    #[test]
    fn nobody_is_sent_where_nobody_takes_over_unless_by_force() {
        assert_eq!(drain(60).wave(5, 0, START).size, 0);
        assert_eq!(Drain { forced: true, ..drain(60) }.wave(5, 0, START + seconds(60)).size, 5);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_stop_the_drain() {
        let wave = drain(60).wave(60, 1, START - seconds(86_400));
        assert!(wave.pause <= seconds(1), "{wave:?}");
    }

    #[test]
    fn a_budget_has_bounds() {
        assert!(DrainBudget::try_from(86_400).is_ok() && DrainBudget::try_from(0).is_ok());
        assert!(DrainBudget::try_from(86_401).is_err());
    }
}
