//! Clocks that are wrong, hosts that stood still and a database that was away: whoever policy admits stays connected.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern::domain::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::client::{Client, in_order, only};
use crate::cluster::{Cluster, LISTED, Profile};
use crate::lab::Lab;
use crate::wait::{assert_stays, wait_for, wait_until};

/// What looks wrong is looked at again within a minute; whoever is still there after that stays.
const SECOND_LOOK: Duration = Duration::from_secs(65);
/// A client that gets no answer goes on after its keepalive and its patience; the machine may be busy.
const MOVE: Duration = Duration::from_mins(1);

impl Cluster {
    /// A client that knows all hosts, and tries this one first.
    fn connect_to(&self, machine: usize, profile: &Profile, first: usize) -> Client {
        let client = Client::connect(&self.lab, machine, &self.text_for(profile, first));
        assert_eq!(client.remote(), self.hosts[first].inet());
        client
    }

    fn text_for(&self, profile: &Profile, first: usize) -> String {
        let mut hosts: Vec<_> = self.hosts.iter().map(crate::host::Host::inet).collect();
        hosts.rotate_left(first);
        in_order(&profile.text, &hosts)
    }

    /// Waits until nobody's session is on any host but this one, and for each profile one is.
    fn wait_all_on(&self, profiles: &[&Profile], host: usize) {
        for profile in profiles {
            let id = self.host_id(&self.hosts[host]);
            wait_until(&format!("{} to be on host {host} and nowhere else", profile.id), MOVE, || {
                let sessions = self.sessions(profile);
                sessions.len() == 1 && sessions[0]["host_id"] == id.as_str()
            });
        }
    }
}

fn assert_all_stay(clients: &mut [Client]) {
    let before: Vec<usize> = clients.iter().map(Client::connects).collect();
    assert_stays("every client runs on the connection that it has", SECOND_LOOK, || {
        clients.iter_mut().zip(&before).all(|(client, before)| client.runs() && client.connects() == *before)
    });
}

fn is_now(at: &Value) -> bool {
    let at: Timestamp = at.as_str().unwrap().parse().unwrap();
    at.duration_since(SystemClock.now()).abs() < SignedDuration::from_mins(4)
}

#[test]
fn a_host_whose_clock_is_ten_minutes_off_throws_nobody_out() {
    for ahead in [600, -600] {
        let cluster = Cluster::start_as(Lab::new(None), 2, 1, |hosts| hosts[1].set_clock(ahead));
        let profiles = ["anna", "bert", "carl"].map(|name| cluster.user_with_profile(name));
        let mut clients: Vec<Client> = Vec::new();
        // Two come by the host whose clock is right and one by the other, and all change hosts without a goodbye.
        for (machine, (profile, hosts)) in profiles.iter().zip([[0, 1], [1, 0], [0, 1]]).enumerate() {
            for host in hosts {
                if let Some(before) = clients.get_mut(machine) {
                    assert!(before.runs());
                    clients.remove(machine).vanish();
                }
                clients.insert(machine, cluster.connect_to(machine, profile, host));
                cluster.wait_session_on(profile, &cluster.hosts[host]);
            }
        }
        assert_all_stay(&mut clients);
        for (profile, host) in profiles.iter().zip([1, 0, 1]) {
            let session = cluster.wait_session_on(profile, &cluster.hosts[host]);
            assert!(is_now(&session["connected_at"]), "{session}");
        }

        // It says so itself, and what it records bears the time of all.
        let (_, findings) = cluster.hosts[1].try_run(&["doctor"]);
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        let clock = findings.lines().find(|line| line.contains("clock")).unwrap_or_else(|| panic!("{findings}"));
        assert!(clock.contains(side), "{clock}");
        cluster.api(1).post("/organizations", &json!({ "name": "Another" }));
        let trail = cluster.api(0).list("/audit?action=organization.create");
        assert!(trail.len() >= 2 && trail.iter().all(|entry| is_now(&entry["at"])), "{trail:?}");
    }
}

#[test]
fn a_host_that_stood_still_takes_nobody_over_from_another() {
    let cluster = Cluster::of_two_hosts();
    let profiles = ["anna", "bert", "carl"].map(|name| cluster.user_with_profile(name));
    let all: Vec<&Profile> = profiles.iter().collect();
    let mut clients: Vec<Client> =
        profiles.iter().enumerate().map(|(machine, profile)| cluster.connect_to(machine, profile, 0)).collect();
    cluster.wait_all_on(&all, 0);

    let other = cluster.host_id(&cluster.hosts[1]);
    cluster.hosts[0].freeze(true);
    for client in &clients {
        wait_until("each client to go on by the other host", MOVE, || client.connects() > 1);
        assert_eq!(client.remote(), cluster.hosts[1].inet());
    }
    let there = cluster.api(1);
    let on_other = || there.list(&format!("/sessions?host_id={other}")).len() == profiles.len();
    wait_until("the other host to have written that down", LISTED, on_other);
    cluster.hosts[0].thaw();
    cluster.wait_all_on(&all, 1);
    assert_all_stay(&mut clients);
    cluster.wait_all_on(&all, 1);
}

