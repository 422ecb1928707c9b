//! Samples of the audit log and of the periodic jobs and tasks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::admin::cluster::jobs::Jobs;
use crate::admin::evidence::audit::{AuditPage, Choices, Wanted};
use crate::samples::{SampleSet, ago, id, now};
use crate::ui::topic::Topic;
use domain::audit::AuditEntry;
use domain::chain::{Link, NOTHING};
use domain::ids::{AuditId, ChainId, RequestId, UserId};
use domain::job::{Job, JobState, Run, RunResult};
use domain::role::Role;
use domain::task::{TaskResult, TaskRun, TaskState};
use services::Page;
use services::evidence::history::NamedEntry;

impl SampleSet {
    fn entry(&self, hours: i64, action: &str, object: &str, outcome: &str, changes: Value) -> NamedEntry {
        let link = Link { chain: id::<ChainId>(1), seq: 4000 - hours.unsigned_abs(), prev: NOTHING, hash: NOTHING };
        let entry = AuditEntry {
            id: id::<AuditId>(hours.unsigned_abs().into()),
            at: ago(hours),
            actor: id::<UserId>(1).to_string(),
            action: action.to_owned(),
            object: object.to_owned(),
            outcome: outcome.to_owned(),
            request_id: Some(id::<RequestId>(1)),
            changes,
            link: Some(link),
        };
        NamedEntry { entry, by: self.name.to_owned() }
    }

    fn entries(&self) -> Vec<NamedEntry> {
        let user = id::<UserId>(2).to_string();
        let before =
            self.entry(24 * 30, "organization.create", "org_1", "success", json!({ "name": [null, self.name] }));
        vec![
            self.entry(1, "user.disable", &user, "success", json!({ "disabled": [false, true] })),
            self.entry(
                2,
                "access.deny",
                "/api/v1/settings",
                "denied",
                json!({
                    "method": [null, "PATCH"], "reason": [null, "PST-AUTH-003"], "address": [null, "203.0.113.9"],
                }),
            ),
            self.entry(
                5,
                "server.update",
                "srv_1",
                "success",
                json!({
                    "routes": [[], [{ "network": "10.0.0.0/8", "comment": self.name, "nat": true }]],
                    "groups": [["dev"], ["dev", "ops"]], "name": ["main", self.name],
                }),
            ),
            self.entry(26, "cluster.pause", "cluster", "success", json!({})),
            NamedEntry { entry: AuditEntry { link: None, request_id: None, ..before.entry }, by: before.by },
        ]
    }

    fn verified(result: RunResult, detail: &str) -> JobState {
        let (started_at, counts) = (ago(3), BTreeMap::new());
        let run = Run { started_at, duration_ms: 840, result, detail: detail.to_owned(), counts };
        JobState::new(Job::AuditVerify, Some(run), None, now())
    }

    pub(super) fn audit(&mut self) {
        let mut desk = self.desk("/audit");
        desk.live = &[Topic::Policy, Topic::Jobs];
        let sound = Self::verified(RunResult::Done, "12840 entries are what was recorded.");
        let page = |items| Page { items, next: None, count: None };
        let next = Some("/audit?limit=50&cursor=x".to_owned());
        let list = AuditPage::new(&desk, Wanted::default(), &sound, page(self.entries()), true, next);
        self.add("audit", &list);

        let wanted = Wanted {
            actor: self.name.to_owned(),
            outcome: "denied".to_owned(),
            from: "2026-11-01".to_owned(),
            ..Wanted::default()
        };
        let never = JobState::new(Job::AuditVerify, None, None, now());
        let found = AuditPage::new(&desk, wanted.clone(), &never, page(self.entries()), false, None);
        self.add("audit-filtered", &found);
        let meant = |about: &str| ("/audit?actor=usr_1".to_owned(), self.name.to_owned(), about.to_owned());
        let choices = vec![Choices { text: self.name.to_owned(), meant: vec![meant("bo@example.com"), meant("host")] }];
        let several = AuditPage {
            choices,
            called: (None, Some(self.name.to_owned())),
            ..AuditPage::new(&desk, wanted.clone(), &never, page(Vec::new()), true, None)
        };
        self.add("audit-several", &several);
        let nothing = AuditPage::new(&desk, wanted, &never, page(Vec::new()), true, None);
        self.add("audit-nothing-found", &nothing);
        let detail = format!(
            "Audit log verification failed: 2 breaks, the first at {} entry 17: its content is not what was recorded.",
            id::<ChainId>(1)
        );
        let broken = Self::verified(RunResult::Found, &detail);
        let desk = self.desk_of(Role::Auditor, "/audit");
        self.add("audit-broken", &AuditPage::new(&desk, Wanted::default(), &broken, page(self.entries()), true, None));
        let mut young =
            Self::verified(RunResult::Done, "Entries: 5. None is signed for yet: the first checkpoint does that.");
        if let Some(run) = &mut young.last_run {
            run.counts.insert("checkpoints".to_owned(), 0);
        }
        self.add("audit-young", &AuditPage::new(&desk, Wanted::default(), &young, page(self.entries()), true, None));
        let failed = Self::verified(RunResult::Failed, "Postern cannot reach its database right now.");
        self.add("audit-empty", &AuditPage::new(&desk, Wanted::default(), &failed, page(Vec::new()), true, None));
    }

