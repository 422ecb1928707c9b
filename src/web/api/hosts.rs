//! `/hosts`.

use crate::api::answer::{Answer, List, Moving, NoContent, Ordered, Plain, Single};
use crate::api::extract::{At, AtWith, Call, IfMatch, Json, Named, Query};
use domain::ids::HostId;
use services::hosts::drain::DrainOrder;
use services::hosts::registry::HostPatch;
use services::hosts::removal::{Removal, RemovalView};
use services::hosts::view::HostView;

pub(crate) async fn list(Call(services, act): Call, query: Query<Named<HostId>>) -> Answer<List<HostView>> {
    let page = services.hosts().hosts(&act, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<HostId>) -> Answer<Moving<HostView>> {
    Ok(Moving { found: services.hosts().host(&act, id).await?, moved: true })
}

pub(crate) async fn update(
    Call(services, act): Call,
    At(id): At<HostId>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<HostPatch>,
) -> Answer<Single<HostView>> {
    Ok(Single(services.hosts().update_host(&act, id, patch, expected).await?))
}

pub(crate) async fn delete(
    Call(services, act): Call,
    AtWith(id, removal): AtWith<HostId, Removal>,
    IfMatch(expected): IfMatch,
) -> Answer<NoContent> {
    services.hosts().remove_host(&act, id, removal, expected).await?;
    Ok(NoContent)
}

pub(crate) async fn removal(Call(services, act): Call, At(id): At<HostId>) -> Answer<Plain<RemovalView>> {
    Ok(Plain(services.hosts().host_removal(&act, id).await?))
}

pub(crate) async fn drain(
    Call(services, act): Call,
    At(id): At<HostId>,
    Json(order): Json<DrainOrder>,
) -> Answer<Ordered<HostView>> {
    Ok(Ordered(services.hosts().drain_host(&act, id, order).await?))
}

pub(crate) async fn resume(Call(services, act): Call, At(id): At<HostId>) -> Answer<Single<HostView>> {
    Ok(Single(services.hosts().resume_host(&act, id).await?))
}
