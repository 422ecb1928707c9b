//! `/jobs` and `/tasks`.

use crate::api::answer::{Accepted, Answer, List};
use crate::api::extract::{At, Call, NoQuery};
use domain::job::{Job, JobState};
use domain::task::TaskState;

pub(crate) async fn list(Call(services, act): Call, _: NoQuery) -> Answer<List<JobState>> {
    // So few that one page holds them all.
    Ok(List { items: services.cluster().jobs(&act).await?, next_cursor: None, link: None, count: None })
}

pub(crate) async fn tasks(Call(services, act): Call, _: NoQuery) -> Answer<List<TaskState>> {
    Ok(List { items: services.cluster().tasks(&act)?, next_cursor: None, link: None, count: None })
}

pub(crate) async fn run(Call(services, act): Call, At(job): At<Job>) -> Answer<Accepted> {
    services.cluster().want_job(&act, job).await?;
    Ok(Accepted)
}
