//! Periodic jobs: one run at a time in the whole cluster, by a period, by a wish, or by an outside scheduler.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use postern::domain::audit::Actor;
use postern::domain::clock::SystemClock;
use postern::domain::job::{Job, Run, RunResult};
use postern::domain::role::Role;
use postern::keys::master::MasterKey;
use postern::metrics::Metrics;
use postern::services::people::organizations::NewOrganization;
use postern::services::tasks::upkeep;
use postern::services::{Act, ServiceError, Services};
use postern::store::{Bus, BusSettings, Emitter};
use serde_json::{Value, json};

use crate::api_rig::{Rig, name};
use crate::commands::Installation;
use crate::store::{connect, reconciler};
use crate::support::mongod::shared;

fn owner() -> Act {
    Act::of(Actor::Shell("test"))
}

/// Another process of the same cluster.
async fn process(rig: &Rig) -> Services {
    let store = connect(&rig.database).await;
    let emitter = Emitter::start(&store, Duration::from_secs(8), &rig.tasks, &rig.stop);
    Services::builder(store, emitter, Arc::new(SystemClock)).master_key(Some(MasterKey::from_bytes(&[7; 32]))).build()
}

fn run(detail: &str) -> Run {
    let started_at = jiff::Timestamp::UNIX_EPOCH;
    Run { started_at, duration_ms: 1, result: RunResult::Done, detail: detail.to_owned(), counts: [].into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_processes_exactly_one_runs_a_job_that_is_due() {
    let rig = Rig::new().await;
    for job in Job::ALL {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let services = process(&rig).await;
            tasks.spawn(async move { services.cluster().run_due_job(*job).await.unwrap() });
        }
        let runs: Vec<Run> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(runs.len(), 1, "{job}: {runs:?}");
        assert_eq!(runs[0].result, RunResult::Done, "{job}: {runs:?}");
        assert_eq!(rig.services.cluster().job(*job).await.unwrap().last_run.as_ref(), runs.first());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_made_the_last_run_says_so() {
    let rig = Rig::new().await;
    let (one, other) = (process(&rig).await, process(&rig).await);
    let leads = |services: &Services| {
        let text = services.metrics().exposition(&Metrics::default());
        let told = text.lines().find_map(|line| line.strip_prefix("postern_job_leader{job=\"address-sweep\"} "));
        told.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(one.cluster().run_due_job(Job::AddressSweep).await.unwrap().is_some());
    assert!(other.cluster().run_due_job(Job::AddressSweep).await.unwrap().is_none());
    assert_eq!([&one, &other].map(leads), ["1.0", "0.0"]);
    other.cluster().run_job(&owner(), Job::AddressSweep).await.unwrap();
    assert!(one.cluster().run_due_job(Job::AddressSweep).await.unwrap().is_none());
    assert_eq!([&one, &other].map(leads), ["0.0", "1.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_another_process_runs_is_not_run_and_a_late_result_is_not_written() {
    let rig = Rig::new().await;
    let ttl = Duration::from_mins(1);
    let old = rig.store.take_lease("job.audit-verify", "sleeper", ttl).await.unwrap().unwrap();
    let busy = rig.services.cluster().run_job(&owner(), Job::AuditVerify).await.unwrap_err();
    assert!(matches!(busy, ServiceError::Conflict(_)), "{busy}");
    assert_eq!(rig.services.cluster().run_due_job(Job::AuditVerify).await.unwrap(), None);

    rig.store.release_lease("job.audit-verify", "sleeper").await.unwrap();
    let new = rig.store.take_lease("job.audit-verify", "successor", ttl).await.unwrap().unwrap();
    assert!(new.term > old.term);
    assert!(rig.store.cluster().record_run(Job::AuditVerify, new.term, &run("new")).await.unwrap());
    assert!(!rig.store.cluster().record_run(Job::AuditVerify, old.term, &run("old")).await.unwrap());
    assert_eq!(rig.store.cluster().job_record(Job::AuditVerify).await.unwrap().last_run, Some(run("new")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_is_obeyed_by_a_process_with_the_role_jobs_at_once_and_recorded() {
    let rig = Rig::new().await;
    let services = process(&rig).await;
    assert!(services.cluster().run_due_job(Job::AddressSweep).await.unwrap().is_some(), "not due again for an hour");
    let store = connect(&rig.database).await;
    let tasks = reconciler(&store, &rig.tasks, &rig.stop);
    let bus = Bus::start(&store, &BusSettings::default(), &tasks);
    upkeep::start_job(&tasks, &services, &bus, Job::AddressSweep, None);
    let before = services.cluster().job(Job::AddressSweep).await.unwrap().last_run.unwrap();

    rig.as_role(Role::Operator).expect(403, "POST", "/jobs/address-sweep/run", None);
    rig.owner().expect(404, "POST", "/jobs/backup/run", None);
    rig.owner().expect(202, "POST", "/jobs/address-sweep/run", None);
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        let jobs = rig.as_role(Role::Helpdesk).get("/jobs");
        let sweep = jobs["items"].as_array().unwrap().iter().find(|job| job["name"] == "address-sweep").unwrap();
        if sweep["last_run"]["started_at"] != json!(before.started_at) {
            assert_eq!((&sweep["wanted_at"], &sweep["last_run"]["result"]), (&Value::Null, &json!("done")));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{jobs:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = rig.owner().get("/audit?action=job.request")["items"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!(entries[0]["object"], "address-sweep");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_is_verified_once_somebody_has_signed_for_it() {
    let rig = Rig::new().await;
    let services = process(&rig).await;
    assert_eq!(services.cluster().run_due_job(Job::AuditVerify).await.unwrap(), None, "nothing is signed for yet");
    let asked = services.cluster().run_job(&owner(), Job::AuditVerify).await.unwrap();
    assert_eq!((asked.result, asked.counts["breaks"], asked.counts["checkpoints"]), (RunResult::Done, 0, 0));
    assert!(asked.detail.contains("None is signed for yet"), "{asked:?}");
    rig.database.open().await.collection::<Document>("jobs").delete_many(doc! {}).await.unwrap();

    // All begin at once, as they do in a new cluster; the verification waits for the checkpoint, not for its period.
    let store = connect(&rig.database).await;
    let tasks = reconciler(&store, &rig.tasks, &rig.stop);
    let bus = Bus::start(&store, &BusSettings::default(), &tasks);
    upkeep::start_jobs(&tasks, &services, &bus);
    let run = finished(&services, None).await;
    assert_eq!(run.result, RunResult::Done, "{run:?}");
    assert!(run.counts["checkpoints"] > 0, "{run:?}");
}

/// The first run of the verification that began after `before`.
async fn finished(services: &Services, before: Option<jiff::Timestamp>) -> Run {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        let last = services.cluster().job(Job::AuditVerify).await.unwrap().last_run;
        if let Some(run) = last.filter(|run| before.is_none_or(|before| run.started_at > before)) {
            return run;
        }
        assert!(tokio::time::Instant::now() < deadline, "no verification");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_trail_is_what_the_job_says_it_found_until_it_is_whole_again() {
    let rig = Rig::new().await;
    let organization = NewOrganization { name: name("one") };
    rig.services.people().create_organization(&owner(), organization).await.unwrap();
    rig.services.cluster().run_job(&owner(), Job::AuditCheckpoint).await.unwrap();
    assert_eq!(rig.services.cluster().run_job(&owner(), Job::AuditVerify).await.unwrap().result, RunResult::Done);
    let trail = rig.database.open().await.collection::<Document>("audit");
    let entry = trail.find_one(doc! { "link.seq": 2 }).await.unwrap().unwrap();
    trail.update_one(doc! { "link.seq": 2 }, doc! { "$set": { "actor": "somebody" } }).await.unwrap();
    let found = rig.services.cluster().run_job(&owner(), Job::AuditVerify).await.unwrap();
    assert_eq!((found.result, found.counts["breaks"]), (RunResult::Found, 1), "{found:?}");
    assert!(found.detail.contains("entry 2 "), "{found:?}");
    let next = rig.services.cluster().job(Job::AuditVerify).await.unwrap().next_run_at;
    assert!(next < found.started_at + jiff::SignedDuration::from_hours(1), "it is looked at again within the hour");
    let broken = || {
        let text = rig.services.metrics().exposition(&Metrics::default());
        text.lines().find_map(|line| line.strip_prefix("postern_audit_chain_broken ").map(str::to_owned)).unwrap()
    };
    assert_eq!(broken(), "1.0");

    // Whoever mends it asks for another look, and the alarm is over.
    trail.replace_one(doc! { "link.seq": 2 }, entry).await.unwrap();
    let tasks = reconciler(&rig.store, &rig.tasks, &rig.stop);
    let bus = Bus::start(&connect(&rig.database).await, &BusSettings::default(), &tasks);
    upkeep::start_job(&tasks, &rig.services, &bus, Job::AuditVerify, None);
    rig.owner().expect(202, "POST", "/jobs/audit-verify/run", None);
    let mended = finished(&rig.services, Some(found.started_at)).await;
    assert_eq!(mended.result, RunResult::Done, "{mended:?}");
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while broken() != "0.0" {
        assert!(tokio::time::Instant::now() < deadline, "the alarm goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_while_the_cluster_is_paused() {
    let rig = Rig::new().await;
    rig.services.cluster().pause(&owner()).await.unwrap();
    let refused = rig.services.cluster().run_due_job(Job::AuditCheckpoint).await.unwrap_err();
    assert!(matches!(refused, ServiceError::Paused), "{refused}");
    rig.services.cluster().resume(&owner()).await.unwrap();
    assert!(rig.services.cluster().run_due_job(Job::AuditCheckpoint).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_scheduler_has_commands_with_exit_codes() {
    let database = shared().database();
    let machine = Installation::shared(&database);
    machine.must(&["migrate", "apply"]);
    let due: Value = serde_json::from_str(&machine.must(&["jobs", "run", "--due", "--json"])).unwrap();
    assert_eq!(due["items"].as_array().unwrap().len(), Job::ALL.len(), "{due:#}");
    assert_eq!(machine.must(&["jobs", "run", "--due"]), "", "nothing is due any more");
    let listed: Value = serde_json::from_str(&machine.must(&["jobs", "list", "--json"])).unwrap();
    for job in listed["items"].as_array().unwrap() {
        assert_eq!(job["last_run"]["result"], "done", "{job:#}");
        assert!(machine.must(&["jobs", "list"]).contains(job["name"].as_str().unwrap()));
    }
    machine.must(&["jobs", "run", "address-sweep"]);
    assert_eq!(machine.run(&["jobs", "run", "nothing"]).code, Some(2));
    let store = connect(&database).await;
    store.take_lease("job.address-sweep", "somebody", Duration::from_mins(1)).await.unwrap().unwrap();
    assert_eq!(machine.run(&["jobs", "run", "address-sweep"]).code, Some(4));
}
