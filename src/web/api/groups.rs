//! `/groups`.

use crate::api::answer::{Answer, List, NoContent, Plain};
use crate::api::extract::{At, Call, Json, NoQuery};
use domain::group::{Group, GroupId};
use services::people::groups::{GroupPatch, Membership};

/// All groups in one page: they are as many as a company has departments.
pub(crate) async fn list(Call(services, act): Call, NoQuery: NoQuery) -> Answer<List<Group>> {
    Ok(List::whole(services.people().groups(&act).await?))
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<GroupId>) -> Answer<Plain<Group>> {
    Ok(Plain(services.people().group(&act, id.name()).await?))
}

/// Renames a group; the answer shows it under its new id.
pub(crate) async fn update(
    Call(services, act): Call,
    At(id): At<GroupId>,
    Json(patch): Json<GroupPatch>,
) -> Answer<Plain<Group>> {
    services.people().rename_group(&act, id.name(), &patch.name).await?;
    Ok(Plain(services.people().group(&act, &patch.name).await?))
}

pub(crate) async fn members(
    Call(services, act): Call,
    At(id): At<GroupId>,
    Json(change): Json<Membership>,
) -> Answer<NoContent> {
    services.people().change_members(&act, id.name(), &change).await?;
    Ok(NoContent)
}

pub(crate) async fn delete(Call(services, act): Call, At(id): At<GroupId>) -> Answer<NoContent> {
    services.people().delete_group(&act, id.name()).await?;
    Ok(NoContent)
}
