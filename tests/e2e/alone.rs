//! A daemon without a living Postern, and a daemon that hangs: newcomers are with another host soon, sessions that are up
//! stay up, and no client ends.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, first};
use crate::cluster::{Cluster, Profile};
use crate::host::Host;
use crate::wait::{assert_stays, wait_until};

/// How soon a newcomer is let in somewhere. On a quiet machine it takes 3 s.
const NEWCOMER: Duration = Duration::from_secs(15);
/// How long a hung daemon may take to be noticed, ended and started anew, on a busy machine.
const NOTICED: Duration = Duration::from_secs(40);

/// A client on machine 0 that is connected by the host in question, and stays so.
struct Settled {
    client: Client,
    page: crate::page::Probe,
    moment: Instant,
}

/// Connects one by `host`.
fn settle(cluster: &Cluster, host: &Host, profile: &Profile) -> Settled {
    let client = Client::connect(&cluster.lab, 0, &first(&profile.text, host.inet()));
    assert_eq!(client.remote(), host.inet());
    let page = cluster.probe(0);
    page.wait_via(host.lan(), Instant::now(), Duration::from_secs(10));
    cluster.wait_session_on(profile, host);
    Settled { client, page, moment: Instant::now() }
}

impl Settled {
    #[track_caller]
    fn stayed(mut self) {
        assert!(self.client.runs(), "the client that was connected goes on");
        assert_eq!(self.client.connects(), 1, "and never had to connect again");
        assert!(self.page.longest_gap(self.moment) < Duration::from_secs(3));
    }
}

/// A newcomer whose profile names both hosts, `host` first, is with `other` in time.
#[track_caller]
fn assert_served(cluster: &Cluster, host: &Host, other: &Host, profile: &Profile) {
    let from = Instant::now();
    let mut newcomer = Client::start(&cluster.lab, 1, &first(&profile.text, host.inet()));
    wait_until("the newcomer to be let in", NEWCOMER, || {
        assert!(newcomer.runs(), "the newcomer ended instead of connecting (its log is below)");
        newcomer.connects() > 0
    });
    eprintln!("a newcomer was let in after {:?}", from.elapsed());
    assert_eq!(newcomer.remote(), other.inet());
    newcomer.stop();
}

#[test]
fn newcomers_of_a_host_whose_postern_was_killed_or_frozen_are_with_another_one_soon() {
    let mut cluster = Cluster::of_two_hosts();
    let [settled, killed, frozen, looping] =
        ["settled", "killed", "frozen", "looping"].map(|name| cluster.user_with_profile(name));
    let there = settle(&cluster, &cluster.hosts[0], &settled);

    cluster.hosts[0].signal(Signal::STOP);
    assert_served(&cluster, &cluster.hosts[0], &cluster.hosts[1], &frozen);
    cluster.hosts[0].signal(Signal::CONT);
    cluster.hosts[0].wait_ready();

    // A crash loop: it comes up and is killed, again and again, while somebody connects.
    for _ in 0..3 {
        cluster.hosts[0].kill();
        cluster.hosts[0].start();
    }
    let from = Instant::now();
    let mut newcomer = Client::start(&cluster.lab, 1, &first(&looping.text, cluster.hosts[0].inet()));
    wait_until("the newcomer to be let in", NEWCOMER, || {
        assert!(newcomer.runs(), "the newcomer ended instead of connecting (its log is below)");
        cluster.hosts[0].kill();
        cluster.hosts[0].start();
        newcomer.connects() > 0
    });
    eprintln!("in a crash loop, a newcomer was let in after {:?}", from.elapsed());
    newcomer.stop();

    cluster.hosts[0].kill();
    assert_served(&cluster, &cluster.hosts[0], &cluster.hosts[1], &killed);
    cluster.hosts[0].start();
    cluster.hosts[0].wait_ready();
    cluster.wait_running(&cluster.hosts[0]);
    cluster.wait_session_on(&settled, &cluster.hosts[0]);
    there.stayed();
}

#[test]
fn a_hung_daemon_is_started_anew_and_its_clients_go_on() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, number) = cluster.connect(&profile);
    let host = &cluster.hosts[number];
    let hung = host.daemons();
    let moment = Instant::now();
    host.signal_daemons(Signal::STOP);
    wait_until("the hung daemon to be ended", NOTICED, || host.daemons().iter().all(|pid| !hung.contains(pid)));
    eprintln!("a hung daemon was ended after {:?}", moment.elapsed());
    cluster.wait_running(host);
    probe.wait_up(moment, NOTICED);
    assert!(client.runs(), "the same client process");
    assert_eq!(client.tunnel().1, profile.address);
}

#[test]
fn a_daemon_whose_management_socket_is_mute_is_started_anew() {
    let mut cluster = Cluster::of_two_hosts();
    let [settled, newcomer] = ["settled", "newcomer"].map(|name| cluster.user_with_profile(name));
    let there = settle(&cluster, &cluster.hosts[1], &settled);
    let host = &mut cluster.hosts[0];
    let hung = host.daemons();
    // The link is lost, and what takes connections in the daemon's place says nothing.
    let folder = host.data().join("daemons").join(&cluster.server);
    host.kill();
    let socket = folder.join("management.sock");
    std::fs::remove_file(&socket).unwrap();
    let _mute = UnixListener::bind(&socket).unwrap();
    host.kill_relays();
    host.start();
    host.wait_ready();
    wait_until("the mute daemon to be ended", NOTICED, || host.daemons().iter().all(|pid| !hung.contains(pid)));
    let host = &cluster.hosts[0];
    cluster.wait_running(host);
    assert_served(&cluster, host, host, &newcomer);
    assert_stays("one daemon to run", Duration::from_secs(3), || host.daemons().len() == 1);
    there.stayed();
}
