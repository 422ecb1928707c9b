//! The kernel's firewall and forwarding under a running host: what others do to them, and what a change of routes does to
//! open connections.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::text_of;
use crate::client::Client;
use crate::cluster::{Cluster, LISTED, id};
use crate::flows::{Flows, KINDS, Streams};
use crate::host::Host;
use crate::lab::{LAN, OTHER_PAGE, PAGE};
use crate::page::fetch;
use crate::wait::{assert_stays, wait_for, wait_until};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// The kernel is compared every few seconds; the machine may be busy.
const REPAIR: Duration = Duration::from_secs(15);
/// A gap that nobody notices, on a busy machine.
const ORDINARY: Duration = Duration::from_secs(3);
const FETCH: Duration = Duration::from_secs(10);

/// One host, which runs as its service unit has it: without root, with `CAP_NET_ADMIN`.
fn confined() -> Cluster {
    restarted(|_host| ())
}

/// The same, with something else about it.
fn restarted(change: fn(&mut Host)) -> Cluster {
    let mut cluster = Cluster::start(1, 1);
    cluster.hosts[0].crash();
    change(&mut cluster.hosts[0]);
    let key = cluster.lab.folder().join("master.key");
    assert!(Command::new("chown").arg("65534:65534").arg(key).status().unwrap().success());
    cluster.hosts[0].confine(&cluster.lab);
    cluster.hosts[0].start();
    cluster.hosts[0].wait_ready();
    cluster.wait_running(&cluster.hosts[0]);
    cluster
}

fn detail(cluster: &Cluster) -> Value {
    cluster.any_api().list(&format!("/servers/{}/hosts", cluster.server))[0]["detail"].clone()
}

