//! What people notice when a part of the cluster dies, is stopped, or is started again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::cluster::{Cluster, LISTED, user_body};
use crate::openvpn::OpenVpn;
use crate::wait::wait_until;

/// A crash costs about 8 s with the defaults; the machine may be busy.
const CRASH: Duration = Duration::from_secs(40);
/// A gap that nobody notices. Fetches are 100 ms apart, and a busy machine delays some.
const ORDINARY: Duration = Duration::from_millis(1500);

#[test]
fn a_crash_of_the_host_costs_its_client_a_pause_and_nothing_else() {
    crash(OpenVpn::Installed);
}

#[test]
fn a_crash_among_openvpn_2_7_costs_no_more() {
    crash(OpenVpn::V27);
}

/// Hosts and client are of one generation.
fn crash(openvpn: OpenVpn) {
    let mut cluster = Cluster::of_two_hosts_running(openvpn);
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, host) = cluster.connect_of(openvpn, &profile);
    let before = client.tunnel();

    let moment = Instant::now();
    cluster.hosts[host].crash();
    probe.wait_via(cluster.hosts[1 - host].lan(), moment, CRASH);
    eprintln!("crash, {openvpn}: the page was away for {:?}", probe.longest_gap(moment));
    assert!(client.runs(), "the same client process");
    assert_eq!(client.tunnel(), before, "the same device and address");
    assert_eq!(before.1, profile.address);
    assert_eq!(client.remote(), cluster.hosts[1 - host].inet());
    // The dead host cannot write that its session ended; the session must be listed once, and where it is.
    let survivor = cluster.host_id(&cluster.hosts[1 - host]);
    wait_until("the session on the other host, and only there", Duration::from_mins(1), || {
        let sessions = cluster.sessions(&profile);
        sessions.len() == 1 && sessions[0]["host_id"] == survivor.as_str()
    });
}

#[test]
fn a_daemon_that_is_told_to_end_hands_its_clients_on() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, host) = cluster.connect(&profile);
    let before = client.tunnel();

    let moment = Instant::now();
    cluster.hosts[host].signal_daemons(Signal::TERM);
    wait_until("the client to connect again", CRASH, || client.connects() > 1);
    let again = Instant::now();
    probe.wait_up(again, CRASH);
    let way = if client.remote() == cluster.hosts[host].inet() { "the same host" } else { "the other host" };
    eprintln!("SIGTERM to the daemon: back by {way}, the page was away for {:?}", probe.longest_gap(moment));
    assert!(client.runs(), "the same client process");
    assert_eq!(client.tunnel(), before, "the same device and address");
    cluster.wait_running(&cluster.hosts[host]);
}

#[test]
fn a_killed_daemon_is_started_again() {
    let cluster = Cluster::of_two_hosts();
    let host = &cluster.hosts[1];
    let before = host.daemons();
    assert_eq!(before.len(), 1, "one server, one daemon");

    let moment = Instant::now();
    host.signal_daemons(Signal::KILL);
    wait_until("a new daemon", CRASH, || host.daemons().iter().any(|pid| !before.contains(pid)));
    eprintln!("SIGKILL to the daemon: a new process after {:?}", moment.elapsed());
    cluster.wait_running(host);
    assert_eq!(host.daemons().len(), 1, "one daemon, the new one");
    // It is not only listed, it serves.
    let profile = cluster.user_with_profile("anna");
    let text = crate::client::only(&profile.text, host.inet());
    let _client = crate::client::Client::connect(&cluster.lab, 0, &text);
    let probe = cluster.probe(0);
    probe.wait_via(host.lan(), Instant::now(), LISTED);
}

#[test]
fn a_restart_of_postern_goes_unnoticed() {
    restart_postern_beneath(OpenVpn::Installed);
}

#[test]
fn a_restart_of_postern_over_openvpn_2_7_goes_unnoticed() {
    restart_postern_beneath(OpenVpn::V27);
}

fn restart_postern_beneath(openvpn: OpenVpn) {
    let mut cluster = Cluster::of_two_hosts_running(openvpn);
    let profile = cluster.user_with_profile("anna");
    let (client, probe, host) = cluster.connect(&profile);
    let session = cluster.sessions(&profile)[0]["id"].clone();
    let daemons = cluster.hosts[host].daemons();

    for crash in [false, true] {
        let moment = Instant::now();
        if crash {
            cluster.hosts[host].kill();
        } else {
            let took = cluster.hosts[host].terminate();
            eprintln!("SIGTERM to postern: ended after {took:?}");
        }
        let stopped = Instant::now();
        probe.wait_up(stopped, Duration::from_secs(5));
        assert_eq!(cluster.hosts[host].daemons(), daemons, "the daemon outlives Postern");

        cluster.hosts[host].start();
        cluster.hosts[host].wait_ready();
        cluster.wait_running(&cluster.hosts[host]);
        let ready = Instant::now();
        probe.wait_up(ready, Duration::from_secs(5));
        let gap = probe.longest_gap(moment);
        let kind = if crash { "SIGKILL" } else { "SIGTERM" };
        eprintln!("{kind} and start of postern: longest gap {gap:?}, failed fetches {}", probe.failures(moment));
        assert!(gap < ORDINARY, "people noticed: {gap:?}");
        assert_eq!(cluster.hosts[host].daemons(), daemons, "the same daemon, adopted");
        assert_eq!(client.connects(), 1, "the client did not connect again");
        let listed = cluster.wait_session_on(&profile, &cluster.hosts[host]);
        assert_eq!(listed["id"], session, "the same session");
    }

    // An adopted daemon is not only left alone: its sessions can be ended.
    let moment = Instant::now();
    cluster.api(1 - host).patch(&format!("/users/{}", profile.user), &serde_json::json!({ "disabled": true }));
    let gone = probe.wait_gone(moment, Duration::from_secs(5));
    eprintln!("disable on an adopted daemon ({openvpn}): the page gone after {gone:?}");
    probe.assert_stays_gone(Duration::from_secs(4));
}

