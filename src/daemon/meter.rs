//! What this host carries over time: sessions and bytes in spans of five minutes, written down while they last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Here, within};
use domain::ids::{HostId, SessionId};
use domain::usage::{UsageSample, slot_of};
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};

const TASK: Task =
    Task::new("usage-samples", "Writes down how many sessions this host carries and how many bytes.", PERIOD).quiet();
const PERIOD: Duration = Duration::from_secs(30);
/// The limit of one write.
const LIMIT: Duration = Duration::from_secs(5);

/// Starts the task.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler) {
    tasks.start(TASK, Measuring { here: Arc::clone(here), meter: Meter::default() });
}

struct Measuring {
    here: Arc<Here>,
    meter: Meter,
}

impl Work for Measuring {
    /// A sample that cannot be written is a gap: it is worth no queue.
    async fn run(&mut self) -> Outcome {
        let here = &self.here;
        let carried = here.registry.sessions().into_iter().map(|(id, carried)| (id, (carried.received, carried.sent)));
        let sample = self.meter.look(here.host, here.services.now(), carried.collect());
        within(LIMIT, here.services.access().record_usage(&sample)).await?;
        Ok(Done::default())
    }
}

/// The readings so far in a span of time.
#[derive(Debug, Default)]
struct Meter {
    known: HashMap<SessionId, (u64, u64)>,
    span: Option<UsageSample>,
}

impl Meter {
    /// Takes a look at the counters of all live sessions; what they grew by belongs to the span that `now` is in.
    fn look(&mut self, host_id: HostId, now: Timestamp, carried: HashMap<SessionId, (u64, u64)>) -> UsageSample {
        let at = slot_of(now);
        let fresh = UsageSample { host_id, at, sessions: 0, bytes_received: 0, bytes_sent: 0 };
        let mut span = self.span.filter(|span| span.at == at).unwrap_or(fresh);
        span.sessions = span.sessions.max(carried.len() as u64);
        for (id, (received, sent)) in &carried {
            // What a session had before this process looked for the first time belongs to no span of ours.
            let (before, then) = self.known.get(id).copied().unwrap_or((*received, *sent));
            span.bytes_received += received.saturating_sub(before);
            span.bytes_sent += sent.saturating_sub(then);
        }
        self.known = carried;
        self.span = Some(span);
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::id;

    #[test]
    fn growth_belongs_to_the_span_that_it_is_seen_in() {
        let mut meter = Meter::default();
        let at = |seconds: i64| Timestamp::from_second(1_795_442_400 + seconds).unwrap();
        let counters = |list: &[(u128, u64)]| list.iter().map(|(n, bytes)| (id(*n), (*bytes, 2 * bytes))).collect();
        let mut look = |seconds, list: &[(u128, u64)]| {
            let UsageSample { sessions, bytes_received, bytes_sent, .. } =
                meter.look(id(1), at(seconds), counters(list));
            (sessions, bytes_received, bytes_sent)
        };
        assert_eq!(look(0, &[(1, 500)]), (1, 0, 0));
        assert_eq!(look(30, &[(1, 600), (2, 10)]), (2, 100, 200));
        assert_eq!(look(60, &[(2, 15)]), (2, 105, 210));
        assert_eq!(look(300, &[(2, 18)]), (1, 3, 6));
        // An adopted session whose counters begin anew is no negative traffic.
        assert_eq!(look(330, &[(2, 1)]), (1, 3, 6));
    }
}