#[test]
fn a_question_that_waited_lets_nobody_in() {
    let cluster = Cluster::of_two_hosts();
    let profiles = ["anna", "bert", "carl"].map(|name| cluster.user_with_profile(name));
    let all: Vec<&Profile> = profiles.iter().collect();
    // The daemon goes on and asks; Postern does not answer.
    cluster.hosts[0].freeze(false);
    let asked = Instant::now();
    let mut clients: Vec<Client> = profiles
        .iter()
        .enumerate()
        .map(|(machine, profile)| Client::start(&cluster.lab, machine, &cluster.text_for(profile, 0)))
        .collect();
    for client in &mut clients {
        wait_until("each client to be let in by the other host", 2 * MOVE, || {
            assert!(client.runs(), "a fault of ours ends no client");
            client.connects() > 0
        });
        assert_eq!(client.remote(), cluster.hosts[1].inet());
    }
    eprintln!("a host without an answer: the last newcomer was let in elsewhere after {:?}", asked.elapsed());
    cluster.hosts[0].thaw();
    cluster.wait_all_on(&all, 1);
    assert_all_stay(&mut clients);
    cluster.wait_all_on(&all, 1);
}

#[test]
fn whoever_changed_hosts_while_the_database_was_away_stays() {
    let cluster = Cluster::of_two_hosts();
    let profiles = ["anna", "bert", "carl"].map(|name| cluster.user_with_profile(name));
    let mut clients: Vec<Client> = profiles
        .iter()
        .enumerate()
        .map(|(machine, profile)| cluster.connect_to(machine, profile, machine % 2))
        .collect();
    for (machine, profile) in profiles.iter().enumerate() {
        cluster.wait_session_on(profile, &cluster.hosts[machine % 2]);
    }
    for (round, dies) in [true, false].into_iter().enumerate() {
        // Dead, and frozen: then what hosts have sent to it is carried out late.
        let away = Instant::now();
        if dies {
            cluster.lab.mongod().kill(0);
        } else {
            cluster.lab.mongod().stop(0);
        }
        for (machine, profile) in profiles.iter().enumerate() {
            clients.remove(machine).vanish();
            clients.insert(machine, cluster.connect_to(machine, profile, (machine + round + 1) % 2));
        }
        wait_until("five seconds without the database", MOVE, || away.elapsed() > Duration::from_secs(5));
        if dies {
            cluster.lab.mongod().restart(0);
        } else {
            cluster.lab.mongod().cont(0);
        }
        for (machine, profile) in profiles.iter().enumerate() {
            let host = &cluster.hosts[(machine + round + 1) % 2];
            let id = wait_for("the API to answer again", MOVE, || {
                let hosts = cluster.api(0).send("GET", "/hosts", None, "application/json").ok()?;
                (hosts.status == 200).then(|| cluster.host_id(host))
            });
            wait_until("the session to be listed where it is, and nowhere else", MOVE, || {
                let sessions = cluster.sessions(profile);
                sessions.len() == 1 && sessions[0]["host_id"] == id.as_str()
            });
        }
        assert_all_stay(&mut clients);
    }
}

#[test]
fn of_two_devices_with_one_profile_the_one_that_came_first_is_told_and_ends() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let [first, second] = [0, 1].map(|host: usize| only(&profile.text, cluster.hosts[host].inet()));
    let mut first = Client::connect(&cluster.lab, 0, &first);
    cluster.wait_session_on(&profile, &cluster.hosts[0]);
    // Nothing in what follows may depend on which of them has just begun.
    let since = Instant::now();
    wait_until("the first device to be there for a while", MOVE, || since.elapsed() > Duration::from_secs(4));
    let mut second = Client::connect(&cluster.lab, 1, &second);
    wait_until("the first device to end", MOVE, || !first.runs());
    assert!(first.heard("connected from another place") > 0, "it is told why");
    cluster.wait_session_on(&profile, &cluster.hosts[1]);
    assert_stays("the second device stays", Duration::from_secs(20), || second.runs() && second.connects() == 1);
}

#[test]
fn a_laptop_whose_clock_is_a_day_behind_reaches_a_fresh_host_by_a_fresh_profile() {
    let cluster = Cluster::start(1, 1);
    let profile = cluster.user_with_profile("anna");
    let day = SignedDuration::from_hours(24);
    let yesterday = || (SystemClock.now() - day).strftime("%Y-%m-%d").to_string();
    let began = yesterday();
    let mut client = Client::start_at_another_time(&cluster.lab, 0, &profile.text, -day.as_secs());
    wait_until("the client to connect (its log is below)", MOVE, || {
        assert!(client.runs(), "the client ended instead of connecting (its log is below)");
        client.connects() > 0
    });
    let said = client.text();
    assert!([began, yesterday()].iter().any(|day| said.starts_with(day)), "its clock is behind: {said}");
    cluster.probe(0).wait_up(Instant::now(), MOVE);
    cluster.wait_session_on(&profile, &cluster.hosts[0]);
}
