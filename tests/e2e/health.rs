//! What is wrong with a host, told alike by `/readyz`, the API, the command line and the public status page.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::text_of;
use crate::cluster::{Cluster, id};
use crate::host::Host;
use crate::wait::{wait_for, wait_until};

/// How long everybody may take to hear of it, on a busy machine.
const TOLD: Duration = Duration::from_mins(1);

/// The checks of a host that are not ok, by `/readyz?verbose`; `None` while it does not answer.
fn amiss(host: &Host) -> Option<Vec<String>> {
    let text = text_of(&host.machine().namespace, "http://127.0.0.1:9600/readyz?verbose")?;
    let health: Value = serde_json::from_str(&text).unwrap();
    let checks = health["checks"].as_array().unwrap().iter().filter(|check| check["state"] != "ok");
    Some(checks.map(|check| check["name"].as_str().unwrap().to_owned()).collect())
}

/// The state and the problems of a host, by the API.
fn listed(cluster: &Cluster, host: &Host) -> (String, Vec<String>) {
    let found = cluster.any_api().get(&format!("/hosts/{}", cluster.host_id(host)));
    let problems = found["problems"].as_array().unwrap();
    let codes = problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect();
    (found["state"].as_str().unwrap().to_owned(), codes)
}

/// The public status page of a host.
fn public_page(host: &Host) -> String {
    let url = format!("http://{}:8443/status", host.inet());
    text_of(&host.machine().namespace, &url).unwrap_or_default()
}

#[test]
fn a_daemon_that_cannot_start_and_a_drained_host_are_told_alike_everywhere() {
    let cluster = Cluster::of_two_hosts();
    let [well, ill] = [&cluster.hosts[0], &cluster.hosts[1]];
    for host in [well, ill] {
        wait_until(&format!("{} to be well", host.name()), TOLD, || amiss(host).is_some_and(|amiss| amiss.is_empty()));
        assert_eq!(listed(&cluster, host), ("online".to_owned(), Vec::new()));
    }
    wait_until("the page to say so", TOLD, || public_page(well).contains("2 of 2 ready"));

    // Somebody else has the port of a second server, on one host.
    let taken = ill.machine().namespace.enter(|| UdpSocket::bind(("0.0.0.0", 1195)).unwrap());
    let second = json!({
        "name": "second", "network": "10.201.0.0/16", "port": 1195, "protocol": "udp",
        "organization_ids": [cluster.organization],
    });
    let second = id(&cluster.any_api().post("/servers", &second));
    cluster.any_api().put(&format!("/servers/{second}/hosts/{}", cluster.host_id(ill)));
    let failed = ["daemon_failed".to_owned()];
    wait_until("the API to say so", TOLD, || listed(&cluster, ill).1 == failed);
    wait_until("/readyz to say so", TOLD, || amiss(ill).is_some_and(|amiss| amiss == failed));
    let problem = cluster.any_api().get(&format!("/hosts/{}", cluster.host_id(ill)))["problems"][0].clone();
    assert_eq!(problem["server_id"], second.as_str(), "{problem}");
    let page = wait_for("the page to say so", TOLD, || {
        Some(public_page(well)).filter(|page| page.contains("1 of 2 ready, 1 with a problem"))
    });
    assert!(!page.contains("Everything works"), "{page}");
    let (code, report) = ill.try_run(&["doctor", "--json"]);
    assert_eq!(code, Some(1), "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let reported = report["checks"].as_array().unwrap().iter().any(|check| check["code"] == "daemon_failed");
    assert!(reported, "{report}");
    assert_eq!(listed(&cluster, well).1, Vec::<String>::new());

    // The port is free again: the host helps itself.
    drop(taken);
    wait_until("the API to say so", TOLD, || listed(&cluster, ill).1.is_empty());
    wait_until("/readyz to say so", TOLD, || amiss(ill).is_some_and(|amiss| amiss.is_empty()));

    let path = format!("/hosts/{}/drain", cluster.host_id(well));
    cluster.any_api().post(&path, &json!({ "budget_seconds": 0 }));
    wait_until("/readyz to say so", TOLD, || amiss(well).is_some_and(|amiss| amiss == ["in_service"]));
    wait_until("the page to say so", TOLD, || public_page(ill).contains("1 of 2 ready, 1 out of service on purpose"));
    assert_eq!(listed(&cluster, well), ("draining".to_owned(), Vec::new()));
}
