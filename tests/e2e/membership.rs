//! Hosts that come and go.

use std::time::{Duration, Instant};

use crate::client::remotes;
use crate::cluster::{Cluster, LISTED};
use crate::wait::wait_until;

#[test]
fn a_detached_host_hands_its_sessions_on_and_cleans_up() {
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let (mut client, probe, host) = cluster.connect(&profile);
    let (left, other) = (&cluster.hosts[host], &cluster.hosts[1 - host]);
    let before = client.tunnel();
    assert!(left.firewall().contains("postern"), "Postern's table:\n{}", left.firewall());

    let moment = Instant::now();
    cluster.api(1 - host).delete(&format!("/servers/{}/hosts/{}", cluster.server, cluster.host_id(left)));
    probe.wait_via(other.lan(), moment, Duration::from_secs(40));
    eprintln!("detach: the page was away for {:?}", probe.longest_gap(moment));
    assert!(client.runs(), "the same client process");
    assert_eq!(client.tunnel(), before, "the same device and address");
    cluster.wait_session_on(&profile, other);

    wait_until("the daemon of the detached host to end", Duration::from_secs(30), || left.daemons().is_empty());
    wait_until("the detached host's firewall to forget the server", LISTED, || !left.firewall().contains("10.200.0.0"));
    assert_eq!(remotes(&cluster.user_with_profile("bert").text), [other.inet()], "new profiles name who is attached");
    // Detaching what is not attached is no error.
    cluster.api(0).delete(&format!("/servers/{}/hosts/{}", cluster.server, cluster.host_id(left)));
}

#[test]
fn a_new_host_needs_the_database_and_the_key_and_is_attached_by_one_request() {
    let mut cluster = Cluster::of_two_hosts();
    let early = cluster.user_with_profile("anna");
    let moment = Instant::now();
    cluster.add_host();
    let third = &cluster.hosts[2];
    let id = cluster.host_id(third);
    eprintln!("new host: listed {:?} after its start", moment.elapsed());
    wait_until("the new host to be online", LISTED, || {
        cluster.api(0).get(&format!("/hosts/{id}"))["state"] == "online"
    });
    let named = cluster.api(0).get(&format!("/hosts/{id}"));
    assert_eq!(named["public_address"], third.inet().to_string(), "{named}");
    assert!(third.daemons().is_empty(), "nothing runs where nothing is attached");
    assert_eq!(remotes(&cluster.user_with_profile("bert").text).len(), 2, "only attached hosts are named");

    let moment = Instant::now();
    cluster.attach(third);
    cluster.wait_running(third);
    eprintln!("new host: running {:?} after the request", moment.elapsed());
    // Twice is no error.
    cluster.attach(third);

    let late = cluster.user_with_profile("carl");
    let mut named = remotes(&late.text);
    named.sort();
    let all: Vec<_> = cluster.hosts.iter().map(super::host::Host::inet).collect();
    assert_eq!(named, all, "the three attached hosts, each once");
    // Profiles from before are good on it, too.
    let only = early.text.replace(&cluster.hosts[0].inet().to_string(), &third.inet().to_string());
    let client = crate::client::Client::connect(&cluster.lab, 0, &crate::client::only(&only, third.inet()));
    assert_eq!(client.tunnel().1, early.address);
    cluster.probe(0).wait_via(third.lan(), Instant::now(), LISTED);
}
