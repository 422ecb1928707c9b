//! `/join-tokens`: invitations for new machines.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer::{Answer, List, NoContent, Placed, Plain};
use crate::api::extract::{All, At, Call, Json, Query};
use domain::ids::JoinTokenId;
use services::hosts::joining::{JoinTokenView, NewJoinToken};

/// A join token that was just made. What it is shown with is in this answer only.
#[derive(Serialize, ToSchema)]
#[schema(as = NewlyMadeJoinToken)]
pub(crate) struct Issued {
    #[serde(flatten)]
    view: JoinTokenView,
    /// What the machine shows.
    token: String,
    /// What to run on it, as root.
    command: String,
}

pub(crate) async fn create(Call(services, act): Call, Json(new): Json<NewJoinToken>) -> Answer<Placed<Issued>> {
    let issued = services.hosts().create_join_token(&act, new).await?;
    let location = format!("/api/v1/join-tokens/{}", issued.view.id);
    let (token, command) = (issued.token.expose().clone(), issued.command.expose().clone());
    Ok(Placed { location, body: Issued { view: issued.view, token, command } })
}

pub(crate) async fn list(Call(services, act): Call, query: Query<All<JoinTokenId>>) -> Answer<List<JoinTokenView>> {
    let page = services.hosts().join_tokens(&act, &query.page).await?;
    Ok(query.answer(page, |view| view))
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<JoinTokenId>) -> Answer<Plain<JoinTokenView>> {
    Ok(Plain(services.hosts().join_token(&act, id).await?))
}

pub(crate) async fn withdraw(Call(services, act): Call, At(id): At<JoinTokenId>) -> Answer<NoContent> {
    services.hosts().withdraw_join_token(&act, id).await?;
    Ok(NoContent)
}
