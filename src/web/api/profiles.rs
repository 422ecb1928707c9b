//! `/users/{id}/profiles` and `/profiles`.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::answer::{Answer, Created, List, Moving, Single, created, json};
use crate::api::download::{PROFILE, accepts_profile, download};
use crate::api::extract::{At, Call, Filter, IfMatch, Json, Query};
use crate::openapi::{Draft, Gives};
use domain::Revised;
use domain::ids::{ProfileId, ServerId, UserId};
use services::access::profile_view::ProfileView;
use services::access::profiles::{IssuedProfile, NewProfile};
use services::{Page, ProfileFilter};

/// A new profile with its file.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedProfile)]
struct Issued<'a> {
    profile: &'a ProfileView,
    /// The file: plain text for any OpenVPN client, with the private key in it. It is in this answer only.
    #[schema(example = "client\ndev tun\n…")]
    config: &'a str,
}

/// A new profile: as an object, or as the bare file for who asks for that.
pub(crate) struct IssuedAnswer {
    issued: IssuedProfile,
    view: Revised<ProfileView>,
    bare: bool,
}

impl IntoResponse for IssuedAnswer {
    fn into_response(self) -> Response {
        let (profile, rev) = (&self.view.value, self.view.rev);
        let location = format!("/api/v1/profiles/{}", profile.profile.id);
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
pub(crate) async fn issue(
    Call(services, act): Call,
    At(user): At<UserId>,
    headers: HeaderMap,
    Json(new): Json<NewProfile>,
) -> Answer<IssuedAnswer> {
    let issued = services.access().issue_profile(&act, user, new).await?;
    let Revised { rev, value } = issued.profile.clone();
    // Nothing may fail any more: the key is in this answer only.
    let view = Revised { rev, value: ProfileView::fresh(value) };
    Ok(IssuedAnswer { issued, view, bare: accepts_profile(&headers) })
}

/// Which profiles.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileQuery {
    user_id: Option<UserId>,
    server_id: Option<ServerId>,
}

impl Filter for ProfileQuery {
    type Id = ProfileId;
}

pub(crate) async fn list(Call(services, act): Call, query: Query<ProfileQuery>) -> Answer<List<ProfileView>> {
    let filter = ProfileFilter { user_id: query.filter.user_id, server_id: query.filter.server_id };
    let Page { items, next, count } = services.access().profiles(&act, &filter, &query.page).await?;
    let page = Page { items: services.access().profile_api_views(items).await?, next, count };
    Ok(query.answer(page, |found| found.value))
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<ProfileId>) -> Answer<Moving<ProfileView>> {
    let found = services.access().profile_api_view(services.access().profile(&act, id).await?).await?;
    let moved = found.value.profile.last_connected_at.is_some() || found.value.outdated.is_some();
    Ok(Moving { found, moved })
}

pub(crate) async fn revoke(
    Call(services, act): Call,
    At(id): At<ProfileId>,
    IfMatch(expected): IfMatch,
) -> Answer<Single<ProfileView>> {
    let revoked = services.access().revoke_profile(&act, id, expected).await?;
    Ok(Single(services.access().profile_api_view(revoked).await?))
}
