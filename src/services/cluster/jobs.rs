//! Periodic jobs: what is known of them, and one run at a time in the whole cluster.
//!
//! # Theory of operation
//! A run is made under the lease of its job, so an outside scheduler and the processes with the role jobs never do the
//! same one at once. The lease is renewed while the run goes on; if that fails, the run is given up. What came of it is
//! written with the lease's term, so that a process which slept through its lease does not overwrite what its successor
//! wrote. What runs change they change as any other act does, in transactions that fit only once.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::retention::Forgotten;
use crate::{Act, Cluster, Nudge, Refusal, ServiceError};
use domain::audit::Action;
use domain::ids::InstanceId;
use domain::job::{Job, JobState, Run, RunResult};
use domain::role::Permission;
use metrics::catalogue::{AUDIT_BROKEN, AUDIT_VERIFIED, JOB_LAST_SUCCESS, JOB_LEADER, JOB_SECONDS};
use runtime::causes::chain;
use store::bus::lease::Lease;

/// After a process crashed in the middle of a run, the job waits for so long.
const LEASE: Duration = Duration::from_mins(1);

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(20);

/// What a run reports of itself.
struct RunReport {
    result: RunResult,
    detail: String,
    counts: BTreeMap<String, u64>,
}

impl RunReport {
    fn done(detail: impl Into<String>, counts: &[(&str, u64)]) -> Self {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Self { result: RunResult::Done, detail: detail.into(), counts }
    }
}

