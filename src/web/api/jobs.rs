//! `/jobs`.

use axum::extract::State;

use crate::api::{
    answer::{Accepted, Answer, List},
    extract::{At, Caller, NoQuery},
};
use domain::job::{Job, JobState};
use services::Services;

pub(crate) async fn list(State(services): State<Services>, Caller(act): Caller, _: NoQuery) -> Answer<List<JobState>> {
    // So few that one page holds them all.
    Ok(List { items: services.cluster().jobs(&act).await?, next_cursor: None, link: None, count: None })
}

pub(crate) async fn run(State(services): State<Services>, Caller(act): Caller, At(job): At<Job>) -> Answer<Accepted> {
    services.cluster().want_job(&act, job).await?;
    Ok(Accepted)
}