#[test]
fn a_host_that_restarts_while_the_database_is_away_still_lets_people_in() {
    let mut cluster = Cluster::start(1, 1);
    let profile = cluster.user_with_profile("anna");
    cluster.hosts[0].terminate();
    cluster.lab.mongod().kill(0);
    cluster.hosts[0].start();

    let moment = Instant::now();
    let client = Client::connect_soon(&cluster.lab, 0, &profile.text);
    let probe = cluster.probe(0);
    probe.wait_up(moment, CRASH);
    assert_eq!(client.tunnel().1, profile.address);

    // What happened meanwhile is written down when the database returns.
    cluster.lab.mongod().restart(0);
    cluster.hosts[0].wait_ready();
    cluster.wait_session_on(&profile, &cluster.hosts[0]);
    assert_eq!(client.connects(), 1, "the return of the database disturbs nobody");
}

#[test]
fn the_death_of_the_primary_drops_nobody_and_loses_nothing_that_was_answered() {
    const MEMBERS: usize = 3;
    /// Users made before the primary dies, and at least as many after.
    const SOME: usize = 10;
    let cluster = Cluster::start(2, MEMBERS);
    let profile = cluster.user_with_profile("anna");
    let (client, probe, host) = cluster.connect(&profile);
    let session = cluster.sessions(&profile)[0]["id"].clone();
    let daemons = cluster.hosts[host].daemons();

    let moment = Instant::now();
    let stop = AtomicBool::new(false);
    let made = std::sync::Mutex::new(Vec::<(Instant, String)>::new());
    let unclear = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let api = cluster.api(0);
            let mut unclear = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // A pace that leaves the machine time for everybody else.
                std::thread::sleep(Duration::from_millis(20));
                let body = user_body(&cluster.organization, &format!("user{number}"));
                match api.send("POST", "/users", Some(&body), "application/json") {
                    Ok(answer) if answer.status == 201 => {
                        made.lock().unwrap().push((Instant::now(), crate::cluster::id(&answer.json())));
                    }
                    Ok(answer) if answer.status < 500 => panic!("a create was refused: {answer:?}"),
                    Ok(answer) => unclear.push(format!("{}: {}", answer.status, answer.body)),
                    Err(error) => unclear.push(error),
                }
            }
            unclear
        });
        // Whatever fails below, the writer has to end, or the scope would wait for ever.
        let _stop = StopOnDrop(&stop);
        let count = |after: Instant| made.lock().unwrap().iter().filter(|(at, _)| *at >= after).count();
        wait_until("the first creates", Duration::from_secs(30), || count(moment) >= SOME);
        let primary = cluster.lab.primary(MEMBERS).expect("the set has a primary");
        let death = Instant::now();
        cluster.lab.mongod().kill(primary);
        wait_until("creates after the death of the primary", Duration::from_mins(1), || count(death) >= SOME);
        let pause = made.lock().unwrap().windows(2).map(|two| two[1].0 - two[0].0).max().unwrap_or_default();
        eprintln!("death of the primary: the longest pause between two creates was {pause:?}");
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });

    let made = made.into_inner().unwrap();
    let listed: Vec<Value> = cluster.api(1).list(&format!("/users?organization_id={}", cluster.organization));
    let lost: Vec<_> = made.iter().filter(|(_, id)| !listed.iter().any(|user| user["id"] == id.as_str())).collect();
    eprintln!("death of the primary: {} creates acknowledged, {} not: {unclear:?}", made.len(), unclear.len());
    assert!(lost.is_empty(), "{} of {} acknowledged users are lost: {lost:?}", lost.len(), made.len());

    let gap = probe.longest_gap(moment);
    eprintln!("death of the primary: longest gap of the page {gap:?}");
    assert!(gap < ORDINARY, "people noticed: {gap:?}");
    assert_eq!(client.connects(), 1, "nobody was dropped");
    assert_eq!(cluster.hosts[host].daemons(), daemons);
    let after = cluster.wait_session_on(&profile, &cluster.hosts[host]);
    assert_eq!(after["id"], session, "the same session");
    // The hosts hear of changes again.
    let disabled = Instant::now();
    cluster.api(1 - host).patch(&format!("/users/{}", profile.user), &serde_json::json!({ "disabled": true }));
    let gone = probe.wait_gone(disabled, Duration::from_secs(10));
    eprintln!("death of the primary: a disable afterwards took {gone:?}");
}

/// Ends a loop of another thread also when this one panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
