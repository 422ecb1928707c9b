//! How soon a disabled user is thrown out, on another host than the one that was told.

use std::time::{Duration, Instant};

use crate::caller::{Caller, token};
use crate::client::only;
use crate::cluster::Cluster;
use crate::report::{Figure, Row};
use crate::tunnel::Tunnel;

pub(crate) const METHOD: &str = "Ten clients of ten users are connected to host B. `PATCH /users/{id}` on host A disables \
    one user after the other, 5 a second; measured is until that user's client writes that B's daemon has ended its \
    session. Then all are enabled, connect anew, and so on.";

const USERS: usize = 10;
const ROUNDS: usize = 6;
const PERIOD: Duration = Duration::from_millis(200);
/// What a client writes when the daemon ends its session for good.
const ENDED: [&str; 3] = ["AUTH_FAILED", "HALT", "SIGTERM"];

pub(crate) fn measure() -> Vec<Row> {
    let cluster = Cluster::of_two_hosts();
    let host_b = cluster.hosts[1].inet();
    let profiles: Vec<_> = (0..USERS).map(|number| cluster.user_with_profile(&format!("user{number}"))).collect();
    let token = token(&cluster);
    let (mut from_answer, mut from_request) = (Vec::new(), Vec::new());
    cluster.hosts[0].machine().namespace.enter(|| {
        let caller = Caller::new(&cluster, 0, &token);
        for _ in 0..ROUNDS {
            let start = |(number, profile): (usize, &crate::cluster::Profile)| {
                Tunnel::client(&cluster.lab, cluster.lab.client(number % 3), &only(&profile.text, host_b))
            };
            let mut clients: Vec<_> = profiles.iter().enumerate().map(start).collect();
            for client in &mut clients {
                client.wait_up();
            }
            // So that ten connections are not still being written down.
            std::thread::sleep(Duration::from_secs(1));
            for (client, profile) in clients.iter_mut().zip(&profiles) {
                let asked = Instant::now();
                let took = caller.set_disabled(&profile.user, true);
                let ended = client.wait_line(&ENDED);
                from_answer.push(ended.saturating_duration_since(asked + took));
                from_request.push(ended - asked);
                std::thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
            }
            drop(clients);
            for profile in &profiles {
                caller.set_disabled(&profile.user, false);
            }
        }
    });
    vec![
        Row::times("disable: answer of A to the session's end on B", from_answer)
            .target(Figure::Median, 0.020)
            .target(Figure::P99, 0.100),
        Row::times("disable: request to A to the session's end on B", from_request),
    ]
}
