//! `/users/{id}/profile-links`: a one-time link for somebody who cannot sign in.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    domain::ids::UserId,
    services::{Services, profiles::NewProfile},
    web::{
        answer::{Answer, json},
        extract::{At, Caller, Json},
        problem::{Code, Problem},
    },
};

/// A link that was just made. It is in this answer only.
#[derive(Serialize)]
struct Link<'a> {
    url: &'a str,
    expires_at: Timestamp,
}

/// Makes a link. It is no object with an address of its own, so there is no `Location`.
pub(super) async fn create(
    State(services): State<Services>,
    Caller(act): Caller,
    At(user): At<UserId>,
    Json(new): Json<NewProfile>,
) -> Answer<Response> {
    if !services.has_public_url() {
        let detail = "public.url is not set in this process's configuration, so it cannot tell where the link leads";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let ticket = services.make_ticket(&act, user, new).await?;
    let url = services.ticket_url(&ticket);
    let link = Link { url: url.as_ref().map_or("", |url| url.expose().as_str()), expires_at: ticket.expires_at };
    Ok((StatusCode::CREATED, json(&link)).into_response())
}
