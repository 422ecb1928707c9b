//! Profiles that were made before a second host joined, when the first one leaves service.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{Cluster, LISTED, Profile};
use crate::lab::LAN;
use crate::wait::{wait_for, wait_until};

/// How long a drain may take beyond its budget on a busy machine.
const OVER: Duration = Duration::from_mins(2);
/// How long the drain may take: so long the old profile is kept.
const BUDGET: u64 = 40;
/// What a client hears whose profile names no other host.
const UPDATE: &str = "names only hosts that are out of service: get the updated profile from the portal";

/// The way of a profile to the private network, as `explain` tells it.
fn explained(cluster: &Cluster, profile: &Profile) -> (bool, String) {
    let target = LAN.split('/').next().unwrap();
    let found = cluster.any_api().get(&format!("/explain?profile_id={}&destination={target}", profile.id));
    let links = found["ways"][0]["links"].as_array().cloned().unwrap_or_default();
    let host = links.into_iter().find(|link| link["kind"] == "host").unwrap_or_default();
    (found["allowed"] == true, host["says"].as_str().unwrap_or_default().to_owned())
}

fn counts(drain: &Value) -> [u64; 3] {
    ["moved", "waiting", "cut_off"].map(|field| drain[field].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn whoever_has_one_is_kept_to_the_end_never_refused_for_good_and_back_by_itself() {
    let cluster = Cluster::of_two_hosts();
    let hosts = [0, 1].map(|number| cluster.host_id(&cluster.hosts[number]));
    let names = [0, 1].map(|number| cluster.hosts[number].name().to_owned());
    let path = |host: usize, what: &str| format!("/hosts/{}{what}", hosts[host]);
    let place = |host: usize| format!("/servers/{}/hosts/{}", cluster.server, hosts[host]);
    let api = cluster.any_api();

    api.delete(&place(1));
    let old = cluster.user_with_profile("anna");
    cluster.attach(&cluster.hosts[1]);
    cluster.wait_running(&cluster.hosts[1]);
    let fresh = cluster.user_with_profile("bert");
    assert_eq!(api.get(&format!("/profiles/{}", old.id))["hosts"], json!([hosts[0]]));
    assert_eq!(api.get(&format!("/profiles/{}", old.id))["outdated"]["reasons"], json!(["host_added"]));
    assert_eq!(api.get(&format!("/profiles/{}", fresh.id))["outdated"], Value::Null);

    // Both come to the first host.
    api.post(&path(1, "/drain"), &json!({ "budget_seconds": 0 }));
    let mut anna = Client::start_without_device(&cluster.lab, 1, &old.text);
    let mut bert = Client::start_without_device(&cluster.lab, 1, &fresh.text);
    cluster.wait_session_on(&old, &cluster.hosts[0]);
    cluster.wait_session_on(&fresh, &cluster.hosts[0]);
    api.act(&path(1, "/resume"));
    cluster.wait_running(&cluster.hosts[1]);

    wait_until("the host to tell of its sessions", LISTED, || api.get(&path(0, ""))["sessions"] == 2);

    // Who would be cut off is known before.
    let order = json!({ "budget_seconds": BUDGET });
    let effect = api.post(&path(0, "/drain?dry_run=true"), &order);
    let told = [&effect["sessions_cut_off"], &effect["sessions_moving"], &effect["cut_off"][0]["user"]];
    assert_eq!(told, [&json!(1), &json!(1), &json!("anna")], "{effect}");
    let (allowed, says) = explained(&cluster, &old);
    assert!(allowed && says.contains(&format!("names {}, so it cannot connect by {}", names[0], names[1])), "{says}");

    let ordered = api.post(&path(0, "/drain"), &order);
    assert_eq!(counts(&ordered["drain"]), [0, 2, 0], "{ordered}");
    let drain = || cluster.any_api().get(&path(0, ""))["drain"].take();
    wait_until("the fresh profile to be seen on the other host", LISTED * 2, || drain()["moved"] == 1);
    cluster.wait_session_on(&fresh, &cluster.hosts[1]);
    // The host forgets whom it sent away some seconds later.
    wait_until("one to be moved and one to wait", LISTED, || {
        let drain = drain();
        counts(&drain) == [1, 1, 0] && drain["state"] == "moving"
    });
    assert!(anna.runs() && anna.connects() == 1, "it was not touched");
    // Whoever comes anew with such a profile is let in as long as the host is there.
    anna.stop();
    let mut anna = Client::start_without_device(&cluster.lab, 1, &old.text);
    wait_until("a newcomer with the old profile to be let in", LISTED, || anna.connects() == 1);
    assert_eq!(anna.heard("AUTH_FAILED"), 0, "nobody was turned away");
    assert!(explained(&cluster, &old).0);

    let over = wait_for("the host to be drained", Duration::from_secs(BUDGET) + OVER, || {
        Some(drain()).filter(|drain| drain["state"] == "drained" && drain["cut_off"] == 1)
    });
    assert_eq!(counts(&over), [1, 0, 1], "{over}");
    assert!(anna.heard(UPDATE) > 0 && anna.runs(), "it was told what helps, and goes on");
    let (allowed, says) = explained(&cluster, &old);
    assert!(!allowed && says.contains(&names[0]), "{says}");
    assert!(bert.runs() && bert.connects() == 2);

    // Back in service, it is there by itself; the same when the host is detached and attached again.
    for back in [true, false] {
        let before = anna.connects();
        if back {
            api.act(&path(0, "/resume"));
        } else {
            let effect =
                api.send("DELETE", &format!("{}?dry_run=true", place(0)), None, "application/json").unwrap().json();
            assert_eq!(
                (&effect["sessions_cut_off"], &effect["cut_off"][0]["user"]),
                (&json!(1), &json!("anna")),
                "{effect}"
            );
            let heard = anna.heard(UPDATE);
            api.delete(&place(0));
            wait_until("the client to hear what helps", LISTED, || anna.heard(UPDATE) > heard);
            assert!(anna.runs());
            cluster.attach(&cluster.hosts[0]);
        }
        cluster.wait_running(&cluster.hosts[0]);
        wait_until("the old profile to be back", OVER, || anna.runs() && anna.connects() > before);
        cluster.wait_session_on(&old, &cluster.hosts[0]);
    }
    assert!(anna.runs() && bert.runs());
}
