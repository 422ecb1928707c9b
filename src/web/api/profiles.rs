//! `/users/{id}/profiles` and `/profiles`.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        ids::{ProfileId, ServerId, UserId},
        profile::Profile,
    },
    services::{ProfileFilter, Services, profiles::NewProfile},
    web::{
        answer::{Answer, Created, List, Single, created},
        download::{accepts_profile, download},
        extract::{At, Caller, Filter, IfMatch, Json, Query},
    },
};

/// A new profile with its file.
#[derive(Serialize)]
struct Issued<'a> {
    profile: &'a Profile,
    config: &'a str,
}

/// Issues a profile. This answer is the only place where its private key ever is.
pub(super) async fn issue(
    State(services): State<Services>,
    Caller(act): Caller,
    At(user): At<UserId>,
    headers: HeaderMap,
    Json(new): Json<NewProfile>,
) -> Answer<Response> {
    let issued = services.issue_profile(&act, user, new).await?;
    let (profile, rev) = (&issued.profile.value, issued.profile.rev);
    let location = format!("/api/v1/profiles/{}", profile.id);
    if accepts_profile(&headers) {
        return Ok(created(download(&issued, None), &location, rev));
    }
    let config = issued.config.expose().as_str();
    Ok(Created { location, rev, body: Issued { profile, config } }.into_response())
}

/// Which profiles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileQuery {
    user_id: Option<UserId>,
    server_id: Option<ServerId>,
}

impl Filter for ProfileQuery {
    type Id = ProfileId;
}

pub(super) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<ProfileQuery>,
) -> Answer<List<Profile>> {
    let filter = ProfileFilter { user_id: query.filter.user_id, server_id: query.filter.server_id };
    let page = services.profiles(&act, &filter, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(super) async fn show(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ProfileId>,
) -> Answer<Single<Profile>> {
    Ok(Single(services.profile(&act, id).await?))
}

pub(super) async fn revoke(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ProfileId>,
    IfMatch(expected): IfMatch,
) -> Answer<Single<Profile>> {
    Ok(Single(services.revoke_profile(&act, id, expected).await?))
}
