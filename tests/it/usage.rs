//! What the hosts carry over time: as a host writes it, and as the API and the console show it.

use mongodb::bson::doc;
use postern::domain::clock::{Clock as _, SystemClock};
use postern::domain::ids::HostId;
use postern::domain::role::Role;
use postern::domain::usage::{UsageSample, slot_of};
use serde_json::json;

use crate::api_rig::Rig;
use crate::console_rig::Console;

fn sample(host_id: HostId, sessions: u64, bytes: u64) -> UsageSample {
    UsageSample { host_id, at: slot_of(SystemClock.now()), sessions, bytes_received: bytes, bytes_sent: 2 * bytes }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_added_up_over_hosts_and_repeating_one_does_no_harm() {
    let rig = Rig::new().await;
    let hosts = [rig.host().await, rig.host().await];
    for sample in [sample(hosts[0], 3, 100), sample(hosts[0], 5, 150), sample(hosts[0], 5, 150), sample(hosts[1], 2, 7)]
    {
        rig.services.access().record_usage(&sample).await.unwrap();
    }
    let usage = rig.owner().get("/usage");
    let steps = usage["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &usage["step_seconds"]), (144, &json!(600)));
    let said: Vec<_> = steps.iter().filter(|step| !step["sessions"].is_null()).collect();
    assert!(said.len() == 1 && said[0]["sessions"] == 7, "{said:?}");
    let traffic = |host: HostId| {
        let found = usage["hosts"].as_array().unwrap().iter().find(|traffic| traffic["host_id"] == host.to_string());
        found.map(|traffic| (traffic["bytes_received"].clone(), traffic["bytes_sent"].clone())).unwrap()
    };
    assert_eq!((traffic(hosts[0]), traffic(hosts[1])), ((json!(150), json!(300)), (json!(7), json!(14))));
    assert_eq!(rig.owner().get("/usage?hours=1")["steps"].as_array().unwrap().len(), 12);
    for bad in ["hours=0", "hours=169", "hours=x"] {
        let answer = rig.owner().ask("GET", &format!("/usage?{bad}"), None);
        assert_eq!(answer.checked(), 400, "{bad}");
        assert_eq!(answer.json()["errors"][0]["parameter"], "hours", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_counts_alone_and_end_by_themselves() {
    let rig = Rig::new().await;
    rig.services.access().record_usage(&sample(rig.host().await, 3, 100)).await.unwrap();
    let samples = rig.database.open().await.collection::<mongodb::bson::Document>("usage");
    let row = samples.find_one(doc! {}).await.unwrap().unwrap();
    let fields: Vec<_> = row.keys().map(String::as_str).collect();
    assert!(
        fields
            .iter()
            .all(|field| { ["_id", "host_id", "at", "sessions", "bytes_received", "bytes_sent"].contains(field) }),
        "{fields:?}"
    );
    let indexes = samples.list_indexes().await.unwrap();
    let indexes: Vec<_> = futures_util::TryStreamExt::try_collect(indexes).await.unwrap();
    assert!(indexes.iter().any(|index: &mongodb::IndexModel| {
        index.options.as_ref().and_then(|options| options.expire_after).is_some()
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_has_the_charts_and_their_values() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let page = owner.get("/");
    assert!(page.body.contains("No host has measured anything yet."), "{}", page.body);
    let host = console.rig.host().await;
    console.rig.services.access().record_usage(&sample(host, 3, 4_000_000)).await.unwrap();
    let page = owner.get("/").body;
    for part in
        ["role=\"img\"", "At most 3 at once", "<td>3</td>", "<td>No data</td>", "<td>4.0 MB</td>", "<td>8.0 MB</td>"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}
