//! `/users`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::answer::{Accepted, Answer, Created, List, NoContent, Plain, Single};
use crate::api::extract::{At, Call, Filter, IfMatch, Json, Query, Sort};
use domain::ids::{OrganizationId, UserId};
use domain::search::UserSearch;
use domain::text::Email;
use domain::user::User;
use services::people::import::{Imported, NewUsers};
use services::people::users::{NewUser, UserPatch};
use services::{OrderBy, UserFilter};

/// Which users.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserQuery {
    organization_id: Option<OrganizationId>,
    q: Option<UserSearch>,
    email: Option<Email>,
}

impl Filter for UserQuery {
    type Id = UserId;
    const SORTS: &'static [Sort] = &[("created", OrderBy::Created), ("name", OrderBy::Name), ("email", OrderBy::Email)];
}

pub(crate) async fn list(Call(services, act): Call, query: Query<UserQuery>) -> Answer<List<User>> {
    let UserQuery { organization_id, q, email } = &query.filter;
    let search = q.clone().unwrap_or_default();
    let filter = UserFilter { organization_id: *organization_id, email: email.clone(), search };
    let page = services.people().users(&act, &filter, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(crate) async fn create(Call(services, act): Call, Json(new): Json<NewUser>) -> Answer<Created<User>> {
    let made = services.people().create_user(&act, new).await?;
    Ok(Created { location: format!("/api/v1/users/{}", made.value.id), rev: made.rev, body: made.value })
}

/// Makes the users of a list, or tells what would be made.
pub(crate) async fn import(Call(services, act): Call, Json(new): Json<NewUsers>) -> Answer<Plain<Imported>> {
    Ok(Plain(services.people().import_users(&act, &new).await?))
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<UserId>) -> Answer<Single<User>> {
    Ok(Single(services.people().user(&act, id).await?))
}

pub(crate) async fn update(
    Call(services, act): Call,
    At(id): At<UserId>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<UserPatch>,
) -> Answer<Single<User>> {
    Ok(Single(services.people().update_user(&act, id, patch, expected).await?))
}

pub(crate) async fn delete(
    Call(services, act): Call,
    At(id): At<UserId>,
    IfMatch(expected): IfMatch,
) -> Answer<NoContent> {
    services.people().delete_user(&act, id, expected).await?;
    Ok(NoContent)
}

/// Ends all live sessions of a user.
pub(crate) async fn end_sessions(Call(services, act): Call, At(id): At<UserId>) -> Answer<Accepted> {
    services.access().end_sessions_of(&act, id).await?;
    Ok(Accepted)
}

/// Signs a user out of the portal and the console, in every browser.
pub(crate) async fn end_logins(Call(services, act): Call, At(id): At<UserId>) -> Answer<NoContent> {
    services.identity().end_logins_of(&act, id).await?;
    Ok(NoContent)
}
