//! How soon one host acts on what another was told.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use postern::domain::clock::SystemClock;
use postern::services::Services;
use postern::services::access::admission::Admission;
use postern::services::tasks::reconciler;
use postern::store::{Bus, BusSettings, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::{Caller, token};
use crate::cluster::Cluster;
use crate::report::{Figure, Row};
use crate::seed::{inside, seed, settings};

pub(crate) const METHOD: &str = "Host A is a `postern serve`; `PATCH /users/{id}` on a kept connection disables and \
    enables users, 10 a second, among 10,000. Host B is the same stack of store, bus and admission, with clients of its \
    own, in the measuring process, so that the moment in which its snapshot is swapped (which wakes the task that ends \
    sessions) is seen exactly. A nudge leaves A before the answer does; what B knew by then counts as 0.";

const USERS: usize = 10_000;
const SAMPLES: usize = 300;
const PERIOD: Duration = Duration::from_millis(100);

pub(crate) fn measure() -> Vec<Row> {
    let cluster = Cluster::start(1, 1);
    let users = seed(&cluster, USERS, 1);
    let (mut answers, mut from_request, mut from_answer) = (Vec::new(), Vec::new(), Vec::new());
    let token = token(&cluster);
    cluster.hosts[0].machine().namespace.enter(|| {
        // The workers of the runtime are threads of this one, so they are in the namespace too.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let host_b = runtime.block_on(follower(cluster.lab.mongod().uri(), &stop));
        let (tell, seen) = sync_channel(1_000);
        let mut watch = host_b.watch();
        runtime.handle().block_on(async {
            while watch.borrow_and_update().profile_count() < USERS {
                watch.changed().await.unwrap();
            }
        });
        let mut expected = inside(&cluster, async |store| store.access().revision().await.unwrap());
        let tasks = TaskTracker::new();
        tasks.spawn_on(
            async move {
                while watch.changed().await.is_ok() {
                    let at = Instant::now();
                    if tell.send((at, watch.borrow_and_update().revision)).is_err() {
                        return;
                    }
                }
            },
            runtime.handle(),
        );

        let caller = Caller::new(&cluster, 0, &token);
        // Connections are opened and codes paged in before it counts.
        caller.set_disabled(&users[0].to_string(), true);
        expected.0 += 1;
        let mut next = Instant::now() + PERIOD;
        for number in 0..SAMPLES {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += PERIOD;
            let asked = Instant::now();
            let took = caller.set_disabled(&users[1 + number / 2].to_string(), number % 2 == 0);
            expected.0 += 1;
            let at = loop {
                let (at, revision) = seen.recv_timeout(Duration::from_secs(10)).expect("host B hears of the change");
                if revision >= expected {
                    break at;
                }
            };
            answers.push(took);
            from_request.push(at - asked);
            from_answer.push(at.saturating_duration_since(asked + took));
        }
        stop.cancel();
        runtime.shutdown_timeout(Duration::from_secs(2));
    });
    vec![
        Row::times("change: answer of A to snapshot of B", from_answer)
            .target(Figure::Median, 0.005)
            .target(Figure::P99, 0.020),
        Row::times("change: request to A to snapshot of B", from_request),
        Row::times("change: request to A to its answer", answers),
    ]
}

/// What of a host follows policy.
async fn follower(uri: &str, stop: &CancellationToken) -> Admission {
    let store = Store::connect(&settings(uri)).await.unwrap();
    let tasks = reconciler(&TaskTracker::new(), stop, store.metrics(), Arc::new(SystemClock));
    let bus = Bus::start(&store, &BusSettings::default(), &tasks);
    let services = Services::builder(store, bus.emitter(), Arc::new(SystemClock)).build();
    let admission = Admission::new(services);
    admission.start(&tasks, bus.subscribe());
    admission
}
