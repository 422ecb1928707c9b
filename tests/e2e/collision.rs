//! A server whose network is one that a host needs for itself.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::text_of;
use crate::cluster::{Cluster, id};
use crate::page::{Knock, knock};
use crate::wait::{assert_stays, wait_for, wait_until};

const NOTICED: Duration = Duration::from_secs(40);

#[test]
fn a_network_that_a_host_needs_is_refused_there_and_locks_nobody_out() {
    let mut cluster = Cluster::of_two_hosts();
    let database = (Ipv4Addr::new(10, 92, 0, 2), cluster.lab.mongod().port(0)).into();
    let state = |cluster: &Cluster, host: &str, server: &str| -> Value {
        let found = cluster.any_api().list(&format!("/servers/{server}/hosts"));
        found.into_iter().find(|item| item["host_id"] == host).unwrap_or_default()
    };
    let ids = [0, 1].map(|host| cluster.host_id(&cluster.hosts[host]));

    // The way to the database, the private network, an address of its own, and a part of a network that it is in.
    let networks = [
        ("10.92.0.0/16", "the address 10.92.0.2 of the database"),
        ("10.93.0.0/24", "10.93.0.1"),
        ("203.0.113.128/25", "the machine's own network 203.0.113.0/24"),
    ];
    for (number, (network, named)) in networks.into_iter().enumerate() {
        let body = json!({ "name": format!("bad{number}"), "network": network, "port": 1300 + number, "protocol": "udp",
            "organization_ids": [cluster.organization] });
        let server = id(&cluster.any_api().post("/servers", &body));
        for host in &ids {
            cluster.any_api().put(&format!("/servers/{server}/hosts/{host}"));
        }
        for (host, id) in cluster.hosts.iter().zip(&ids) {
            let told = wait_for(&format!("{network} to fail on {}", host.name()), NOTICED, || {
                Some(state(&cluster, id, &server)).filter(|found| found["state"] == "failed")
            });
            let detail = told["detail"].as_str().unwrap();
            assert!(detail.contains(named) && detail.contains(network), "{detail}");
            assert!(host.read_log().contains("network_collision"));
        }
        assert_stays("the hosts reach their database", Duration::from_secs(1), || {
            cluster.hosts.iter().all(|host| knock(&host.machine().namespace, database) == Knock::Open)
        });
    }
    // A restart reads the same policy from the disk before it has asked anybody.
    cluster.hosts[1].terminate();
    cluster.hosts[1].start();
    cluster.hosts[1].wait_ready();
    cluster.wait_running(&cluster.hosts[1]);
    for host in &cluster.hosts {
        let devices = host.machine().namespace.run("ls", &["/sys/class/net"]);
        assert_eq!(devices.matches("pst-").count(), 1, "one server runs, with its device: {devices}");
        assert_eq!(knock(&host.machine().namespace, database), Knock::Open);
        assert!(text_of(&host.machine().namespace, "http://127.0.0.1:9600/healthz").is_some());
    }
}

#[test]
fn a_server_starts_by_itself_once_its_network_is_free() {
    let cluster = Cluster::start(1, 1);
    let host = &cluster.hosts[0];
    host.machine().namespace.ip("address add 10.210.4.1/24 dev lan\n");
    let body = json!({ "name": "branch", "network": "10.210.0.0/16", "port": 1301, "protocol": "udp",
        "organization_ids": [cluster.organization] });
    let server = id(&cluster.any_api().post("/servers", &body));
    let path = format!("/servers/{server}/hosts");
    cluster.any_api().put(&format!("{path}/{}", cluster.host_id(host)));
    let found = || cluster.any_api().list(&path)[0].clone();
    wait_until("the attachment to fail", NOTICED, || found()["state"] == "failed");
    let detail = found()["detail"].clone();
    assert!(detail.as_str().unwrap().contains("the machine's own address 10.210.4.1"), "{detail}");
    host.machine().namespace.ip("address del 10.210.4.1/24 dev lan\n");
    wait_until("the attachment to run", NOTICED, || found()["state"] == "running");
}
