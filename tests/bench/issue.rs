//! How fast profiles are issued.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::caller::{Caller, token};
use crate::cluster::Cluster;
use crate::report::{Figure, Row, Unit};
use crate::seed::seed;

pub(crate) const METHOD: &str = "`POST /users/{id}/profiles` on one host: key, certificate, tls-crypt-v2 key, address, \
    one majority-committed transaction, the file. Kept connections, every profile for another of 10,000 users. First \
    one caller after another, then 8 at once; callers and database share the cores with the host.";

const USERS: usize = 10_000;
const SEQUENTIAL: usize = 300;
const CALLERS: usize = 8;
const TOGETHER: Duration = Duration::from_secs(8);

pub(crate) fn measure() -> Vec<Row> {
    let cluster = Cluster::start(1, 1);
    let users: Vec<_> = seed(&cluster, USERS, 1).iter().map(ToString::to_string).collect();
    let token = token(&cluster);
    let namespace = &cluster.hosts[0].machine().namespace;
    let issue = |caller: &Caller, user: &String| caller.issue(user, &cluster.server).0;

    let alone: Vec<_> = namespace.enter(|| {
        let caller = Caller::new(&cluster, 0, &token);
        issue(&caller, &users[0]); // so that the connection is open
        users[1..=SEQUENTIAL].iter().map(|user| issue(&caller, user)).collect()
    });

    let next = AtomicUsize::new(1 + SEQUENTIAL);
    let from = Instant::now();
    let together: Vec<_> = std::thread::scope(|scope| {
        let work = || {
            namespace.enter(|| {
                let caller = Caller::new(&cluster, 0, &token);
                let mut times = Vec::new();
                while from.elapsed() < TOGETHER {
                    times.push(issue(&caller, &users[next.fetch_add(1, Ordering::Relaxed)]));
                }
                times
            })
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(work)).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    #[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
    let rate = together.len() as f64 / from.elapsed().as_secs_f64();
    vec![
        Row::times("issue: one caller", alone).target(Figure::Median, 0.015),
        Row::single("issue: profiles of 8 callers at once", Unit::Rate, rate).target(Figure::Median, 150.0),
        Row::times("issue: time of each of those", together),
    ]
}
