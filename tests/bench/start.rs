//! How long `serve` takes to come and to go.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::process;
use crate::report::{Figure, Row};
use crate::seed::seed;
use crate::wait::wait_until;

pub(crate) const METHOD: &str = "`postern serve` in all roles, with 10,000 users of one profile each in the database. \
    Start: from the start of the process until `/readyz` answers 200, asked every millisecond; stop: from SIGTERM \
    until the process has ended. First with one server attached, whose daemon outlives each stop and is adopted; then \
    with none.";

const USERS: usize = 10_000;
const RUNS: usize = 15;

pub(crate) fn measure() -> Vec<Row> {
    let mut cluster = Cluster::start(1, 1);
    seed(&cluster, USERS, 1);
    let daemons = cluster.hosts[0].daemons();
    let mut rows = cycles(&mut cluster, "one daemon adopted");
    assert_eq!(cluster.hosts[0].daemons(), daemons, "the daemon went on all the while");

    let host = cluster.host_id(&cluster.hosts[0]);
    cluster.api(0).delete(&format!("/servers/{}/hosts/{host}", cluster.server));
    wait_until("the daemon to end", Duration::from_secs(30), || cluster.hosts[0].daemons().is_empty());
    rows.extend(cycles(&mut cluster, "no daemon"));
    rows
}

fn cycles(cluster: &mut Cluster, with: &str) -> Vec<Row> {
    let host = &mut cluster.hosts[0];
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    process::stop(host);
    for _ in 0..RUNS {
        starts.push(process::start(host));
        // A stop in the middle of the start's last work would be another measurement.
        std::thread::sleep(Duration::from_millis(500));
        stops.push(process::stop(host));
    }
    process::start(host);
    vec![
        Row::times(format!("serve: start to ready, {with}"), starts).target(Figure::Median, 0.3),
        Row::times(format!("serve: SIGTERM to exit, {with}"), stops).target(Figure::Median, 0.5),
    ]
}
