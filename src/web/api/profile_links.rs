//! `/users/{id}/profile-links`: a one-time link for somebody who cannot sign in.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer::{Answer, Made};
use crate::api::extract::{At, Call, Json};
use crate::http::problem::{Code, Problem};
use domain::ids::UserId;
use domain::login::Surface;
use services::access::profiles::NewProfile;

/// A link that was just made. It is in this answer only.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileLink {
    /// Whoever opens it gets the profile, once.
    #[schema(example = "https://vpn.example.com/p/…")]
    url: String,
    /// Until when it works.
    expires_at: Timestamp,
}

/// Makes a link. It is no object with an address of its own, so there is no `Location`.
pub(crate) async fn create(
    Call(services, act): Call,
    At(user): At<UserId>,
    Json(new): Json<NewProfile>,
) -> Answer<Made<ProfileLink>> {
    if !services.has_url(Surface::Portal) {
        let detail = "public.url is not set in this process's configuration, so it cannot tell where the link leads";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let ticket = services.identity().make_ticket(&act, user, new).await?;
    let url = services.identity().ticket_url(&ticket).map(|url| url.expose().clone()).unwrap_or_default();
    Ok(Made(ProfileLink { url, expires_at: ticket.expires_at }))
}
