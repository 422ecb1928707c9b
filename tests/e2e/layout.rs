//! The laboratory itself: that the page is where it should be and nowhere else. Without this, a test that finds the
//! page out of reach, or in reach, would say nothing about Postern.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::lab::{LAN, Lab, OTHER_PAGE, PAGE};
use crate::netns::Namespace;
use crate::page::{Knock, Probe, fetch, knock};
use crate::wait::wait_until;

#[test]
fn hosts_reach_the_private_pages_and_clients_do_not() {
    let lab = Lab::new(None);
    for host in lab.machines() {
        assert_eq!(fetch(&host.namespace, PAGE), Some(host.lan.into()), "{} reaches the page", host.name);
        assert_eq!(fetch(&host.namespace, OTHER_PAGE), Some(host.lan.into()), "{} reaches the other page", host.name);
    }
    let host = (lab.machines()[0].inet, 1).into();
    assert_eq!(knock(lab.client(0), host), Knock::Refused, "a client reaches a host");
    for page in [PAGE, OTHER_PAGE] {
        assert_eq!(fetch(lab.client(0), page), None, "a client alone does not reach {page}");
        // Not even where a router leads there: nothing on the private network answers a stranger.
        lab.client(0).ip(&format!("route add {page}/32 via {}\n", lab.machines()[0].inet));
        forward(&lab.machines()[0].namespace);
        assert_eq!(fetch(lab.client(0), page), None, "without masquerade nothing comes back from {page}");
    }
}

#[test]
fn a_tunnel_made_by_hand_reaches_the_page_once_its_host_masquerades() {
    let lab = Lab::new(None);
    let host = &lab.machines()[0];
    let client = lab.client(0);
    let key = lab.folder().join("static.key");
    let key = key.to_str().unwrap();
    host.namespace.run("openvpn", &["--genkey", "secret", key]);
    let remote = host.inet.to_string();
    let _tunnel = [
        peer(&lab, &host.namespace, key, &["--ifconfig", "10.200.0.1", "10.200.0.2"]),
        peer(&lab, client, key, &["--remote", &remote, "--ifconfig", "10.200.0.2", "10.200.0.1"]),
    ];
    wait_until("the tunnel's own addresses", Duration::from_secs(10), || {
        knock(client, ([10, 200, 0, 1], 1).into()) == Knock::Refused
    });
    client.ip(&format!("route add {LAN} via 10.200.0.1\n"));
    forward(&host.namespace);

    let probe = Probe::start(client, PAGE);
    probe.assert_stays_gone(Duration::from_millis(700));
    let masquerade = "add table ip lab; add chain ip lab post { type nat hook postrouting priority 100; }; \
                      add rule ip lab post oifname lan masquerade";
    host.namespace.run("nft", &[masquerade]);
    let moment = Instant::now();
    probe.wait_via(host.lan, moment, Duration::from_secs(5));
    host.namespace.run("nft", &["delete table ip lab"]);
    probe.wait_gone(Instant::now(), Duration::from_secs(5));
    assert!(probe.longest_gap(moment) > Duration::from_millis(300), "the probe saw the gap");
}

/// Makes a router of a machine; the switch is one per network namespace.
fn forward(namespace: &Namespace) {
    namespace.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
}

fn peer(lab: &Lab, namespace: &Namespace, key: &str, args: &[&str]) -> Peer {
    let child = namespace
        .command("openvpn")
        .args(["--dev", "tun", "--secret", key, "--cipher", "AES-256-CBC", "--log"])
        .arg(lab.log(namespace.name()))
        .args(args)
        .spawn()
        .unwrap();
    Peer(child)
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_database_of_three_survives_its_primary() {
    let mut lab = Lab::new(None);
    lab.start_database(3);
    let primary = lab.primary(3).expect("a primary");
    lab.mongod().kill(primary);
    wait_until("another primary", Duration::from_secs(30), || lab.primary(3).is_some_and(|member| member != primary));
}
