//! Tells the cluster how this host's daemons are, as soon as that changes, and in periods what its sessions have
//! transferred.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Here,
    board::{Board, Report},
    within,
};
use domain::ids::SessionId;
use runtime::{backoff::Backoff, random};

/// Between two writes of traffic counters.
const COUNT: Duration = Duration::from_secs(30);
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);
/// The limit of the last call.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Writes traffic counters that changed, until `stop`.
pub(super) async fn count(here: Arc<Here>, stop: CancellationToken) {
    let mut period = tokio::time::interval(COUNT);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut written = HashMap::new();
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        let (changed, now) = changed(&here.board, &written);
        let counted = changed.is_empty() || within(LIMIT, here.services.access().count_traffic(&changed)).await.is_ok();
        if counted {
            written = now;
        }
    }
}

type Counters = HashMap<SessionId, (u64, u64)>;

fn changed(board: &Board, written: &Counters) -> (Vec<(SessionId, u64, u64)>, Counters) {
    let now: Counters =
        board.sessions().into_iter().map(|(id, carried)| (id, (carried.received, carried.sent))).collect();
    let news = now.iter().filter(|(id, counters)| written.get(id) != Some(counters));
    (news.map(|(id, (received, sent))| (*id, *received, *sent)).collect(), now)
}

/// Tells the cluster how the daemons are, whenever that changes, until `stop` and once more then.
pub(super) async fn report(here: Arc<Here>, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    while !stop.is_cancelled() {
        if write_reports(&here).await {
            backoff.reset();
            let _ = stop.run_until_cancelled(here.board.news()).await;
        } else {
            let pause = backoff.pause(u32::from_ne_bytes(random::bytes()));
            let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }
    let _late = tokio::time::timeout(LAST_CALL, write_reports(&here)).await;
}

async fn write_reports(here: &Here) -> bool {
    let mut all = true;
    if let Some(networks) = here.board.untold_networks() {
        match within(LIMIT, here.services.hosts().report_networks(here.host, &networks)).await {
            Ok(true) => here.board.told_networks(&networks),
            // Before the first heartbeat there is no place for it.
            Ok(false) | Err(_) => all = false,
        }
    }
    for report in here.board.unwritten() {
        let written = match &report {
            Report::Status(status) => within(LIMIT, here.services.network().report_daemon(status)).await,
            Report::Gone(key) => within(LIMIT, here.services.network().forget_daemon(*key)).await,
        };
        match written {
            Ok(()) => here.board.written(&report),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a daemon's state was not written down");
                all = false;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn only_counters_that_moved_are_written() {
        let board = Board::default();
        let mut session = samples::session(1);
        session.bytes_received = 5;
        board.carry(&session);
        board.carry(&samples::session(2));
        let (first, written) = changed(&board, &Counters::new());
        assert_eq!(first.len(), 2);
        assert!(changed(&board, &written).0.is_empty());
        session.bytes_sent = 9;
        board.carry(&session);
        assert_eq!(changed(&board, &written).0, [(session.id, 5, 9)]);
    }
}
