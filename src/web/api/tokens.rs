//! `/tokens`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer::{Answer, List, NoContent, Placed, Plain};
use crate::api::extract::{All, At, Call, Json, Query};
use domain::ids::TokenId;
use domain::token::ApiToken;
use services::identity::tokens::NewToken;

/// An API token that was just made. What it is shown with is in this answer only.
#[derive(Serialize, ToSchema)]
#[schema(as = NewlyMadeToken)]
pub(crate) struct Issued {
    #[serde(flatten)]
    view: ApiToken,
    /// What to send as `Authorization: Bearer …`.
    #[schema(example = "pst_tok_01KAS00000000000000000000A_…")]
    token: String,
}

pub(crate) async fn create(Call(services, act): Call, Json(new): Json<NewToken>) -> Answer<Placed<Issued>> {
    let issued = services.identity().create_token(&act, new).await?;
    let location = format!("/api/v1/tokens/{}", issued.token.id);
    Ok(Placed { location, body: Issued { token: issued.text.expose().clone(), view: issued.token } })
}

pub(crate) async fn list(Call(services, act): Call, query: Query<All<TokenId>>) -> Answer<List<ApiToken>> {
    let page = services.identity().tokens(&act, &query.page).await?;
    Ok(query.answer(page, |token| token))
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<TokenId>) -> Answer<Plain<ApiToken>> {
    Ok(Plain(services.identity().token(&act, id).await?))
}

pub(crate) async fn revoke(Call(services, act): Call, At(id): At<TokenId>) -> Answer<NoContent> {
    services.identity().revoke_token(&act, id).await?;
    Ok(NoContent)
}
