//! What is old is forgotten when the settings say so, and the rest of the trail can still be verified.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Document, doc};
use postern::domain::audit::Actor;
use postern::domain::clock::{Clock, ManualClock, SystemClock};
use postern::domain::ids::{Id, ProfileId, UserId};
use postern::domain::job::{Job, Run};
use postern::domain::session::{EndReason, Session};
use postern::keys::master::MasterKey;
use postern::runtime::random;
use postern::services::access::sessions::SessionRecord;
use postern::services::people::organizations::NewOrganization;
use postern::services::{Act, Services};
use postern::store::Emitter;
use serde_json::json;

use crate::api_rig::{Rig, name};
use crate::store::connect;

fn shell() -> Act {
    Act::of(Actor::Shell("test"))
}

/// A process whose clock is ahead: the database's own expiry goes by the real time.
async fn ahead(rig: &Rig, days: i64) -> Services {
    let clock = ManualClock::new(SystemClock.now() + SignedDuration::from_hours(24 * days));
    let store = connect(&rig.database).await;
    let emitter = Emitter::start(&store, Duration::from_secs(8), &rig.tasks, &rig.stop);
    Services::builder(store, emitter, Arc::new(clock)).master_key(Some(MasterKey::from_bytes(&[7; 32]))).build()
}

async fn forget(rig: &Rig, days: i64) -> Run {
    ahead(rig, days).await.cluster().run_job(&shell(), Job::Retention).await.unwrap()
}

/// A session of somebody that ended just now.
async fn ended(rig: &Rig, user: UserId, profile: ProfileId) -> Session {
    let session = Session {
        id: Id::from_parts(SystemClock.now(), random::u128()),
        user_id: user,
        profile_id: profile,
        server_id: Id::from_parts(Timestamp::UNIX_EPOCH, 3),
        host_id: Id::from_parts(Timestamp::UNIX_EPOCH, 4),
        address: "10.9.0.7".parse().unwrap(),
        remote_address: "203.0.113.9:4711".parse().unwrap(),
        connected_at: SystemClock.now(),
        bytes_received: 0,
        bytes_sent: 0,
        client_version: None,
        client_protocol: None,
    };
    rig.services.access().record_session(&SessionRecord::began(session.clone(), None)).await.unwrap();
    let (at, reason) = (SystemClock.now(), EndReason::Disconnected);
    rig.services
        .access()
        .record_session(&SessionRecord::Ended { session: session.clone(), at, reason, moment: None })
        .await
        .unwrap();
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_names_and_sessions_go_when_their_time_has_come() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let ana = owner.post("/users", &json!({ "organization_id": organization, "name": "Ana" }))["id"].clone();
    let ana: UserId = ana.as_str().unwrap().parse().unwrap();
    let gone: UserId = Id::from_parts(Timestamp::UNIX_EPOCH, 8);
    let phone: ProfileId = Id::from_parts(Timestamp::UNIX_EPOCH, 9);
    let kept = ended(&rig, ana, Id::from_parts(Timestamp::UNIX_EPOCH, 10)).await;
    let (one, two) = (ended(&rig, gone, phone).await, ended(&rig, gone, phone).await);
    let read = async |session: &Session| rig.store.access().find_session(session.id).await.unwrap();

    let run = forget(&rig, 29).await;
    assert!(run.counts.values().all(|count| *count == 0), "{run:?}");
    assert_eq!(read(&kept).await.unwrap().remote_address, kept.remote_address);

    let run = forget(&rig, 31).await;
    assert_eq!((run.counts["addresses"], run.counts["departed"], run.counts["sessions"]), (3, 2, 0), "{run:?}");
    let after = read(&kept).await.unwrap();
    assert_eq!(after.remote_address.to_string(), "203.0.113.0:0");
    assert_eq!(after.user_id, ana, "whose account is there");
    let [one, two] = [read(&one).await.unwrap(), read(&two).await.unwrap()];
    assert!(one.user_id != gone && one.profile_id != phone);
    assert_eq!((one.user_id, one.profile_id), (two.user_id, two.profile_id), "what was one profile stays one");
    let run = forget(&rig, 32).await;
    assert!(run.counts.values().all(|count| *count == 0), "once is enough: {run:?}");

    owner.patch("/settings", &json!({ "retention": { "session_days": 200 } }));
    assert_eq!(forget(&rig, 91).await.counts["sessions"], 0);
    owner.patch("/settings", &json!({ "retention": { "session_days": 60 } }));
    assert_eq!(forget(&rig, 91).await.counts["sessions"], 3);
    assert!(read(&kept).await.is_none());
    for bad in [json!({ "session_days": 0 }), json!({ "audit_days": 29 }), json!({ "address_days": null })] {
        owner.expect(422, "PATCH", "/settings", Some(&json!({ "retention": bad })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_cut_at_its_age_and_what_is_left_can_be_verified() {
    let rig = Rig::new().await;
    let trail = rig.database.open().await.collection::<Document>("audit");
    let before = doc! {
        "_id": "aud_01KAS00000000000000000000A", "at": mongodb::bson::DateTime::from_millis(1_764_000_000_000_i64),
        "actor": "usr_1", "action": "user.update", "object": "usr_2", "outcome": "success", "changes": {},
    };
    trail.insert_one(before).await.unwrap();
    for n in 0..5 {
        let new = NewOrganization { name: name(&format!("o{n}")) };
        rig.services.people().create_organization(&shell(), new).await.unwrap();
    }
    let later = ahead(&rig, 200).await;
    later.people().create_organization(&shell(), NewOrganization { name: name("later") }).await.unwrap();
    let old = trail.count_documents(doc! { "actor": { "$ne": "shell:test" } }).await.unwrap();
    assert!(old > 0);
    let all = trail.count_documents(doc! {}).await.unwrap();

    let run = forget(&rig, 399).await;
    assert_eq!(run.counts["audit"], 1, "the one of before the chains: {run:?}");
    let run = forget(&rig, 401).await;
    assert_eq!(run.counts["audit"], all - 2, "all but the later one: {run:?}");
    assert_eq!(trail.count_documents(doc! { "object": { "$regex": "^org_" } }).await.unwrap(), 1);
    let report = rig.services.evidence().verify_audit().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.deleted, all - 1);

    // The process of the old chain goes on in it.
    rig.services.people().create_organization(&shell(), NewOrganization { name: name("again") }).await.unwrap();
    rig.services.evidence().checkpoint().await.unwrap();
    let report = rig.services.evidence().verify_audit().await.unwrap();
    assert!(report.is_sound(), "{report:?}");

    // What nobody signed for is no cut.
    trail.delete_one(doc! { "action": "audit.expire" }).await.unwrap();
    assert!(!rig.services.evidence().verify_audit().await.unwrap().is_sound());
}