    fn tasks(&self) -> Vec<TaskState> {
        let task = |name: &str, period_seconds, last_run: Option<TaskRun>| TaskState {
            host: "vpn-1".parse().expect("a name"),
            name: name.to_owned(),
            description: "Does what it is for.".to_owned(),
            period_seconds,
            running_since: None,
            last_success_at: last_run.as_ref().map(|run| run.started_at),
            last_run,
            next_run_at: now() + jiff::SignedDuration::from_secs(8),
        };
        let ran = |result, detail: Option<&str>| {
            let started_at = now() - jiff::SignedDuration::from_secs(2);
            Some(TaskRun { started_at, duration_ms: 12, result, detail: detail.map(str::to_owned) })
        };
        let reached = "Other hosts that were reached: 2 of 2.";
        let runs_now = TaskState { running_since: Some(now()), ..task("bus-beat", 1, ran(TaskResult::Done, None)) };
        vec![
            task("heartbeat", 10, ran(TaskResult::Done, None)),
            task("reachability", 75, ran(TaskResult::Done, Some(reached))),
            task("session-log", 30, ran(TaskResult::Failed, Some(self.name))),
            task("policy", 5, ran(TaskResult::TimedOut, Some("It took longer than 90s."))),
            task("host-names", 60, ran(TaskResult::Panicked, Some(self.name))),
            task("removed-hosts", 5, None),
            runs_now,
        ]
    }

    pub(super) fn jobs(&mut self) {
        let mut desk = self.desk("/jobs");
        desk.live = &[Topic::Jobs];
        let ran = |job, result, detail: &str| {
            let counts = BTreeMap::new();
            // So that none is late, whatever its period.
            let started_at = now() - jiff::SignedDuration::from_mins(2);
            let run = Run { started_at, duration_ms: 3210, result, detail: detail.to_owned(), counts };
            JobState::new(job, Some(run), None, now())
        };
        let all =
            |result, detail: &str| -> Vec<JobState> { Job::ALL.iter().map(|job| ran(*job, result, detail)).collect() };
        self.add(
            "jobs",
            &Jobs::new(&desk, &all(RunResult::Done, "12 addresses were given back."), &self.tasks(), None),
        );
        let mut mixed = all(RunResult::Done, "Checkpoint 812 was signed.");
        if let [first, second, third, ..] = mixed.as_mut_slice() {
            *first = ran(first.name, RunResult::Failed, self.name);
            *second = ran(second.name, RunResult::Found, "Audit log verification failed: 2 breaks.");
            *third = JobState::new(third.name, third.last_run.take(), Some(now()), now());
        }
        self.add("jobs-trouble", &Jobs::new(&desk, &mixed, &self.tasks(), None));
        let never = || Job::ALL.iter().map(|job| JobState::new(*job, None, None, now())).collect::<Vec<_>>();
        let auditor = self.desk_of(Role::Auditor, "/jobs");
        self.add("jobs-never", &Jobs::new(&auditor, &never(), &[], Some(ago(3))));
        self.add("jobs-young", &Jobs::new(&auditor, &never(), &self.tasks(), Some(now())));
    }
}
