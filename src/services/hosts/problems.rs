//! What is wrong with this host at this moment, as its own parts find out.
//!
//! Whoever watches something sets a problem while it lasts and clears it once it is over. Nobody decides anything from
//! here: the health pages read it, and the heartbeat tells the cluster.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use domain::ids::ServerId;
use domain::problem::{Problem, ProblemCode};

/// The problems of this process's host. The lock is never held across an await.
#[derive(Debug, Default)]
pub struct Problems {
    known: Mutex<BTreeMap<(ProblemCode, Option<ServerId>), Problem>>,
    changed: watch::Sender<()>,
}

impl Problems {
    fn known(&self) -> MutexGuard<'_, BTreeMap<(ProblemCode, Option<ServerId>), Problem>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how something is: wrong, with the reason, or well (`None`). A problem that lasts keeps the time of its
    /// beginning. Whether this is news.
    pub fn set(&self, code: ProblemCode, server: Option<ServerId>, detail: Option<String>, now: Timestamp) -> bool {
        let mut known = self.known();
        let key = (code, server);
        let news = match detail {
            None => known.remove(&key).is_some(),
            Some(detail) => {
                let since = known.get(&key).map_or(now, |before| before.since);
                let problem = Problem { code, server_id: server, detail, since };
                known.insert(key, problem.clone()).is_none_or(|before| before != problem)
            }
        };
        drop(known);
        if news {
            self.changed.send_replace(());
        }
        news
    }

    /// Notes all that is wrong of one kind, by server: whatever else was noted of that kind is over.
    pub fn replace(&self, code: ProblemCode, found: BTreeMap<Option<ServerId>, String>, now: Timestamp) {
        let over = self.list().into_iter().filter(|problem| problem.code == code);
        for server in over.map(|problem| problem.server_id).filter(|server| !found.contains_key(server)) {
            self.set(code, server, None, now);
        }
        for (server, detail) in found {
            self.set(code, server, Some(detail), now);
        }
    }

    /// Forgets whatever is noted about a server that does not run here any more.
    pub fn forget(&self, server: ServerId) {
        let mut known = self.known();
        let before = known.len();
        known.retain(|(_, about), _| *about != Some(server));
        let news = known.len() != before;
        drop(known);
        if news {
            self.changed.send_replace(());
        }
    }

    /// All that is wrong, in the order of the codes.
    pub fn list(&self) -> Vec<Problem> {
        self.known().values().cloned().collect()
    }

    /// Tells of every change.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_that_lasts_keeps_its_beginning() {
        let problems = Problems::default();
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(9));
        assert!(problems.set(ProblemCode::Clock, None, Some("3 s".into()), first));
        assert!(!problems.set(ProblemCode::Clock, None, Some("3 s".into()), later));
        assert!(problems.set(ProblemCode::Clock, None, Some("4 s".into()), later));
        assert_eq!(problems.list().first().map(|problem| problem.since), Some(first));
        assert!(problems.set(ProblemCode::Clock, None, None, later));
        assert!(problems.list().is_empty());
    }

    #[test]
    fn what_is_not_found_again_is_over() {
        let problems = Problems::default();
        let at = Timestamp::UNIX_EPOCH;
        let server = |n| Some(domain::ids::Id::from_parts(at, n));
        problems.set(ProblemCode::Clock, None, Some("3 s".into()), at);
        let found = |servers: &[u128]| servers.iter().map(|n| (server(*n), "no answer".to_owned())).collect();
        problems.replace(ProblemCode::DaemonUnreached, found(&[1, 2]), at);
        problems.replace(ProblemCode::DaemonUnreached, found(&[2, 3]), at);
        let left: Vec<_> = problems.list().into_iter().map(|problem| (problem.code, problem.server_id)).collect();
        let unreached = ProblemCode::DaemonUnreached;
        assert_eq!(left, [(unreached, server(2)), (unreached, server(3)), (ProblemCode::Clock, None)]);
    }
}
