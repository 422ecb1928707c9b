//! Whether the dialogues with the daemons still turn: each goes around every two seconds, whatever happens. One that does
//! not answers nobody and ends nobody, and cannot say so itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Here;
use domain::ids::ServerId;
use domain::problem::ProblemCode;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};

const TASK: Task = Task::new("dialogue-watch", "Checks that the dialogues with the daemons go on.", PERIOD);
/// Between two runs.
const PERIOD: Duration = Duration::from_secs(2);
/// A dialogue that makes no turn in so many runs in a row hangs. Runs are counted, rather than time: while this process
/// was stopped, no dialogue could make a turn.
const STILL: u8 = 5;

/// How many turns each dialogue has made, and for how many runs it has made none.
#[derive(Debug, Default)]
struct TurnCounts(BTreeMap<ServerId, (u64, u8)>);

impl TurnCounts {
    /// Takes in the present counts; gives the servers whose dialogues hang.
    fn observe(&mut self, turns: &BTreeMap<ServerId, u64>) -> BTreeSet<ServerId> {
        let before = std::mem::take(&mut self.0);
        for (server, turns) in turns {
            let still =
                before.get(server).filter(|(then, _)| then == turns).map_or(0, |(_, still)| still.saturating_add(1));
            self.0.insert(*server, (*turns, still));
        }
        self.0.iter().filter(|(_, (_, still))| *still >= STILL).map(|(server, _)| *server).collect()
    }
}

/// Starts the task.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler) {
    tasks.start(TASK, Watch { here: Arc::clone(here), counts: TurnCounts::default(), reported: BTreeSet::new() });
}

struct Watch {
    here: Arc<Here>,
    counts: TurnCounts,
    /// Those that the log has.
    reported: BTreeSet<ServerId>,
}

impl Work for Watch {
    async fn run(&mut self) -> Outcome {
        let here = &self.here;
        let stuck = self.counts.observe(&here.registry.turns());
        let now = here.services.now();
        for server in stuck.difference(&self.reported) {
            tracing::error!(event = "daemon.dialogue_stuck", server.id = %server,
                "Postern's dialogue with a daemon hangs");
            let detail = "Postern does not go on talking with this daemon: restart the service; its tunnels stay up";
            here.services.problems().set(ProblemCode::DaemonHung, Some(*server), Some(detail.to_owned()), now);
        }
        for server in self.reported.difference(&stuck) {
            here.services.problems().set(ProblemCode::DaemonHung, Some(*server), None, now);
        }
        here.registry.set_stuck(stuck.clone());
        self.reported = stuck;
        Ok(Done::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_dialogue_is_stuck_once_it_was_still_for_five_looks() {
        let (server, mut counts) = (samples::server().id, TurnCounts::default());
        let turns = |n| BTreeMap::from([(server, n)]);
        assert!((0..5).all(|_| counts.observe(&turns(7)).is_empty()));
        assert_eq!(counts.observe(&turns(7)), BTreeSet::from([server]));
        assert!(counts.observe(&turns(8)).is_empty(), "it goes on");
        assert!(counts.observe(&BTreeMap::new()).is_empty(), "it is over");
    }
}