/// How often a host says that it put the kernel right for this reason.
fn repairs(host: &Host, reason: &str) -> u32 {
    let metrics = text_of(&host.machine().namespace, "http://127.0.0.1:9600/metrics").unwrap_or_default();
    let name = format!("postern_firewall_repairs_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

#[test]
fn what_others_do_to_the_kernel_is_put_right_within_seconds() {
    let cluster = confined();
    let host = &cluster.hosts[0];
    let namespace = &host.machine().namespace;
    let profile = cluster.user_with_profile("anna");
    let client = Client::connect(&cluster.lab, 0, &profile.text);
    let inside = cluster.lab.client(0);
    let probe = cluster.probe(0);
    probe.wait_up(Instant::now(), FETCH);
    // A client that is not content with the routes it is given.
    inside.ip(&format!("route replace {OTHER_PAGE}/32 dev {}\n", client.tunnel().0));
    let sound = |text: &str| text.contains("table inet postern") && text.contains("masquerade");

    for (damage, reason) in [
        ("flush ruleset", "missing"),
        ("delete table inet postern", "missing"),
        ("insert rule inet postern forward accept", "altered"),
    ] {
        let before = repairs(host, reason);
        namespace.run("nft", &[damage]);
        wait_until(&format!("the table after {damage}"), REPAIR, || {
            sound(&host.firewall()) && repairs(host, reason) == before + 1
        });
        probe.wait_up(Instant::now(), FETCH);
        assert_eq!(fetch(inside, OTHER_PAGE), None, "nothing else is open after {damage}");
    }
    assert!(host.read_log().contains("firewall.repaired"));

    let devices = namespace.run("ls", &["/proc/sys/net/ipv4/conf"]);
    let device = devices.split_whitespace().find(|name| name.starts_with("pst-")).expect("the daemon's device");
    for switch in [FORWARDING.to_owned(), format!("/proc/sys/net/ipv4/conf/{device}/forwarding")] {
        let before = repairs(host, "forwarding");
        namespace.enter(|| fs::write(&switch, "0").unwrap());
        wait_until(&format!("forwarding after {switch}=0"), REPAIR, || repairs(host, "forwarding") > before);
        assert_eq!(namespace.enter(|| fs::read_to_string(&switch).unwrap().trim().to_owned()), "1");
        probe.wait_up(Instant::now(), FETCH);
    }
    assert_eq!(client.connects(), 1, "the client stayed where it was");
    assert_eq!(detail(&cluster), Value::Null, "all is well again");
}

#[test]
fn a_host_that_may_not_put_forwarding_right_says_what_helps_and_lets_nobody_in() {
    let cluster = restarted(Host::protect_tunables);
    let namespace = &cluster.hosts[0].machine().namespace;
    let profile = cluster.user_with_profile("anna");
    let turn = |switch: &str| namespace.enter(|| fs::write(FORWARDING, switch).unwrap());
    turn("0");
    let told = wait_for("the attachment to say what is wrong", REPAIR + LISTED, || {
        detail(&cluster).as_str().map(str::to_owned)
    });
    assert!(told.contains("net.ipv4.ip_forward=1") && told.contains("sysctl --system"), "{told}");

    let mut client = Client::start(&cluster.lab, 0, &profile.text);
    wait_until("the client to hear that it is the host's fault", REPAIR, || client.heard("cannot protect") > 0);
    assert_eq!(client.connects(), 0);
    assert!(client.runs(), "no fault of the host ends a client");
    turn("1");
    wait_until("the client to be let in", Duration::from_secs(40), || client.connects() > 0);
    cluster.probe(0).wait_up(Instant::now(), FETCH);
    wait_until("the attachment to be well", REPAIR + LISTED, || detail(&cluster) == Value::Null);
}

#[test]
fn a_firewall_of_somebody_else_is_named_with_the_command_that_helps() {
    let cluster = confined();
    let host = &cluster.hosts[0];
    let namespace = &host.machine().namespace;
    let profile = cluster.user_with_profile("anna");
    let _client = Client::connect(&cluster.lab, 0, &profile.text);
    let probe = cluster.probe(0);
    probe.wait_up(Instant::now(), FETCH);
    assert_eq!(detail(&cluster), Value::Null);

    let docker = [
        "-P FORWARD DROP",
        "-N DOCKER-USER",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ];
    let administrator =
        "add table inet corp; add chain inet corp through { type filter hook forward priority 0; policy drop; }";
    for (what, named) in [("Docker", "DOCKER-USER"), ("the administrator", "nft insert rule inet corp through")] {
        let moment = Instant::now();
        if what == "Docker" {
            for line in docker {
                namespace.run("iptables-nft", &line.split(' ').collect::<Vec<_>>());
            }
        } else {
            namespace.run("nft", &[administrator]);
        }
        probe.wait_gone(moment, FETCH);
        let told = wait_for(&format!("the attachment to name {what}"), REPAIR + LISTED, || {
            detail(&cluster).as_str().filter(|detail| detail.contains(named)).map(str::to_owned)
        });
        let (_, printed) = host.try_run(&["doctor", "--json"]);
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let checks = printed["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["check"] == "foreign_firewall").expect("doctor looks for it");
        assert_eq!(found["result"], "fail", "{found}");
        assert!(told.contains(found["cause"].as_str().unwrap()), "the same words: {told} {found}");
        // What is told is what helps.
        let command = found["fix"].as_str().unwrap().replace("iptables", "iptables-nft");
        namespace.run("sh", &["-c", &command]);
        probe.wait_up(Instant::now(), FETCH);
        wait_until("the attachment to be well", REPAIR + LISTED, || detail(&cluster) == Value::Null);
    }

    // One that nft does not show is noticed by what it does.
    namespace.run("iptables-legacy", &["-P", "FORWARD", "DROP"]);
    wait_until("the attachment to name what cannot be seen", REPAIR + LISTED, || {
        detail(&cluster).as_str().is_some_and(|detail| detail.contains("iptables-legacy"))
    });
    namespace.run("iptables-legacy", &["-P", "FORWARD", "ACCEPT"]);
    probe.wait_up(Instant::now(), FETCH);
    wait_until("the attachment to be well", REPAIR + LISTED, || detail(&cluster) == Value::Null);
}

#[test]
fn a_route_that_is_taken_away_takes_its_open_connections_with_it() {
    let mut cluster = Cluster::start(1, 1);
    let first = cluster.server.clone();
    let api = cluster.api(0);
    let second = id(&api.post(
        "/servers",
        &json!({ "name": "second", "network": "10.201.0.0/16", "port": 1195, "protocol": "udp",
            "organization_ids": [cluster.organization], "routes": [{ "network": LAN, "nat": true }] }),
    ));
    let loser = cluster.user_with_profile("anna");
    cluster.server.clone_from(&second);
    cluster.attach(&cluster.hosts[0]);
    cluster.wait_running(&cluster.hosts[0]);
    let other = cluster.user_with_profile("bob");
    let _streams = Streams::serve(cluster.lab.private());
    let clients = [&loser, &other].map(|profile| &profile.text);
    let connected = [Client::connect(&cluster.lab, 0, clients[0]), Client::connect(&cluster.lab, 1, clients[1])];
    let [lost, kept] = [0, 1].map(|machine| Flows::open(cluster.lab.client(machine), PAGE));
    let generation = |text: &str| text.lines().find(|line| line.contains("chain generation-")).map(str::to_owned);
    let host = &cluster.hosts[0];

    // A repair is a change like any other: every connection is judged again, and all of them may go on. (A flush is more:
    // with the last rule the kernel forgets whose answers are whose, and hosts end masqueraded connections themselves.)
    let moment = Instant::now();
    let before = generation(&host.firewall());
    host.machine().namespace.run("nft", &["add chain inet postern theirs"]);
    wait_until("the table", REPAIR, || generation(&host.firewall()).is_some_and(|now| Some(&now) != before.as_ref()));
    wait_until("the connections to go on", FETCH, || {
        [&lost, &kept].iter().all(|flows| flows.since(moment).iter().all(|count| *count > 60))
    });
    for (flows, whose) in [(&lost, "first"), (&kept, "second")] {
        let gaps = flows.gaps(moment);
        eprintln!("repair: longest gaps of the {whose} client {gaps:?}");
        assert!(gaps.iter().all(|gap| *gap < ORDINARY), "{whose}: {gaps:?}");
    }

    let moment = Instant::now();
    let before = generation(&host.firewall());
    api.patch(&format!("/servers/{first}"), &json!({ "routes": [{ "network": "10.94.0.0/24", "nat": true }] }));
    wait_until("the rules without the route", REPAIR, || generation(&host.firewall()) != before);
    let changed = Instant::now();
    eprintln!("route removal: rules in place after {:?}", changed - moment);
    assert_stays("no packet of the lost route", Duration::from_secs(5), || lost.since(changed) == [0, 0, 0]);
    // Nor once the client was told its new routes by a reconnect.
    wait_until("the client to have its new routes", Duration::from_secs(40), || connected[0].connects() > 1);
    assert_eq!(lost.since(changed), [0, 0, 0], "packets of the lost route");
    for (kind, gap) in KINDS.iter().zip(kept.gaps(moment)) {
        eprintln!("route removal: longest gap of the other client, {kind}: {gap:?}");
        assert!(gap < ORDINARY, "{kind}: {gap:?}");
    }
    let arrived = kept.since(changed);
    assert!(arrived.iter().all(|count| *count > 10), "the other client's go on: {arrived:?}");
}
