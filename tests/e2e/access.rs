//! Who gets in, to what, and how fast he is out again.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, only, remotes};
use crate::cluster::{Cluster, LISTED, id};
use crate::lab::{OTHER_PAGE, PAGE};
use crate::page::{Knock, fetch, knock};
use crate::wait::{assert_stays, wait_for, wait_until};

/// An end that was ordered has to be there within this; design asks for one second, the machine may be busy.
const ORDERED: Duration = Duration::from_secs(5);
/// Long enough for a client that was thrown out to come back, if it could.
const PROOF: Duration = Duration::from_secs(4);
const FETCH: Duration = Duration::from_secs(10);
/// How far apart two connections are of which one is surely the newer.
const SURELY: Duration = Duration::from_secs(4);

#[test]
fn a_profile_names_both_hosts_and_leads_to_the_page_through_either() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let mut named = remotes(&profile.text);
    named.sort();
    assert_eq!(named, [cluster.hosts[0].inet(), cluster.hosts[1].inet()], "{}", profile.text);
    assert!(profile.text.lines().any(|line| line == "remote-random"), "{}", profile.text);

    for host in &cluster.hosts {
        let client = Client::connect(&cluster.lab, 0, &only(&profile.text, host.inet()));
        assert_eq!(client.tunnel().1, profile.address, "the address of the profile, also on {}", host.name());
        wait_until(&format!("the page by way of {}", host.name()), FETCH, || {
            fetch(cluster.lab.client(0), PAGE) == Some(host.lan().into())
        });
        let session = cluster.wait_session_on(&profile, host);
        assert_eq!(session["address"], profile.address.to_string(), "{session}");
        assert_eq!(session["server_id"], cluster.server.as_str(), "{session}");
        let id = session["id"].clone();
        // Bytes are counted now and then, so the list follows a little later.
        let counted = wait_for("bytes of the session, both ways", LISTED * 2, || {
            fetch(cluster.lab.client(0), PAGE);
            let session = cluster.sessions(&profile).into_iter().next()?;
            let both = ["bytes_received", "bytes_sent"].iter().all(|bytes| session[bytes].as_u64() > Some(0));
            both.then_some(session)
        });
        assert_eq!(counted["id"], id, "one session all the time");
        client.stop();
        wait_until("the session to be listed no more", LISTED, || cluster.sessions(&profile).is_empty());
    }
}

#[test]
fn the_order_of_hosts_differs_between_profiles() {
    let cluster = Cluster::of_two_hosts();
    let first: Vec<Ipv4Addr> =
        (0..16).map(|number| remotes(&cluster.user_with_profile(&format!("user{number}")).text)[0]).collect();
    // Sixteen fair coins all on one side: 1 in 32,768.
    for host in &cluster.hosts {
        assert!(first.contains(&host.inet()), "no profile of 16 names {} first", host.name());
    }
}

#[test]
fn a_disabled_user_is_out_on_another_host_and_in_again_when_enabled() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, host) = cluster.connect(&profile);
    let other = cluster.api(1 - host);
    let user = format!("/users/{}", profile.user);

    let moment = Instant::now();
    other.patch(&user, &json!({ "disabled": true }));
    let answered = moment.elapsed();
    let gone = probe.wait_gone(moment, ORDERED);
    eprintln!("disable: answered after {answered:?}, the page gone {gone:?} after the request (probes every 100 ms)");
    probe.assert_stays_gone(PROOF);
    wait_until("the session to be listed no more", LISTED, || cluster.sessions(&profile).is_empty());
    wait_until("the client to hear that it is refused", LISTED, || client.was_refused() || !client.runs());
    client.stop();

    let refused = Client::start(&cluster.lab, 0, &profile.text);
    wait_until("a fresh start to be refused", Duration::from_secs(20), || refused.was_refused());
    assert_eq!(refused.connects(), 0, "a fresh start does not get in");
    probe.assert_stays_gone(Duration::from_secs(1));
    refused.stop();

    other.patch(&user, &json!({ "disabled": false }));
    let moment = Instant::now();
    let _client = Client::connect_soon(&cluster.lab, 0, &profile.text);
    probe.wait_up(moment, FETCH);
}

#[test]
fn an_ended_session_is_gone_until_the_client_is_started_again() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, host) = cluster.connect(&profile);
    let session = id(&cluster.wait_session_on(&profile, &cluster.hosts[host]));

    let moment = Instant::now();
    cluster.api(1 - host).act(&format!("/sessions/{session}/end"));
    let gone = probe.wait_gone(moment, ORDERED);
    eprintln!("end of a session: the page gone after {gone:?}");
    wait_until("the session to be listed no more", LISTED, || cluster.sessions(&profile).is_empty());
    wait_until("the client to hear why", LISTED, || client.was_refused() || !client.runs());
    client.stop();

    let moment = Instant::now();
    let _client = Client::connect_soon(&cluster.lab, 0, &profile.text);
    probe.wait_up(moment, FETCH);
}

