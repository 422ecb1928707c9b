//! What a host tells of its clients: in its numbers, in its log and in its health.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{status_of, text_of};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::page::fetch;
use crate::wait::{wait_for, wait_until};

/// Traffic is counted every 15 s; the rest is there at once.
const COUNTED: Duration = Duration::from_mins(1);

#[test]
fn clients_are_counted_and_logged_one_line_for_each_attempt() {
    let cluster = Cluster::start(1, 1);
    let host = &cluster.hosts[0];
    let [anna, bob] = ["anna", "bob"].map(|name| cluster.user_with_profile(name));
    let _client = Client::connect(&cluster.lab, 0, &anna.text);
    cluster.wait_session_on(&anna, host);
    let numbers = || text_of(&host.machine().namespace, "http://127.0.0.1:9600/metrics").unwrap_or_default();
    cluster.any_api().act(&format!("/profiles/{}/revoke", bob.id));
    wait_until("the host to know of it", COUNTED, || numbers().contains("postern_profiles{state=\"revoked\"} 1.0\n"));
    let refused = Client::start(&cluster.lab, 1, &bob.text);
    wait_until("bob to be refused", COUNTED, || refused.was_refused());

    let expected = [
        "postern_vpn_connects_total{server=\"office\",result=\"admitted\",reason=\"none\"} 1",
        "postern_vpn_connects_total{server=\"office\",result=\"refused\",reason=\"profile_revoked\"} 1",
        "postern_vpn_connect_duration_seconds_count 1",
        "postern_vpn_sessions{server=\"office\"} 1.0",
        "postern_vpn_clients{platform=\"linux\",gui_major=\"openvpn2\"} 1.0",
        "postern_openvpn_up{server=\"office\"} 1.0",
        "postern_host_state{state=\"online\"} 1.0",
        "postern_profiles{state=\"active\"} 1.0",
        "postern_spool_dropped_total 0",
    ];
    wait_for("all numbers", COUNTED, || {
        let text = numbers();
        expected.iter().all(|line| text.lines().any(|told| told == *line)).then_some(())
    });
    wait_until("traffic in the numbers", COUNTED, || {
        fetch(cluster.lab.client(0), crate::lab::PAGE);
        let text = numbers();
        let bytes = |direction: &str| {
            let name = format!("postern_vpn_bytes_total{{server=\"office\",direction=\"{direction}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(name.as_str())?.parse::<u64>().ok()).unwrap_or(0)
        };
        bytes("received") > 0 && bytes("sent") > 0
    });

    let log = host.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let attempts: Vec<&Value> = lines.iter().filter(|line| line["event"] == "vpn.connect").collect();
    let told: Vec<_> = attempts
        .iter()
        .map(|line| [&line["profile_id"], &line["result"], &line["reason"]].map(Value::as_str))
        .collect();
    assert_eq!(
        told,
        [
            [Some(anna.id.as_str()), Some("admitted"), Some("none")],
            [Some(bob.id.as_str()), Some("refused"), Some("profile_revoked")],
        ]
    );
    assert_eq!(attempts[0]["user_id"], anna.user.as_str());
    assert!(lines.iter().all(|line| line["host"] == host.name()), "every line names the host");
    assert!(!log.contains("anna@example.com") && !log.contains("bob@example.com"), "ids, not addresses of people");
}

#[test]
fn a_host_that_leaves_service_wants_no_new_traffic_and_has_started_all_the_same() {
    let cluster = Cluster::start(1, 1);
    let host = &cluster.hosts[0];
    let ask = |path: &str| status_of(&host.machine().namespace, &format!("http://127.0.0.1:9600{path}"));
    assert_eq!(["/healthz", "/startupz", "/readyz"].map(ask), [Some(200); 3]);
    let id = cluster.host_id(host);
    cluster.any_api().post(&format!("/hosts/{id}/drain"), &json!({ "budget_seconds": 1, "force": true }));
    wait_until("the host to send traffic elsewhere", COUNTED, || ask("/readyz") == Some(503));
    assert_eq!(["/healthz", "/startupz"].map(ask), [Some(200); 2]);
    let verbose = text_of(&host.machine().namespace, "http://127.0.0.1:9600/readyz?verbose").unwrap();
    let told: Value = serde_json::from_str(&verbose).unwrap();
    assert_eq!((&told["status"], &told["failed"]), (&json!("failed"), &json!(["in_service"])), "{told}");
    let check = told["checks"].as_array().unwrap().iter().find(|check| check["name"] == "in_service").unwrap();
    assert!(check["age_seconds"].is_u64() && check["detail"].is_string(), "{check}");
    cluster.any_api().act(&format!("/hosts/{id}/resume"));
    wait_until("the host to be ready again", COUNTED, || ask("/readyz") == Some(200));
}
