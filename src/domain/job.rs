//! Periodic work: the closed set of jobs, how often each is due, and what came of its last run.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! jobs {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal, every $period:expr;)*) => {
        /// A periodic job.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Job {
            $($(#[doc = $doc])* $name,)*
        }

        impl Job {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// How long after the beginning of a run the next one is due.
            pub fn period(self) -> Duration {
                match self {
                    $(Self::$name => $period,)*
                }
            }

            /// What it does, as a sentence.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

jobs! {
    /// Signs for what was recorded in the audit log since the last time.
    AuditCheckpoint = "audit-checkpoint", every Duration::from_mins(5);
    /// Verifies the whole audit log.
    AuditVerify = "audit-verify", every Duration::from_hours(24);
    /// Deletes and shortens what is older than the settings allow.
    Retention = "retention", every Duration::from_hours(24);
    /// Gives back reserved addresses that no profile came of.
    AddressSweep = "address-sweep", every Duration::from_hours(1);
    /// Makes users findable whom the previous release wrote.
    UserIndex = "user-index", every Duration::from_hours(1);
}

/// After a failure the next attempt comes this soon, if the period is longer.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// A job that found something runs again this soon, if its period is longer: an administrator who mends it should not
/// have to wait for the alarm to end.
const RECHECK: SignedDuration = SignedDuration::from_mins(30);

impl Job {
    /// The job whose work this one builds on: it wakes this one when it is done.
    pub fn follows(self) -> Option<Self> {
        match self {
            Self::AuditVerify => Some(Self::AuditCheckpoint),
            Self::AuditCheckpoint | Self::Retention | Self::AddressSweep | Self::UserIndex => None,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.iter().map(|job| job.as_str()).collect::<Vec<_>>().join(", ");
        Self::ALL.iter().find(|job| job.as_str() == text).copied().ok_or_else(|| format!("must be one of {}", known()))
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// It did what it is for.
    Done,
    /// It did, and found something that should not be.
    Found,
    /// It could not.
    Failed,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub result: RunResult,
    /// What happened, as a sentence.
    pub detail: String,
    /// How much of what, by the names of what was counted.
    pub counts: BTreeMap<String, u64>,
}

/// A job as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobState {
    /// Which one.
    pub name: Job,
    /// What it does.
    pub description: String,
    /// How long after the beginning of a run the next one is due, in seconds.
    pub period_seconds: u64,
    /// Its last run; `null` before the first.
    pub last_run: Option<Run>,
    /// When the next one is due, by a process with the role jobs.
    pub next_run_at: Timestamp,
    /// When a run was requested that has not begun yet.
    pub wanted_at: Option<Timestamp>,
}

impl JobState {
    /// A job at `now`, of what is written down about it.
    pub fn new(name: Job, last_run: Option<Run>, wanted_at: Option<Timestamp>, now: Timestamp) -> Self {
        let period = name.period();
        let due = |run: &Run| {
            let period = SignedDuration::try_from(period).unwrap_or(SignedDuration::MAX);
            let after = match run.result {
                RunResult::Done => period,
                RunResult::Found => period.min(RECHECK),
                RunResult::Failed => period.min(AGAIN),
            };
            run.started_at.saturating_add(after).unwrap_or(Timestamp::MAX)
        };
        let next_run_at = wanted_at.or_else(|| last_run.as_ref().map(due)).unwrap_or(now);
        let description = name.description().to_owned();
        Self { name, description, period_seconds: period.as_secs(), last_run, next_run_at, wanted_at }
    }

    /// Whether it is to run.
    pub fn is_due(&self, now: Timestamp) -> bool {
        // A run of the future is one of a clock that was wrong.
        let future =
            self.last_run.as_ref().is_some_and(|run| run.started_at > now.saturating_add(AGAIN).unwrap_or(now));
        self.next_run_at <= now || future
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as the state of a job has it")]
    fn run(result: RunResult, started_at: Timestamp) -> Option<Run> {
        let counts = BTreeMap::new();
        Some(Run { started_at, duration_ms: 1, result, detail: "It did.".to_owned(), counts })
    }

    #[test]
    fn jobs_survive_their_words_and_say_what_they_do() {
        for job in Job::ALL {
            assert_eq!(job.as_str().parse(), Ok(*job));
            assert_eq!(serde_json::to_string(job).unwrap(), format!("\"{job}\""));
            assert!(job.description().ends_with('.') && !job.description().starts_with(' '), "{job}");
        }
        assert!("backup".parse::<Job>().unwrap_err().contains("audit-verify"));
    }

    #[test]
    fn a_job_stands_after_the_one_whose_work_it_builds_on() {
        // So that a process starts them in this order.
        let place = |job| Job::ALL.iter().position(|other| *other == job);
        for job in Job::ALL {
            assert!(job.follows().is_none_or(|before| place(before) < place(*job)), "{job}");
        }
    }

    #[test]
    fn a_job_is_due_at_first_then_by_its_period_and_soon_after_a_failure_or_a_finding() {
        let began = Timestamp::UNIX_EPOCH;
        let at = |minutes| began + SignedDuration::from_mins(minutes);
        let due =
            |last, wanted, minutes| JobState::new(Job::AddressSweep, last, wanted, at(minutes)).is_due(at(minutes));
        assert!(due(None, None, 0));
        assert!(!due(run(RunResult::Done, began), None, 59));
        assert!(due(run(RunResult::Done, began), None, 60));
        assert!(!due(run(RunResult::Failed, began), None, 4));
        assert!(due(run(RunResult::Failed, began), None, 5));
        assert!(!due(run(RunResult::Found, began), None, 29));
        assert!(due(run(RunResult::Found, began), None, 30), "what was found is looked at again within the hour");
        assert!(due(run(RunResult::Done, began), Some(at(1)), 1));
        assert!(due(run(RunResult::Done, at(9999)), None, 1), "a clock that was ahead stops nothing");
    }
}
