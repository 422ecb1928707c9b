//! Taking hosts out of service while people are connected through them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, only};
use crate::cluster::{Cluster, LISTED, Profile};
use crate::joining::join_third;
use crate::lab::Lab;
use crate::wait::{assert_stays, wait_for, wait_until};

/// How long many clients may take to connect, or to be moved, on a busy machine.
const CROWD: Duration = Duration::from_mins(2);
/// A move is a blink; a host that crashes costs 8 s.
const BLINK: Duration = Duration::from_secs(5);

/// Many clients without a device, all on the host that is about to leave service.
struct Crowd {
    clients: Vec<Client>,
}

impl Crowd {
    /// Connects the profiles while `other` refuses everybody: so all of them come to the one host that is left.
    fn gather(cluster: &Cluster, profiles: &[Profile], at: usize, other: usize) -> Self {
        order(cluster, other, 0);
        let start = |profile: &Profile| Client::start_without_device(&cluster.lab, 1, &profile.text);
        let mut crowd = Self { clients: profiles.iter().map(start).collect() };
        crowd.wait_connected(cluster, at, 1);
        crowd
    }

    /// Waits until every client has connected so often, the last time to the given host.
    #[track_caller]
    fn wait_connected(&mut self, cluster: &Cluster, host: usize, times: usize) {
        let inet = cluster.hosts[host].inet();
        wait_until(&format!("everybody to be on {}", cluster.hosts[host].name()), CROWD, || {
            assert!(self.clients.iter_mut().all(Client::runs), "a client was refused for good");
            self.clients.iter().all(|client| client.connects() >= times && client.remote() == inet)
        });
    }

    fn len(&self) -> usize {
        self.clients.len()
    }
}

/// Orders a host out of service.
fn order(cluster: &Cluster, host: usize, budget: u64) {
    let path = format!("/hosts/{}/drain", cluster.host_id(&cluster.hosts[host]));
    cluster.any_api().post(&path, &json!({ "budget_seconds": budget }));
}

fn resume(cluster: &Cluster, host: usize) {
    cluster.any_api().act(&format!("/hosts/{}/resume", cluster.host_id(&cluster.hosts[host])));
    cluster.wait_running(&cluster.hosts[host]);
}

/// What the API tells of a host that is leaving service.
fn drain(cluster: &Cluster, host: usize) -> Value {
    cluster.any_api().get(&format!("/hosts/{}", cluster.host_id(&cluster.hosts[host])))["drain"].take()
}

/// Waits until a host carries nobody any more, and everybody has been seen on another host.
#[track_caller]
fn wait_drained(cluster: &Cluster, host: usize) -> Value {
    wait_for(&format!("{} to be drained", cluster.hosts[host].name()), CROWD, || {
        Some(drain(cluster, host)).filter(|drain| drain["state"] == "drained" && drain["cut_off"] == 0)
    })
}

#[track_caller]
fn wait_moved(cluster: &Cluster, host: usize, count: usize) {
    wait_until(&format!("{count} sessions to be moved"), CROWD, || {
        drain(cluster, host)["moved"].as_u64().is_some_and(|moved| moved >= count as u64)
    });
}

/// The live sessions of a host.
fn sessions_on(cluster: &Cluster, host: usize) -> usize {
    let id = cluster.host_id(&cluster.hosts[host]);
    cluster.any_api().list("/sessions").iter().filter(|session| session["host_id"] == id.as_str()).count()
}

#[track_caller]
fn wait_sessions(cluster: &Cluster, host: usize, count: usize) {
    let name = cluster.hosts[host].name();
    wait_until(&format!("{count} sessions on {name}"), LISTED, || sessions_on(cluster, host) == count);
}

/// Kills the Postern of the first host, and starts it again.
fn restart(cluster: &mut Cluster) {
    cluster.hosts[0].kill();
    cluster.hosts[0].start();
    cluster.hosts[0].wait_ready();
}

fn profiles(cluster: &Cluster, count: usize) -> Vec<Profile> {
    (0..count).map(|number| cluster.user_with_profile(&format!("user{number}"))).collect()
}

#[test]
fn fifty_people_are_moved_and_one_who_works_sees_a_blink() {
    let cluster = Cluster::of_two_hosts();
    let anna = cluster.user_with_profile("anna");
    let mut crowd = Crowd::gather(&cluster, &profiles(&cluster, 50), 0, 1);
    // Half of them dialled the draining host first; what it counts, it tells with its next report.
    wait_until("the draining host to tell whom it turned away", LISTED, || {
        drain(&cluster, 1)["refused"].as_u64().is_some_and(|refused| refused > 0)
    });
    let (mut client, probe, host) = cluster.connect(&anna);
    assert_eq!(host, 0, "whoever is turned away goes to the other host");
    let tunnel = client.tunnel();
    wait_sessions(&cluster, 0, crowd.len() + 1);
    resume(&cluster, 1);

    let moment = Instant::now();
    order(&cluster, 0, 10);
    let progress = wait_drained(&cluster, 0);
    eprintln!("drain of {} sessions in 10 s: {:?}, {progress}", crowd.len() + 1, moment.elapsed());
    assert_eq!((&progress["moved"], &progress["remaining"]), (&json!(crowd.len() + 1), &json!(0)));
    crowd.wait_connected(&cluster, 1, 2);
    wait_sessions(&cluster, 1, crowd.len() + 1);

    probe.wait_via(cluster.hosts[1].lan(), moment, LISTED);
    let gap = probe.longest_gap(moment);
    eprintln!("drain: the page was away for {gap:?}");
    assert!(gap < BLINK, "people noticed: {gap:?}");
    assert!(client.runs(), "the same client process");
    assert_eq!(client.tunnel(), tunnel, "the same device and address");
    assert_eq!(cluster.hosts[0].daemons().len(), 1, "the daemon waits for what comes next");
}

