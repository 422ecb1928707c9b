//! Time as a value that is passed in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use super::presence::ClockReading;

/// Clocks that are further apart than this are reported.
pub const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// What helps against clocks that are apart.
pub const SET_CLOCKS: &str = "let both set their clocks: timedatectl set-ntp true (then: timedatectl timesync-status)";

/// By how much another clock is ahead of this machine's, in words.
pub fn apart(whose: &str, offset: SignedDuration) -> String {
    let side = if offset.is_negative() { "behind" } else { "ahead of" };
    format!("the {whose}'s clock is {:.1} s {side} this machine's", offset.abs().as_secs_f64())
}

/// Where the present comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant, UTC.
    fn now(&self) -> Timestamp;

    /// The same by the machine's own clock, which may be wrong.
    fn machine(&self) -> Timestamp {
        self.now()
    }

    /// A count that never steps and goes on while the machine sleeps.
    fn uptime(&self) -> Duration;

    /// Takes notice of the database's clock.
    fn learn(&self, _reading: ClockReading) {}

    /// The last look at the database's clock that was taken notice of.
    fn learned(&self) -> Option<ClockReading> {
        None
    }

    /// The last one that was over by this uptime.
    fn learned_by(&self, _uptime: Duration) -> Option<ClockReading> {
        None
    }
}

/// The clock of the operating system: the only place where it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
        Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        // Neither part of it can be negative.
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }
}

/// So many looks at the database's clock are kept: those of a few minutes, longer than a client takes to connect.
const LOOKS: usize = 32;

/// Steps back that are smaller than this are waited out.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// The database's clock, by which all processes of a cluster agree: its last reading, and the time that passed since by
/// the machine's uptime. Until there is a reading it is the machine's own clock.
#[derive(Debug)]
pub struct ClusterClock {
    machine: Arc<dyn Clock>,
    /// The last looks, the newest at the end.
    learned: Mutex<VecDeque<ClockReading>>,
    /// What was answered last, in microseconds.
    last: AtomicI64,
}

impl Default for ClusterClock {
    fn default() -> Self {
        Self::over(Arc::new(SystemClock))
    }
}

impl ClusterClock {
    /// On a machine with this clock.
    pub fn over(machine: Arc<dyn Clock>) -> Self {
        Self { machine, learned: Mutex::default(), last: AtomicI64::new(i64::MIN) }
    }

    fn looks(&self) -> MutexGuard<'_, VecDeque<ClockReading>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ClusterClock {
    fn now(&self) -> Timestamp {
        let Some(reading) = self.learned() else { return self.machine() };
        let passed = SignedDuration::try_from(self.uptime().saturating_sub(reading.middle())).unwrap_or_default();
        let now = reading.at.saturating_add(passed).unwrap_or(Timestamp::MAX).as_microsecond();
        let last = Timestamp::from_microsecond(self.last.fetch_max(now, Ordering::Relaxed));
        let now = Timestamp::from_microsecond(now).unwrap_or(reading.at);
        match last {
            // The readings differ by how long an answer took. What this process records must not go back for that.
            Ok(last) if last > now && last.duration_since(now) < STEP => last,
            Ok(last) if last > now => {
                self.last.store(now.as_microsecond(), Ordering::Relaxed);
                now
            }
            _ => now,
        }
    }

    fn machine(&self) -> Timestamp {
        self.machine.now()
    }

    fn uptime(&self) -> Duration {
        self.machine.uptime()
    }

    fn learn(&self, reading: ClockReading) {
        let mut looks = self.looks();
        // One that was asked for earlier may come in later.
        let place = looks.iter().rposition(|before| before.answered <= reading.answered).map_or(0, |before| before + 1);
        looks.insert(place, reading);
        if looks.len() > LOOKS {
            looks.pop_front();
        }
    }

    fn learned(&self) -> Option<ClockReading> {
        self.looks().back().copied()
    }

    fn learned_by(&self, uptime: Duration) -> Option<ClockReading> {
        self.looks().iter().rev().find(|look| look.answered <= uptime).copied()
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now` (kept in whole milliseconds).
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millisecond()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ahead: SignedDuration) -> ClockReading {
        let uptime = SystemClock.uptime();
        ClockReading { at: SystemClock.now() + ahead, asked: uptime, answered: uptime }
    }

    #[test]
    fn the_database_tells_the_time_once_it_was_asked() {
        let clock = ClusterClock::default();
        assert!(clock.now().duration_since(SystemClock.now()).abs() < SignedDuration::from_mins(1));
        for minutes in [10, -10] {
            clock.learn(reading(SignedDuration::from_mins(minutes)));
            let ahead = clock.now().duration_since(clock.machine());
            assert!((ahead - SignedDuration::from_mins(minutes)).abs() < SignedDuration::from_mins(1), "{ahead}");
        }
    }

    #[test]
    fn a_reading_that_is_a_little_earlier_turns_nothing_back() {
        let clock = ClusterClock::default();
        clock.learn(reading(SignedDuration::from_hours(1)));
        let before = clock.now();
        clock.learn(reading(SignedDuration::from_hours(1) - SignedDuration::from_millis(900)));
        assert!(clock.now() >= before);
    }

    #[test]
    fn what_was_known_at_an_earlier_moment_is_still_known() {
        let clock = ClusterClock::default();
        let uptime = Duration::from_secs;
        let look = |second| ClockReading { at: Timestamp::UNIX_EPOCH, asked: uptime(second), answered: uptime(second) };
        for second in 1..=2 * LOOKS as u64 {
            clock.learn(look(10 * second));
        }
        assert_eq!(clock.learned(), Some(look(20 * LOOKS as u64)));
        assert_eq!(clock.learned_by(uptime(20 * LOOKS as u64 - 5)), Some(look(20 * LOOKS as u64 - 10)));
        assert_eq!(clock.learned_by(uptime(10 * LOOKS as u64)), None, "it is too long ago");
    }

    #[test]
    fn uptimes_go_on() {
        let before = SystemClock.uptime();
        assert!(!before.is_zero() && SystemClock.uptime() >= before);
    }
}
