//! When a task runs next. The time and the randomness are passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::{Done, Task};
use crate::backoff::Backoff;

/// The schedule of one task.
#[derive(Debug)]
pub(super) struct Schedule {
    task: Task,
    retry: Option<Backoff>,
    due: Instant,
    began: Instant,
    ended: Option<Instant>,
    /// The last run failed, and the pause after it is not to be shortened.
    waits_out: bool,
}

impl Schedule {
    /// Of a task that starts at `now`: its first run is due.
    pub(super) fn new(task: Task, now: Instant) -> Self {
        let retry = task.retry.map(|(first, longest)| Backoff::new(first, longest));
        Self { task, retry, due: now, began: now, ended: None, waits_out: false }
    }

    /// When the next run is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// When the last run began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Somebody nudged at `now`.
    pub(super) fn nudge(&mut self, now: Instant) {
        if self.waits_out {
            return;
        }
        let soonest = self.ended.map_or(now, |ended| ended + self.task.distance);
        self.due = self.due.min(soonest.max(now + self.task.gather));
    }

    /// A run begins at `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// The run ended at `now`, by what it `done` or else in failure. `random` is any number, evenly distributed over its
    /// type.
    pub(super) fn end(&mut self, now: Instant, done: Option<&Done>, random: u32) {
        self.ended = Some(now);
        let by_period = (self.began + pause(self.task.period, self.task.jitter, random)).max(now);
        self.waits_out = done.is_none() && self.retry.is_some();
        self.due = match (done, &mut self.retry) {
            (Some(done), retry) => {
                if let Some(retry) = retry {
                    retry.reset();
                }
                done.again.map_or(by_period, |again| by_period.min(now + again))
            }
            (None, Some(retry)) => now + retry.pause(random),
            (None, None) => by_period,
        };
    }
}

/// The period without a random part of the share that may be left out.
fn pause(period: Duration, jitter: f64, random: u32) -> Duration {
    period.mul_f64(1.0 - jitter * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TASK: Task = Task::new("a", "Does it.", Duration::from_secs(10)).jitter(0.2);

    /// A schedule whose first run took a second, and the moment at which that ended.
    fn after_a_run(task: Task, done: Option<&Done>, random: u32) -> (Schedule, Instant) {
        let start = Instant::now();
        let mut schedule = Schedule::new(task, start);
        assert_eq!(schedule.due(), start, "the first run is due at once");
        schedule.begin(start);
        schedule.end(start + SECOND, done, random);
        (schedule, start + SECOND)
    }

    #[test]
    fn a_period_counts_from_the_beginning_of_a_run_and_jitter_only_shortens_it() {
        for (random, seconds) in [(0, 9), (u32::MAX / 2, 8), (u32::MAX, 7)] {
            let (schedule, ended) = after_a_run(TASK, Some(&Done::default()), random);
            let pause = schedule.due() - ended;
            assert!(pause.abs_diff(seconds * SECOND) < Duration::from_millis(1), "{random}: {pause:?}");
        }
    }

    #[test]
    fn a_run_that_outlasts_the_period_is_followed_by_the_next() {
        let (schedule, ended) = after_a_run(Task::new("a", "", SECOND / 2), Some(&Done::default()), 0);
        assert_eq!(schedule.due(), ended);
    }

    #[test]
    fn what_comes_again_sooner_does_and_later_does_not() {
        let (schedule, ended) = after_a_run(TASK, Some(&Done::default().again_in(3 * SECOND)), 0);
        assert_eq!(schedule.due(), ended + 3 * SECOND);
        let (schedule, ended) = after_a_run(TASK, Some(&Done::default().again_in(30 * SECOND)), 0);
        assert_eq!(schedule.due(), ended + 9 * SECOND);
    }

    #[test]
    fn nudges_are_gathered_from_the_first_and_bring_the_run_forward_once() {
        let (mut schedule, ended) = after_a_run(TASK.gather(2 * SECOND), Some(&Done::default()), 0);
        schedule.nudge(ended);
        schedule.nudge(ended + SECOND);
        assert_eq!(schedule.due(), ended + 2 * SECOND);
        let (mut late, ended) = after_a_run(TASK.gather(2 * SECOND), Some(&Done::default()), 0);
        late.nudge(ended + 8 * SECOND);
        assert_eq!(late.due(), ended + 9 * SECOND, "a nudge puts nothing off");
    }

    #[test]
    fn runs_keep_their_distance_whatever_nudges() {
        let (mut schedule, ended) = after_a_run(TASK.distance(5 * SECOND), Some(&Done::default()), 0);
        schedule.nudge(ended + SECOND);
        assert_eq!(schedule.due(), ended + 5 * SECOND);
        let (mut later, ended) = after_a_run(TASK.distance(5 * SECOND), Some(&Done::default()), 0);
        later.nudge(ended + 6 * SECOND);
        assert_eq!(later.due(), ended + 6 * SECOND);
    }

    #[test]
    fn a_failure_is_waited_out_by_growing_pauses_until_a_run_ends_well() {
        let (mut schedule, ended) = after_a_run(TASK.retry(SECOND, 3 * SECOND), None, u32::MAX);
        schedule.nudge(ended);
        assert_eq!(schedule.due(), ended + SECOND, "a nudge does not shorten the pause");
        for pause in [2 * SECOND, 3 * SECOND, 3 * SECOND] {
            let now = schedule.due();
            schedule.begin(now);
            schedule.end(now, None, u32::MAX);
            assert_eq!(schedule.due(), now + pause);
        }
        let now = schedule.due();
        schedule.begin(now);
        schedule.end(now, Some(&Done::default()), 0);
        assert_eq!(schedule.due(), now + TASK.period);
        schedule.nudge(now);
        assert_eq!(schedule.due(), now);
        schedule.begin(now);
        schedule.end(now, None, u32::MAX);
        assert_eq!(schedule.due(), now + SECOND, "the pauses begin anew");
    }

    #[test]
    fn a_failure_without_pauses_of_its_own_waits_for_the_period_or_a_nudge() {
        let (mut schedule, ended) = after_a_run(TASK, None, 0);
        assert_eq!(schedule.due(), ended + 9 * SECOND);
        schedule.nudge(ended + SECOND);
        assert_eq!(schedule.due(), ended + SECOND);
    }
}
