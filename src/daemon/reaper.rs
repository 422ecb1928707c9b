//! Sessions that must end: because the policy changed, because somebody asked, because the profile is elsewhere now.
//!
//! The policy is held against the live sessions by each daemon's own task, with [`doomed`], at every new snapshot and
//! in a period. What others ask for is read here: on a nudge, after a possible loss of nudges, and in a period. All of
//! it costs as much as there are live sessions on this host, however many profiles there are.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Here, conversation::Order, roster::Roster, within};
use domain::{
    access::{Denial, Snapshot},
    session::EndReason,
};
use openvpn::management::Cid;
use services::{BusMessage, Nudge, Subscription};

/// How often is looked without a nudge.
const PERIOD: Duration = Duration::from_secs(30);
/// Every so many looks, newer sessions elsewhere are looked for too.
const SUPERSEDED_EVERY: u32 = 2;
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

/// Passes on what others ask for, until `stop`.
pub(super) async fn run(here: Arc<Here>, mut bus: Subscription, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    let mut bus_open = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(SUPERSEDED_EVERY) {
                    end_superseded(&here).await;
                }
            }
            message = bus.recv(), if bus_open => match message {
                Some(message) if concerns(&here, &message) => {}
                Some(_) => continue,
                None => { bus_open = false; continue }
            }
        }
        end_asked(&here).await;
    }
}

/// Whether a message may be about a session here.
fn concerns(here: &Here, message: &BusMessage) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => {
            matches!(Nudge::read(event), Some(Nudge::SessionEnd(id)) if here.board.carries(id))
        }
    }
}

async fn end_asked(here: &Here) {
    if here.board.session_count() == 0 {
        return;
    }
    match within(LIMIT, here.services.access().ends_asked_of(here.host)).await {
        Ok(asked) => {
            for (session, reason) in asked {
                here.board.order(session, Order { session, reason });
            }
        }
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no look at the asked ends"),
    }
}

async fn end_superseded(here: &Here) {
    let carried: Vec<_> = here.board.sessions().into_iter().map(|(id, carried)| (carried.profile_id, id)).collect();
    if carried.is_empty() {
        return;
    }
    match within(LIMIT, here.services.access().superseded(&carried)).await {
        // One that is not written down yet is not among them, whatever is recorded of others.
        Ok(older) => {
            for session in older {
                here.board.order(session, Order { session, reason: EndReason::Superseded });
            }
        }
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no look at newer sessions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{roster::Client, samples};
    use domain::{Revision, access::Change};

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
