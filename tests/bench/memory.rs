//! How much memory `serve` holds.

use std::time::Duration;

use crate::caller::{Caller, token};
use crate::cluster::{Cluster, user_body};
use crate::process;
use crate::report::{Figure, Row, Unit};
use crate::seed::seed;

pub(crate) const METHOD: &str = "The `postern serve` process in all roles with one daemon; resident memory (VmRSS, pages \
    of the binary included) and its proportional share (Pss). Few users: five, 10 s after the start. Many: 10,000 users \
    of two profiles each, after a start with them, and again after 50 changes by the API.";

const USERS: usize = 10_000;
const CHANGES: usize = 50;
const SETTLE: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Vec<Row> {
    let mut cluster = Cluster::start(1, 1);
    for number in 0..5 {
        cluster.api(0).post("/users", &user_body(&cluster.organization, &format!("user{number}")));
    }
    restart(&mut cluster);
    let mut rows = figures(&cluster, "few users, idle", 25.0);

    let users = seed(&cluster, USERS, 2);
    restart(&mut cluster);
    rows.extend(figures(&cluster, "20,000 profiles, after start", 60.0));

    let token = token(&cluster);
    cluster.hosts[0].machine().namespace.enter(|| {
        let caller = Caller::new(&cluster, 0, &token);
        for user in users.iter().take(CHANGES) {
            caller.set_disabled(&user.to_string(), true);
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    rows.extend(figures(&cluster, "20,000 profiles, after 50 changes", 60.0));
    rows
}

fn restart(cluster: &mut Cluster) {
    process::stop(&mut cluster.hosts[0]);
    process::start(&mut cluster.hosts[0]);
    std::thread::sleep(SETTLE);
}

fn figures(cluster: &Cluster, when: &str, limit: f64) -> Vec<Row> {
    let (resident, share) = process::memory(&cluster.hosts[0]);
    vec![
        Row::single(format!("memory: VmRSS, {when}"), Unit::Memory, resident).target(Figure::Most, limit),
        Row::single(format!("memory: Pss, {when}"), Unit::Memory, share),
    ]
}
