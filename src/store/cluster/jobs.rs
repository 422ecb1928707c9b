//! Records of periodic jobs: the last run, and whether another one was requested. One document each.

use crate::areas::{Cluster, ClusterChange};
use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Collection, bson};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{date, timestamp};
use domain::job::{Job, Run};

const JOBS: &str = "jobs";

/// The stored form. Times of runs are texts, as the noun has them: nothing is found by them.
#[derive(Serialize, Deserialize)]
struct JobDoc {
    #[serde(rename = "_id")]
    name: String,
    #[serde(default)]
    last_run: Option<Run>,
    #[serde(default)]
    wanted_at: Option<DateTime>,
}

/// The record of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobRecord {
    /// Its last run.
    pub last_run: Option<Run>,
    /// When a run was requested that has not begun.
    pub wanted_at: Option<Timestamp>,
}

impl Cluster<'_> {
    /// The records of all jobs; those that never ran are absent.
    pub async fn job_records(self) -> Result<HashMap<Job, JobRecord>, StoreError> {
        let jobs: Collection<JobDoc> = self.jobs().clone_with_type();
        let rows: Vec<JobDoc> = jobs.find(doc! {}).await?.try_collect().await?;
        // A job of a later release is none of ours.
        Ok(rows.into_iter().filter_map(|row| Some((row.name.parse().ok()?, row.into()))).collect())
    }

    /// The record of one job.
    pub async fn job_record(self, job: Job) -> Result<JobRecord, StoreError> {
        let jobs: Collection<JobDoc> = self.jobs().clone_with_type();
        let found = jobs.find_one(doc! { "_id": job.as_str() }).await?;
        Ok(found.map(JobRecord::from).unwrap_or_default())
    }

    /// Forgets that a run was wanted, because one begins.
    pub async fn take_job_wish(self, job: Job) -> Result<(), StoreError> {
        let unset = doc! { "$unset": { "wanted_at": "" } };
        self.jobs().update_one(doc! { "_id": job.as_str() }, unset).await?;
        Ok(())
    }

    /// Writes a run down, made under a lease of this term. `false` if the holder of a later lease has written meanwhile.
    pub async fn record_run(self, job: Job, term: i64, run: &Run) -> Result<bool, StoreError> {
        let run = bson::serialize_to_bson(run).map_err(mongodb::error::Error::from)?;
        let filter = doc! { "_id": job.as_str(), "term": { "$not": { "$gt": term } } };
        let set = doc! { "$set": { "term": term, "last_run": run } };
        match self.jobs().update_one(filter, set).upsert(true).await.map_err(StoreError::from) {
            Ok(_) => Ok(true),
            // The document is there and did not match.
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn jobs(self) -> Collection<Document> {
        self.rows(JOBS)
    }
}

impl ClusterChange<'_> {
    /// Writes down that a run of a job is wanted.
    pub async fn want_job(self, job: Job, at: Timestamp) -> Result<(), StoreError> {
        self.upsert_row(JOBS, doc! { "_id": job.as_str() }, doc! { "$set": { "wanted_at": Bson::DateTime(date(at)) } })
            .await
    }
}

impl From<JobDoc> for JobRecord {
    fn from(doc: JobDoc) -> Self {
        Self { last_run: doc.last_run, wanted_at: doc.wanted_at.and_then(timestamp) }
    }
}
