//! `/organizations`.

use crate::api::answer::{Answer, Created, List, NoContent, Single};
use crate::api::extract::{At, Call, IfMatch, Json, Named, Query};
use domain::ids::OrganizationId;
use domain::organization::Organization;
use services::people::organizations::{NewOrganization, OrganizationPatch};

pub(crate) async fn list(Call(services, act): Call, query: Query<Named<OrganizationId>>) -> Answer<List<Organization>> {
    let page = services.people().organizations(&act, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(crate) async fn create(
    Call(services, act): Call,
    Json(new): Json<NewOrganization>,
) -> Answer<Created<Organization>> {
    let made = services.people().create_organization(&act, new).await?;
    Ok(Created { location: format!("/api/v1/organizations/{}", made.value.id), rev: made.rev, body: made.value })
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<OrganizationId>) -> Answer<Single<Organization>> {
    Ok(Single(services.people().organization(&act, id).await?))
}

pub(crate) async fn update(
    Call(services, act): Call,
    At(id): At<OrganizationId>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<OrganizationPatch>,
) -> Answer<Single<Organization>> {
    Ok(Single(services.people().update_organization(&act, id, patch, expected).await?))
}

pub(crate) async fn delete(
    Call(services, act): Call,
    At(id): At<OrganizationId>,
    IfMatch(expected): IfMatch,
) -> Answer<NoContent> {
    services.people().delete_organization(&act, id, expected).await?;
    Ok(NoContent)
}