#[test]
fn a_drain_goes_on_whatever_is_killed_and_can_be_taken_back() {
    const PEOPLE: usize = 12;
    let mut cluster = Cluster::of_two_hosts();
    let all = profiles(&cluster, PEOPLE);
    let mut crowd = Crowd::gather(&cluster, &all, 0, 1);
    resume(&cluster, 1);

    // Taken back half-way: who is still there stays, and the host is open again.
    order(&cluster, 0, 3600);
    wait_moved(&cluster, 0, 1);
    resume(&cluster, 0);
    assert_eq!(drain(&cluster, 0), Value::Null);
    let left = sessions_on(&cluster, 0);
    assert!(left > PEOPLE / 2, "an hour is not over yet: {left}");
    assert_stays("nobody is moved any more", Duration::from_secs(2), || sessions_on(&cluster, 0) == left);
    let newcomer = cluster.user_with_profile("newcomer");
    let here = only(&newcomer.text, cluster.hosts[0].inet());
    Client::connect(&cluster.lab, 2, &here).stop();
    wait_sessions(&cluster, 0, left);

    // Killed right after the order, and again on the way; then the database as well.
    order(&cluster, 0, 20);
    restart(&mut cluster);
    wait_moved(&cluster, 0, 2);
    restart(&mut cluster);
    cluster.lab.mongod().kill(0);
    crowd.wait_connected(&cluster, 1, 2);
    cluster.lab.mongod().restart(0);
    wait_until("the API to answer again", LISTED, || {
        let answer = cluster.any_api().send("GET", "/hosts", None, "application/json");
        answer.is_ok_and(|answer| answer.status == 200)
    });
    let progress = wait_drained(&cluster, 0);
    assert_eq!((&progress["moved"], &progress["remaining"]), (&json!(left), &json!(0)));
    wait_sessions(&cluster, 1, PEOPLE);
    // Drained stays drained, also for the Postern that comes next.
    restart(&mut cluster);
    assert_eq!(wait_drained(&cluster, 0)["drained_at"], progress["drained_at"]);
    assert!(crowd.clients.iter_mut().all(Client::runs));
}

#[test]
fn a_joined_host_is_drained_and_taken_back_with_its_own_database_user() {
    let mut cluster = Cluster::start_in(Lab::new(None).asking(), 1, 1);
    let third = join_third(&cluster);
    cluster.hosts.push(third);
    let anna = cluster.user_with_profile("anna");
    // Everybody comes to the joined host first.
    order(&cluster, 0, 0);
    let (client, probe, at) = cluster.connect(&anna);
    assert_eq!((at, client.connects()), (1, 1));
    resume(&cluster, 0);

    let moment = Instant::now();
    order(&cluster, 1, 2);
    let progress = wait_drained(&cluster, 1);
    assert_eq!((&progress["moved"], &progress["remaining"]), (&json!(1), &json!(0)));
    probe.wait_via(cluster.hosts[0].lan(), moment, LISTED);
    let gap = probe.longest_gap(moment);
    eprintln!("drain of a joined host: the page was away for {gap:?}");
    assert!(gap < BLINK, "people noticed: {gap:?}");
    wait_sessions(&cluster, 0, 1);
    resume(&cluster, 1);
    Client::connect_soon(&cluster.lab, 2, &only(&anna.text, cluster.hosts[1].inet())).stop();
}

#[test]
fn a_client_that_calls_itself_openvpn_3_is_sent_on_in_the_form_for_openvpn_3() {
    let cluster = Cluster::of_two_hosts();
    let anna = cluster.user_with_profile("anna");
    let mut client = Client::start_as_three(&cluster.lab, 0, &anna.text);
    wait_until("the client to connect", LISTED, || client.connects() == 1);
    let before = cluster.number_of(client.remote());
    let session = cluster.wait_session_on(&anna, &cluster.hosts[before]);
    assert!(session["client_version"].as_str().is_some_and(|version| version.starts_with("3.")), "{session}");

    order(&cluster, before, 0);
    wait_drained(&cluster, before);
    wait_until("the client to be on the other host", CROWD, || client.connects() == 2);
    assert_eq!(client.remote(), cluster.hosts[1 - before].inet());
    assert_eq!(client.heard("AUTH_FAILED,TEMP[backoff 1,advance remote]:this host is leaving service"), 1);
    assert_eq!(client.heard("[backoff 0"), 0);
    assert!(client.runs(), "it was not refused for good");

    // A newcomer that dials the draining host hears the same.
    client.stop();
    let here = only(&anna.text, cluster.hosts[before].inet());
    let mut newcomer = Client::start_as_three(&cluster.lab, 0, &here);
    wait_until("it to be turned away", LISTED, || newcomer.heard("TEMP[backoff 1,advance remote]") > 0);
    assert_eq!((newcomer.connects(), newcomer.heard("[backoff 0"), newcomer.runs()), (0, 0, true));
}
