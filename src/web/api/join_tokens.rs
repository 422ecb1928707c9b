//! `/join-tokens`: invitations for new machines.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use crate::{
    domain::ids::JoinTokenId,
    services::{
        Services,
        joining::{JoinTokenView, NewJoinToken},
    },
    web::{
        answer::{Answer, List, json},
        extract::{All, At, Caller, Json, Query},
    },
};

/// A join token that was just made. What it is shown with is in this answer only.
#[derive(Serialize)]
struct Issued<'a> {
    #[serde(flatten)]
    view: &'a JoinTokenView,
    token: &'a str,
    command: &'a str,
}

pub(super) async fn create(
    State(services): State<Services>,
    Caller(act): Caller,
    Json(new): Json<NewJoinToken>,
) -> Answer<Response> {
    let issued = services.create_join_token(&act, new).await?;
    let body = Issued { view: &issued.view, token: issued.token.expose(), command: issued.command.expose() };
    let location = format!("/api/v1/join-tokens/{}", issued.view.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], json(&body)).into_response())
}

pub(super) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<All<JoinTokenId>>,
) -> Answer<List<JoinTokenView>> {
    let page = services.join_tokens(&act, &query.page).await?;
    Ok(query.answer(page, |view| view))
}

pub(super) async fn show(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<JoinTokenId>,
) -> Answer<Response> {
    Ok(json(&services.join_token(&act, id).await?))
}

pub(super) async fn withdraw(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<JoinTokenId>,
) -> Answer<Response> {
    services.withdraw_join_token(&act, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