#[test]
fn a_revoked_profile_ends_and_the_users_other_profile_goes_on() {
    let cluster = Cluster::of_two_hosts();
    let user = cluster.user("anna");
    let [lost, kept] = ["laptop", "phone"].map(|name| cluster.profile(&user, name));
    assert_ne!(lost.address, kept.address);
    let mut lost_client = Client::connect(&cluster.lab, 0, &lost.text);
    let kept_client = Client::connect(&cluster.lab, 1, &kept.text);
    let (lost_probe, kept_probe) = (cluster.probe(0), cluster.probe(1));
    let moment = Instant::now();
    lost_probe.wait_up(moment, FETCH);
    kept_probe.wait_up(moment, FETCH);

    let moment = Instant::now();
    let revoked = cluster.api(0).act(&format!("/profiles/{}/revoke", lost.id));
    assert_eq!(revoked["state"], "revoked", "{revoked}");
    let gone = lost_probe.wait_gone(moment, ORDERED);
    eprintln!("revoke: the page gone after {gone:?}");
    lost_probe.assert_stays_gone(PROOF);
    wait_until("the client to be refused", LISTED, || lost_client.was_refused() || !lost_client.runs());
    assert_eq!(lost_client.connects(), 1, "it did not come back");
    assert_eq!(kept_client.connects(), 1, "the other profile was not disturbed");
    eprintln!("revoke: longest gap of the other profile {:?}", kept_probe.longest_gap(moment));
    assert!(kept_probe.longest_gap(moment) < Duration::from_secs(2));
    assert_eq!(cluster.sessions(&kept).len(), 1);

    lost_client.stop();
    let again = Client::start(&cluster.lab, 0, &lost.text);
    wait_until("a fresh start to be refused", Duration::from_secs(20), || again.was_refused());
    assert_eq!(again.connects(), 0);
}

#[test]
fn the_newer_of_two_connections_of_one_profile_wins_across_hosts() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let [first, second] = [0, 1].map(|host| only(&profile.text, cluster.hosts[host].inet()));
    let older = Client::connect(&cluster.lab, 0, &first);
    let probe = cluster.probe(0);
    probe.wait_via(cluster.hosts[0].lan(), Instant::now(), FETCH);
    // Of connections that begin within the same moment, none is surely the newer one, and both go on.
    let since = Instant::now();
    wait_until("the older one to be surely older", FETCH, || since.elapsed() > SURELY);

    let moment = Instant::now();
    let newer = Client::connect(&cluster.lab, 1, &second);
    let gone = probe.wait_gone(moment, LISTED);
    eprintln!("newest wins: the older one lost the page {gone:?} after the newer one was started");
    let newer_probe = cluster.probe(1);
    newer_probe.wait_via(cluster.hosts[1].lan(), moment, FETCH);
    cluster.wait_session_on(&profile, &cluster.hosts[1]);
    // They must not throw each other out in turns.
    probe.assert_stays_gone(PROOF);
    assert_eq!(older.connects(), 1, "the older one did not come back");
    assert_eq!(newer.connects(), 1, "the newer one was not disturbed");
    cluster.wait_session_on(&profile, &cluster.hosts[1]);
}

#[test]
fn the_tunnel_leads_to_the_servers_routes_and_nowhere_else() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (client, _probe, number) = cluster.connect(&profile);
    let host = &cluster.hosts[number];
    let (device, _) = client.tunnel();
    let inside = cluster.lab.client(0);

    // A client that is not content with the routes it is given.
    inside.ip(&format!("route replace {OTHER_PAGE}/32 dev {device}\nroute replace 10.92.0.0/24 dev {device}\n"));
    assert_eq!(fetch(&host.machine().namespace, OTHER_PAGE), Some(host.lan().into()), "the host itself reaches it");
    assert_eq!(fetch(inside, OTHER_PAGE), None, "an address outside of the server's routes");

    let gateway = Ipv4Addr::new(10, 200, 0, 1);
    for (what, address) in [
        ("the host's address in the tunnel", gateway),
        ("the host's address on the private network", host.lan()),
        ("the host's address on the management network", host.machine().core),
    ] {
        for port in [9443, 9600] {
            assert_ne!(knock(inside, (address, port).into()), Knock::Open, "{what}, port {port}");
        }
    }
    let database = (Ipv4Addr::new(10, 92, 0, 2), cluster.lab.mongod().port(0)).into();
    assert_eq!(knock(&host.machine().namespace, database), Knock::Open, "the host itself reaches the database");
    assert_ne!(knock(inside, database), Knock::Open, "the database");

    // All of this was about the tunnel, which still works.
    assert_stays("the page stays within reach", Duration::from_millis(300), || fetch(inside, PAGE).is_some());
}
