//! `/users/{id}/profiles` and `/profiles`.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        ids::{ProfileId, ServerId, UserId},
        profile::Profile,
    },
    services::{
        ProfileFilter, Services,
        profiles::{IssuedProfile, NewProfile},
    },
    web::{
        answer::{Answer, Created, List, Moving, Single, created, json},
        download::{PROFILE, accepts_profile, download},
        extract::{At, Caller, Filter, IfMatch, Json, Query},
        openapi::{Draft, Gives},
    },
};

/// A new profile with its file.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedProfile)]
struct Issued<'a> {
    profile: &'a Profile,
    /// The file: plain text for any OpenVPN client, with the private key in it. It is in this answer only.
    #[schema(example = "client\ndev tun\n…")]
    config: &'a str,
}

/// A new profile: as an object, or as the bare file for who asks for that.
pub(super) struct IssuedAnswer {
    issued: IssuedProfile,
    bare: bool,
}

impl IntoResponse for IssuedAnswer {
    fn into_response(self) -> Response {
        let (profile, rev) = (&self.issued.profile.value, self.issued.profile.rev);
        let location = format!("/api/v1/profiles/{}", profile.id);
        if self.bare {
            return created(download(&self.issued, None), &location, rev);
        }
        let config = self.issued.config.expose().as_str();
        created(json(&Issued { profile, config }), &location, rev)
    }
}

impl Gives for IssuedAnswer {
    fn give(draft: &mut Draft) {
        Created::<Issued<'_>>::give(draft);
        draft.also(StatusCode::CREATED, PROFILE, "The bare file, for `Accept: application/x-openvpn-profile`.");
    }
}

/// Issues a profile. This answer is the only place where its private key ever is.
pub(super) async fn issue(
    State(services): State<Services>,
    Caller(act): Caller,
    At(user): At<UserId>,
    headers: HeaderMap,
    Json(new): Json<NewProfile>,
) -> Answer<IssuedAnswer> {
    let issued = services.issue_profile(&act, user, new).await?;
    Ok(IssuedAnswer { issued, bare: accepts_profile(&headers) })
}

/// Which profiles.
#[derive(Debug, Deserialize, ToSchema)]
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
) -> Answer<Moving<Profile>> {
    let found = services.profile(&act, id).await?;
    let moved = found.value.last_connected_at.is_some();
    Ok(Moving { found, moved })
}

pub(super) async fn revoke(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ProfileId>,
    IfMatch(expected): IfMatch,
) -> Answer<Single<Profile>> {
    Ok(Single(services.revoke_profile(&act, id, expected).await?))
}
