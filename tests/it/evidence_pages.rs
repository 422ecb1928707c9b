//! The audit log and the periodic jobs, as a browser meets them.

use postern::domain::job::Job;
use postern::domain::role::Role;
use serde_json::Value;

use crate::console_rig::Console;

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_filtered_by_its_address_and_exported_as_it_is_shown() {
    let console = Console::new().await;
    let mut auditor = console.signed_in(Role::Auditor);
    let all = auditor.get("/audit");
    assert!(all.body.contains("Started login") && all.body.contains("Export all"), "{all:?}");
    assert!(all.body.contains("Not yet signed"), "{all:?}");
    let page = auditor.get("/audit?actor=&object=&action=login.start&outcome=success&from=2026-01-01&until=2100-01-01");
    assert!(page.status == 200 && page.body.contains("Started login"), "{page:?}");
    assert!(!page.body.contains("Created token") && page.body.contains("Export these"), "{page:?}");
    assert!(page.body.contains("/audit/export?action=login.start&#38;outcome=success"), "{page:?}");
    let nothing = auditor.get("/audit?action=login.start&until=2001-01-01");
    assert!(nothing.body.contains("No entry fits this filter"), "{nothing:?}");
    assert_eq!(auditor.get("/audit?from=yesterday").status, 400);
    assert_eq!(auditor.get("/audit?surprise=1").status, 400);

    let export = auditor.get("/audit/export?action=login.start");
    assert_eq!((export.status, export.header("content-type")), (200, "application/jsonl"));
    let lines: Vec<Value> = export.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["export"]["filter"]["action"], "login.start");
    let entries = lines.iter().filter(|line| line["entry"]["action"] == "login.start").count();
    assert!(entries > 0 && lines.len() == entries + 2, "{export:?}");
    assert_eq!(lines[lines.len() - 1]["end"]["entries"], entries);
    assert_eq!(console.signed_in(Role::Operator).get("/audit").status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_asked_for_and_shows_what_came_of_it() {
    let console = Console::new().await;
    let mut owner = console.signed_in(Role::Owner);
    let page = owner.get("/jobs");
    for job in Job::ALL {
        assert!(page.body.contains(job.as_str()) && page.body.contains(job.description()), "{job}: {page:?}");
    }
    assert!(!page.body.contains("Nobody seems to run the jobs"), "a cluster that was made a moment ago: {page:?}");
    let asked = owner.post("/jobs", "/jobs/audit-checkpoint/run", &[]);
    assert_eq!((asked.status, asked.header("location")), (303, "/jobs"), "{asked:?}");
    assert!(owner.get("/jobs").body.contains("Asked for"));
    console.rig.services.cluster().run_due_job(Job::AuditCheckpoint).await.unwrap().unwrap();
    console.rig.services.cluster().run_due_job(Job::AuditVerify).await.unwrap().unwrap();
    let page = owner.get("/jobs");
    assert!(page.body.contains("Checkpoint 1 was signed.") && !page.body.contains("Asked for"), "{page:?}");
    assert!(owner.get("/audit").body.contains("The chain is sound"));
    let auditor = console.signed_in(Role::Auditor).get("/jobs");
    assert!(auditor.status == 200 && !auditor.body.contains("Run now"), "{auditor:?}");
}
