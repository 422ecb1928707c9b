//! Sessions that must end: because the policy changed, because an administrator or the user asked, because the profile
//! is connected elsewhere now.
//!
//! The policy is held against the live sessions by each daemon's own task, with [`doomed`], at every new snapshot and
//! in a period. What others ask for is read here: on a nudge, after a possible loss of nudges, and in a period. All of
//! it costs as much as there are live sessions on this host, however many profiles there are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::conversation::Order;
use super::roster::Roster;
use super::{Here, within};
use domain::access::{Denial, Snapshot};
use domain::ids::SessionId;
use domain::session::EndReason;
use openvpn::management::Cid;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};
use services::{BusMessage, Nudge, Subscription};

const ASKED: Task =
    Task::new("session-ends", "Ends the sessions that others ask this host to end.", Duration::from_secs(30)).quiet();
const SUPERSEDED: Task = Task::new(
    "superseded-sessions",
    "Ends sessions whose profile has a newer one on another host.",
    Duration::from_mins(1),
)
.quiet();
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// The live clients that the policy does not admit any more.
pub(super) fn doomed(roster: &Roster, snapshot: &Snapshot, now: Timestamp) -> Vec<(Cid, Denial)> {
    roster
        .iter()
        .filter(|(_, client)| client.stays())
        .filter_map(|(cid, client)| {
            let session = &client.session;
            Some((cid, snapshot.must_end(session.server_id, session.profile_id, now)?))
        })
        .collect()
}

/// Starts both tasks.
pub(super) fn start(here: &Arc<Here>, bus: Subscription, tasks: &Reconciler) {
    let requests = EndRequests { here: Arc::clone(here), doubted: Arc::default() };
    let (heard, doubted) = (Arc::clone(here), Arc::clone(&requests.doubted));
    let wants = move |message: &BusMessage| concerns(&heard, &doubted, message);
    tasks.start(ASKED, requests).wake_by(|nudge| bus.wake(nudge, wants));
    tasks.start(SUPERSEDED, Superseded(Arc::clone(here)));
}

/// Sessions that a nudge named since they were looked at.
type Doubted = Mutex<BTreeSet<SessionId>>;

/// Whether a message may be about a session here, which is doubted then.
fn concerns(here: &Here, doubted: &Doubted, message: &BusMessage) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => match Nudge::read(event) {
            Some(Nudge::SessionEnd(id)) if here.registry.carries(id) => {
                doubted.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                true
            }
            _ => false,
        },
    }
}

/// Passes orders to end sessions on to the daemons.
struct EndRequests {
    here: Arc<Here>,
    doubted: Arc<Doubted>,
}

impl Work for EndRequests {
    async fn run(&mut self) -> Outcome {
        let here = &self.here;
        let named = std::mem::take(&mut *self.doubted.lock().unwrap_or_else(PoisonError::into_inner));
        let carried = here.registry.sessions();
        let ids: Vec<_> = carried.iter().map(|(id, _)| *id).collect();
        let doubted = carried.iter().filter(|(id, _)| named.contains(id));
        let doubted: Vec<_> = doubted.map(|(id, carried)| (carried.profile_id, *id)).collect();
        if !ids.is_empty() {
            let ends = within(LIMIT, here.services.access().ends_of(&ids, &doubted)).await;
            if ends.is_err() {
                self.doubted.lock().unwrap_or_else(PoisonError::into_inner).extend(named);
            }
            for (session, reason) in ends? {
                here.registry.order(session, Order { session, reason });
            }
        }
        Ok(Done::default())
    }
}

/// Ends sessions whose profile has a newer one elsewhere.
struct Superseded(Arc<Here>);

impl Work for Superseded {
    async fn run(&mut self) -> Outcome {
        let here = &self.0;
        let carried: Vec<_> =
            here.registry.sessions().into_iter().map(|(id, carried)| (carried.profile_id, id)).collect();
        if !carried.is_empty() {
            // One that is not written down yet is not among them, whatever is recorded of others.
            for session in within(LIMIT, here.services.access().superseded(&carried)).await? {
                here.registry.order(session, Order { session, reason: EndReason::Superseded });
            }
        }
        Ok(Done::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Client;
    use crate::samples;
    use domain::Revision;
    use domain::access::Change;

    #[test]
    fn whoever_the_policy_drops_is_doomed_once() {
        let mut roster = Roster::default();
        roster.admitted(Cid(1), Client::admitted(samples::session(1), String::new(), String::new()));
        let snapshot = samples::snapshot();
        assert!(doomed(&roster, &snapshot, Timestamp::UNIX_EPOCH).is_empty());
        let revoked = snapshot.with(Revision(2), [Change::ProfileGone(samples::profile().id)]);
        assert_eq!(doomed(&roster, &revoked, Timestamp::UNIX_EPOCH), [(Cid(1), Denial::UnknownProfile)]);
        roster.leaving(Cid(1), EndReason::Refused);
        assert!(doomed(&roster, &revoked, Timestamp::UNIX_EPOCH).is_empty());
    }
}
