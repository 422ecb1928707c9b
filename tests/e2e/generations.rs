//! Clients of every generation that people have, on hosts of every generation that Postern takes: what each of them
//! notices. Run with `--nocapture`, it prints the numbers of the README.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, LISTED};
use crate::openvpn::OpenVpn;
use crate::wait::wait_until;

const CLIENTS: [OpenVpn; 3] = [OpenVpn::V25, OpenVpn::Installed, OpenVpn::V27];
/// How long anything of this may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// A move is a blink, though 2.7 rests for a second before it connects anew.
const BLINK: Duration = Duration::from_secs(6);

#[test]
fn every_client_follows_a_drain_and_the_end_of_a_daemon() {
    follow(OpenVpn::Installed);
}

#[test]
fn every_client_follows_a_drain_and_the_end_of_a_daemon_of_openvpn_2_7() {
    follow(OpenVpn::V27);
}

fn follow(daemons: OpenVpn) {
    let cluster = Cluster::of_two_hosts_running(daemons);
    let profiles: Vec<_> =
        (0..CLIENTS.len()).map(|number| cluster.user_with_profile(&format!("user{number}"))).collect();
    // While the other one drains, everybody comes to the first host; a profile that is made then would not name both.
    drain(&cluster, 1, 0);
    let mut clients: Vec<_> = CLIENTS
        .iter()
        .zip(&profiles)
        .enumerate()
        .map(|(machine, (openvpn, profile))| Client::connect_of(&cluster.lab, *openvpn, machine, &profile.text))
        .collect();
    let probes: Vec<_> = (0..CLIENTS.len()).map(|machine| cluster.probe(machine)).collect();
    let start = Instant::now();
    for (probe, profile) in probes.iter().zip(&profiles) {
        probe.wait_via(cluster.hosts[0].lan(), start, PATIENCE);
        cluster.wait_session_on(profile, &cluster.hosts[0]);
    }
    cluster.any_api().act(&format!("/hosts/{}/resume", cluster.host_id(&cluster.hosts[1])));
    cluster.wait_running(&cluster.hosts[1]);

    let moment = Instant::now();
    drain(&cluster, 0, 5);
    for (number, probe) in probes.iter().enumerate() {
        probe.wait_via(cluster.hosts[1].lan(), moment, PATIENCE);
        cluster.wait_session_on(&profiles[number], &cluster.hosts[1]);
        let gap = probe.longest_gap(moment);
        eprintln!("{}, drain of {daemons}: the page was away for {gap:?}", CLIENTS[number]);
        assert!(gap < BLINK, "people noticed: {gap:?}");
    }

    let moment = Instant::now();
    let before: Vec<_> = clients.iter().map(Client::connects).collect();
    cluster.hosts[1].signal_daemons(rustix::process::Signal::TERM);
    for (number, probe) in probes.iter().enumerate() {
        wait_until("the client to connect again", PATIENCE, || clients[number].connects() > before[number]);
        probe.wait_up(Instant::now(), PATIENCE);
        eprintln!("{}, end of {daemons}: the page was away for {:?}", CLIENTS[number], probe.longest_gap(moment));
        assert!(clients[number].runs(), "the same client process");
        assert_eq!(clients[number].tunnel().1, profiles[number].address, "the address of the profile");
    }
}

fn drain(cluster: &Cluster, host: usize, budget: u64) {
    let path = format!("/hosts/{}", cluster.host_id(&cluster.hosts[host]));
    let api = cluster.any_api();
    api.post(&format!("{path}/drain"), &json!({ "budget_seconds": budget }));
    if budget == 0 {
        wait_until("the host to be drained", LISTED, || api.get(&path)["drain"]["state"] == "drained");
    }
}
