//! `/jobs` and `/tasks`.

use crate::api::answer::{Accepted, Answer, List};
use crate::api::extract::{At, Call, NoQuery};
use domain::job::{Job, JobState};
use domain::task::TaskState;

pub(crate) async fn list(Call(services, act): Call, _: NoQuery) -> Answer<List<JobState>> {
    // So few that one page holds them all.
    Ok(List::whole(services.cluster().jobs(&act).await?))
}

pub(crate) async fn tasks(Call(services, act): Call, _: NoQuery) -> Answer<List<TaskState>> {
    Ok(List::whole(services.cluster().tasks(&act)?))
}

pub(crate) async fn run(Call(services, act): Call, At(job): At<Job>) -> Answer<Accepted> {
    services.cluster().want_job(&act, job).await?;
    Ok(Accepted)
}
