//! `/users`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        ids::{OrganizationId, UserId},
        text::{Email, Name},
        user::User,
    },
    services::{
        Services, UserFilter,
        users::{NewUser, UserPatch},
    },
    web::{
        answer::{Answer, Created, List, NoContent, Single},
        extract::{At, Caller, Filter, IfMatch, Json, Query},
    },
};

/// Which users.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserQuery {
    organization_id: Option<OrganizationId>,
    q: Option<Name>,
    email: Option<Email>,
}

impl Filter for UserQuery {
    type Id = UserId;
}

pub(super) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<UserQuery>,
) -> Answer<List<User>> {
    let UserQuery { organization_id, q, email } = &query.filter;
    let text = q.as_ref().map(|text| text.as_str().to_owned());
    let filter = UserFilter { organization_id: *organization_id, text, email: email.clone() };
    let page = services.users(&act, &filter, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(super) async fn create(
    State(services): State<Services>,
    Caller(act): Caller,
    Json(new): Json<NewUser>,
) -> Answer<Created<User>> {
    let made = services.create_user(&act, new).await?;
    Ok(Created { location: format!("/api/v1/users/{}", made.value.id), rev: made.rev, body: made.value })
}

pub(super) async fn show(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<UserId>,
) -> Answer<Single<User>> {
    Ok(Single(services.user(&act, id).await?))
}

pub(super) async fn update(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<UserId>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<UserPatch>,
) -> Answer<Single<User>> {
    Ok(Single(services.update_user(&act, id, patch, expected).await?))
}

pub(super) async fn delete(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<UserId>,
    IfMatch(expected): IfMatch,
) -> Answer<NoContent> {
    services.delete_user(&act, id, expected).await?;
    Ok(NoContent)
}
