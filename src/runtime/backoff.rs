//! Growing pauses between attempts.
//!
//! The pause doubles up to a limit, and a random half of it is left out, so that many processes which lost the same
//! thing at the same time do not come back for it at the same time. Randomness is passed in.

use std::time::Duration;

/// The pauses of one series of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `shortest`, doubling up to `longest`.
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest }
    }

    /// The pause before the next attempt: between half and all of the present step. `random` is any number, evenly
    /// distributed over its type.
    pub fn pause(&mut self, random: u32) -> Duration {
        let step = self.next.min(self.longest);
        self.next = step.saturating_mul(2).min(self.longest);
        step / 2 + (step / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// An attempt succeeded: the next series starts with the shortest pause.
    pub fn reset(&mut self) {
        self.next = self.shortest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over_after_success() {
        let mut backoff = Backoff::new(100 * MS, 500 * MS);
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause(u32::MAX)).collect();
        assert_eq!(pauses, [100 * MS, 200 * MS, 400 * MS, 500 * MS]);
        backoff.reset();
        assert_eq!(backoff.pause(u32::MAX), 100 * MS);
    }

    #[test]
    fn chance_shortens_a_pause_by_at_most_half() {
        assert_eq!(Backoff::new(100 * MS, 100 * MS).pause(0), 50 * MS);
        let middle = Backoff::new(100 * MS, 100 * MS).pause(u32::MAX / 2);
        assert!(middle > 74 * MS && middle < 76 * MS, "{middle:?}");
    }
}