impl Cluster<'_> {
    /// All jobs.
    pub async fn jobs(self, act: &Act) -> Result<Vec<JobState>, ServiceError> {
        act.require(Permission::Read)?;
        let mut records = self.store().cluster().job_records().await?;
        let now = self.now();
        let state = |job: &Job| {
            let record = records.remove(job).unwrap_or_default();
            JobState::new(*job, record.last_run, record.wanted_at, now)
        };
        Ok(Job::ALL.iter().map(state).collect())
    }

    /// One job.
    pub async fn job(self, job: Job) -> Result<JobState, ServiceError> {
        let record = self.store().cluster().job_record(job).await?;
        Ok(JobState::new(job, record.last_run, record.wanted_at, self.now()))
    }

    /// Asks the processes with the role jobs for a run as soon as possible.
    pub async fn want_job(self, act: &Act, job: Job) -> Result<(), ServiceError> {
        act.require(Permission::ManageSettings)?;
        let (at, entry) = (self.now(), &self.entry(act, Action::JobRequest, &job, json!({})));
        self.store()
            .note(|tx| async move {
                tx.cluster().want_job(job, at).await?;
                Ok::<_, ServiceError>(tx.record(entry).await?)
            })
            .await?;
        self.nudge(&Nudge::JobChange(job));
        Ok(())
    }

    /// Runs a job if it is due. Nothing if it is not, or if another process does it.
    pub async fn run_due_job(self, job: Job) -> Result<Option<Run>, ServiceError> {
        let state = self.job(job).await?;
        self.measure_job(job, state.last_run.as_ref());
        if !state.is_due(self.now()) || self.waits(&state).await? {
            return Ok(None);
        }
        let Some(run) = self.under_lease(job, true).await? else { return Ok(None) };
        Ok(run)
    }

    /// Whether there is nothing yet that a job could work on; a requested run takes place all the same.
    async fn waits(self, state: &JobState) -> Result<bool, ServiceError> {
        // The audit log of a new cluster is verified once somebody has signed for it; the first checkpoint wakes the job.
        let is_asked_for = state.wanted_at.is_some();
        Ok(state.name == Job::AuditVerify && !is_asked_for && !self.store().evidence().is_trail_signed().await?)
    }

    /// Says in the numbers what is known of a job's last run, on whatever host it was.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point; seconds stay far below 2^52")]
    fn measure_job(self, job: Job, last: Option<&Run>) {
        let mine = self.led.lock().unwrap_or_else(PoisonError::into_inner).get(&job).copied();
        let leads = mine.is_some() && mine == last.map(|run| run.started_at.as_millisecond());
        self.metrics().set(&JOB_LEADER, [job.as_str()], f64::from(u8::from(leads)));
        let Some(run) = last.filter(|run| run.result != RunResult::Failed) else { return };
        let ended = run.started_at.as_second() as f64;
        self.metrics().set(&JOB_LAST_SUCCESS, [job.as_str()], ended);
        if job == Job::AuditVerify {
            self.metrics().set(&AUDIT_VERIFIED, [], ended);
            self.metrics().set(&AUDIT_BROKEN, [], f64::from(u8::from(run.result == RunResult::Found)));
        }
    }

    /// Runs a job now.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] while another process runs it, [`ServiceError::Paused`] while the cluster is paused.
    pub async fn run_job(self, act: &Act, job: Job) -> Result<Run, ServiceError> {
        act.require(Permission::ManageSettings)?;
        self.store().evidence().insert_audit(&self.entry(act, Action::JobRequest, &job, json!({}))).await?;
        Ok(self.under_lease(job, false).await?.flatten().ok_or(Refusal::JobRunning { job })?)
    }

    /// Runs a job under its lease. Nothing inside if, once the lease was there, it was not due any more; nothing at all
    /// if another process has the lease.
    async fn under_lease(self, job: Job, if_due: bool) -> Result<Option<Option<Run>>, ServiceError> {
        self.require_writable().await?;
        let (key, holder) = (format!("job.{job}"), self.new_id::<InstanceId>().to_string());
        let Some(lease) = self.store().take_lease(&key, &holder, LEASE).await? else { return Ok(None) };
        let outcome = async {
            // Another process may have done it between the look and the lease.
            if if_due && !self.job(job).await?.is_due(self.now()) {
                return Ok(None);
            }
            self.run_and_record(job, &key, &holder, lease).await.map(Some)
        };
        let outcome = outcome.await;
        self.store().release_lease(&key, &holder).await?;
        outcome.map(Some)
    }

    async fn run_and_record(self, job: Job, key: &str, holder: &str, lease: Lease) -> Result<Run, ServiceError> {
        let (started_at, began) = (self.now(), Instant::now());
        self.store().cluster().take_job_wish(job).await?;
        let report = tokio::select! {
            report = self.perform(job) => report,
            () = self.hold(key, holder, lease) => Err(ServiceError::Conflict(Refusal::LeaseLost)),
        };
        let report = report.unwrap_or_else(|error| {
            tracing::warn!(event = "job.failed", %job, error = chain(&error), "a job failed");
            RunReport { result: RunResult::Failed, detail: error.to_string(), counts: BTreeMap::new() }
        });
        let RunReport { result, detail, counts } = report;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let run = Run { started_at, duration_ms, result, detail, counts };
        self.metrics().observe(&JOB_SECONDS, [job.as_str()], began.elapsed().as_secs_f64());
        if !self.store().cluster().record_run(job, lease.term, &run).await? {
            return Err(ServiceError::Conflict(Refusal::JobRunElsewhere { job }));
        }
        self.led.lock().unwrap_or_else(PoisonError::into_inner).insert(job, run.started_at.as_millisecond());
        self.measure_job(job, Some(&run));
        tracing::info!(event = "job.run", %job, result = ?run.result, counts = ?run.counts, duration_ms, "a job has run");
        self.nudge(&Nudge::JobChange(job));
        Ok(run)
    }

    /// Renews a lease for as long as that works.
    async fn hold(self, key: &str, holder: &str, mut lease: Lease) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            match self.store().take_lease(key, holder, LEASE).await {
                Ok(Some(renewed)) => lease = renewed,
                Err(error) if lease.is_valid() => {
                    tracing::debug!(event = "job.lease_late", %error, "a job's lease could not be renewed yet");
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn perform(self, job: Job) -> Result<RunReport, ServiceError> {
        match job {
            Job::AuditCheckpoint => Ok(match self.evidence().checkpoint().await? {
                None => RunReport::done("Nothing was recorded since the last checkpoint.", &[("chains", 0)]),
                Some(signed) => {
                    let statement = &signed.statement;
                    let chains = statement.heads.len() as u64;
                    RunReport::done(format!("Checkpoint {} was signed.", statement.seq), &[("chains", chains)])
                }
            }),
            Job::AuditVerify => self.tell_of_verification().await,
            Job::Retention => {
                let Forgotten { addresses, departed, sessions, entries } = self.forget_the_old().await?;
                let detail = format!(
                    "{sessions} sessions and {entries} audit entries were deleted, {addresses} addresses shortened, \
                     {departed} sessions of people who left made nameless."
                );
                let counts =
                    [("addresses", addresses), ("departed", departed), ("sessions", sessions), ("audit", entries)];
                Ok(RunReport::done(detail, &counts))
            }
            Job::AddressSweep => {
                let addresses = self.access().sweep_addresses().await?;
                Ok(RunReport::done(format!("{addresses} addresses were given back."), &[("addresses", addresses)]))
            }
            Job::UserIndex => {
                let users = self.people().index_users().await?;
                Ok(RunReport::done(format!("{users} users were made findable."), &[("users", users)]))
            }
        }
    }

    async fn tell_of_verification(self) -> Result<RunReport, ServiceError> {
        let report = self.evidence().verify_audit().await?;
        let breaks = report.findings.len() as u64 + report.more_findings;
        let counts = [
            ("entries", report.entries),
            ("checkpoints", report.statements),
            ("before_the_chain", report.before_the_chain),
            ("not_yet_signed", report.not_yet_signed),
            ("breaks", breaks),
        ];
        let Some(first) = report.findings.first() else {
            let detail = match report.entries {
                0 => "Nothing has been recorded yet.".to_owned(),
                entries if report.is_not_yet_signed() => {
                    format!("Entries: {entries}. None is signed for yet: the first checkpoint does that.")
                }
                entries => format!("{entries} entries are what was recorded."),
            };
            return Ok(RunReport::done(detail, &counts));
        };
        for finding in &report.findings {
            tracing::error!(
                target: "audit",
                event = "audit.broken",
                place = finding.place,
                detail = finding.detail,
                "audit log verification failed"
            );
        }
        let breaks = match breaks {
            1 => "1 break".to_owned(),
            breaks => format!("{breaks} breaks, the first"),
        };
        let detail = format!("Audit log verification failed: {breaks} at {first}.");
        Ok(RunReport { result: RunResult::Found, ..RunReport::done(detail, &counts) })
    }
}
