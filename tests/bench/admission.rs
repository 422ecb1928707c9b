//! How long a daemon waits for the answer whether a client may enter.

use std::hint::black_box;
use std::time::Instant;

use postern::domain::access::Change;
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::ids::{HostId, ServerId};
use postern::services::Services;
use postern::services::access::admission::Admission;
use postern::store::Emitter;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::report::{Figure, Row};
use crate::seed::{inside, seed};

pub(crate) const METHOD: &str = "`Admission::admit` over a snapshot of 10,000 users and 20,000 profiles as it is read from \
    the database: every profile 10 times, in an order without pattern, each call by the clock (which itself takes some \
    hundredths of a microsecond).";

const USERS: usize = 10_000;
const ROUNDS: usize = 10;

pub(crate) fn measure() -> Vec<Row> {
    let cluster = Cluster::start(1, 1);
    seed(&cluster, USERS, 2);
    let host: HostId = cluster.host_id(&cluster.hosts[0]).parse().unwrap();
    let server: ServerId = cluster.server.parse().unwrap();
    let times = inside(&cluster, async |store| {
        let changes = store.access().changes_since(postern::domain::Revision(0)).await.unwrap().changes;
        let prints = changes.into_iter().filter_map(|change| match change {
            Change::Profile(profile) => Some(profile.fingerprint),
            _ => None,
        });
        // Fingerprints are random, so their order has nothing to do with that of the profiles.
        let mut prints: Vec<_> = prints.collect();
        prints.sort();
        assert_eq!(prints.len(), 2 * USERS);

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let emitter = Emitter::start(&store, Duration::from_secs(8), &tasks, &stop);
        let admission = Admission::new(Services::builder(store, emitter, Arc::new(SystemClock)).build());
        admission.refresh().await.unwrap();
        let now = SystemClock.now();
        let mut times = Vec::with_capacity(prints.len() * ROUNDS);
        for _ in 0..ROUNDS {
            for print in &prints {
                let from = Instant::now();
                let admitted = black_box(admission.admit(host, server, *print, now, |_| true));
                times.push(from.elapsed());
                assert!(admitted.is_ok(), "{admitted:?}");
            }
        }
        stop.cancel();
        times
    });
    vec![Row::times("admission: one decision", times).target(Figure::Median, 0.000_010)]
}
