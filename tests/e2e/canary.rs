//! Hosts that look at each other from outside: a door that is shut in front of a daemon is seen from another host and
//! nowhere else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::text_of;
use crate::cluster::Cluster;
use crate::host::Host;
use crate::joining::join_third;
use crate::lab::Lab;
use crate::wait::{wait_for, wait_until};

/// Hosts look about once a minute; the machine may be busy.
const SEEN: Duration = Duration::from_mins(3);

/// What is seen of the server on a host.
fn reached(cluster: &Cluster, host: &Host) -> Value {
    let id = cluster.host_id(host);
    let hosts = cluster.any_api().list(&format!("/servers/{}/hosts", cluster.server));
    hosts.into_iter().find(|found| found["host_id"] == id.as_str()).map(|mut found| found["reached"].take()).unwrap()
}

/// Waits until a host is seen so, by `protocol`.
#[track_caller]
fn wait_seen(cluster: &Cluster, host: &Host, protocol: &str, ok: bool) -> Value {
    wait_for(&format!("{} to be seen: {ok}", host.name()), SEEN, || {
        Some(reached(cluster, host)).filter(|seen| seen["ok"] == ok && seen["protocol"] == protocol)
    })
}

/// What the numbers of `by` say of a host, if anything.
fn number(by: &Host, target: &Host, protocol: &str) -> Option<f64> {
    let text = text_of(&by.machine().namespace, "http://127.0.0.1:9600/metrics")?;
    let series = format!("postern_probe_success{{target=\"{}\",proto=\"{protocol}\"}} ", target.name());
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

#[test]
fn a_shut_door_is_seen_from_the_other_host_and_so_is_its_opening() {
    let cluster = Cluster::of_two_hosts();
    let [looks, seen] = [&cluster.hosts[0], &cluster.hosts[1]];
    for (by, host) in [(looks, seen), (seen, looks)] {
        let reached = wait_seen(&cluster, host, "udp", true);
        assert_eq!(reached["by"], cluster.host_id(by), "{reached}");
        assert_eq!((&reached["address"], &reached["port"]), (&json!(host.inet()), &json!(1194)), "{reached}");
        wait_until("it in the numbers", SEEN, || number(by, host, "udp") == Some(1.0));
    }

    // As a security group does: nothing comes through, and nobody is told.
    let firewall = "add table inet door; add chain inet door shut { type filter hook input priority -300; }; \
                    add rule inet door shut iifname \"inet\" udp dport 1194 drop";
    seen.machine().namespace.run("nft", &[firewall]);
    let shut = wait_seen(&cluster, seen, "udp", false);
    assert_eq!(shut["detail"], "no answer within 3 s");
    wait_until("it in the numbers", SEEN, || number(looks, seen, "udp") == Some(0.0));
    wait_seen(&cluster, looks, "udp", true);

    seen.machine().namespace.run("nft", &["delete table inet door"]);
    wait_seen(&cluster, seen, "udp", true);

    // The same by TCP. To nobody it looks as if somebody had connected.
    cluster.any_api().patch(&format!("/servers/{}", cluster.server), &json!({ "protocol": "tcp" }));
    for host in [looks, seen] {
        wait_seen(&cluster, host, "tcp", true);
        assert!(!host.log().contains("vpn.connect"), "a look is no attempt to connect");
    }
    assert!(cluster.any_api().list("/sessions").is_empty());
}

#[test]
fn a_joined_host_looks_and_is_looked_at_with_its_own_database_user() {
    let mut cluster = Cluster::start_in(Lab::new(None).asking(), 1, 1);
    let third = join_third(&cluster);
    cluster.hosts.push(third);
    for (by, host) in [(0, 1), (1, 0)] {
        let reached = wait_seen(&cluster, &cluster.hosts[host], "udp", true);
        assert_eq!(reached["by"], cluster.host_id(&cluster.hosts[by]), "{reached}");
    }
}
