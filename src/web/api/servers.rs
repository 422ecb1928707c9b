//! `/servers` and `/servers/{id}/hosts`.

use axum::extract::State;

use crate::api::{
    answer::{Answer, Created, List, NoContent, Plain, Single},
    extract::{At, Caller, IfMatch, Json, Named, Query},
};
use domain::{
    ids::{HostId, ServerId},
    server::Server,
};
use services::{
    Services,
    network::{
        attachments::AttachedHost,
        server_keys::{KeyRotation, ServerKeyView},
        servers::{NewServer, ServerPatch},
    },
};

pub(crate) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<Named<ServerId>>,
) -> Answer<List<Server>> {
    let page = services.network().servers(&act, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(crate) async fn create(
    State(services): State<Services>,
    Caller(act): Caller,
    Json(new): Json<NewServer>,
) -> Answer<Created<Server>> {
    let made = services.network().create_server(&act, new).await?;
    Ok(Created { location: format!("/api/v1/servers/{}", made.value.id), rev: made.rev, body: made.value })
}

pub(crate) async fn show(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ServerId>,
) -> Answer<Single<Server>> {
    Ok(Single(services.network().server(&act, id).await?))
}

pub(crate) async fn update(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ServerId>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<ServerPatch>,
) -> Answer<Single<Server>> {
    Ok(Single(services.network().update_server(&act, id, patch, expected).await?))
}

pub(crate) async fn delete(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ServerId>,
    IfMatch(expected): IfMatch,
) -> Answer<NoContent> {
    services.network().delete_server(&act, id, expected).await?;
    Ok(NoContent)
}

/// All hosts of a server; they are few, so there is one page.
pub(crate) async fn hosts(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ServerId>,
) -> Answer<List<AttachedHost>> {
    Ok(List::whole(services.network().server_hosts(&act, id).await?))
}

pub(crate) async fn attach(
    State(services): State<Services>,
    Caller(act): Caller,
    At((server, host)): At<(ServerId, HostId)>,
) -> Answer<NoContent> {
    services.network().attach(&act, server, host).await?;
    Ok(NoContent)
}

pub(crate) async fn detach(
    State(services): State<Services>,
    Caller(act): Caller,
    At((server, host)): At<(ServerId, HostId)>,
) -> Answer<NoContent> {
    services.network().detach(&act, server, host).await?;
    Ok(NoContent)
}

pub(crate) async fn key(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ServerId>,
) -> Answer<Plain<ServerKeyView>> {
    Ok(Plain(services.network().server_key(&act, id).await?))
}

pub(crate) async fn rotate(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ServerId>,
    Json(order): Json<KeyRotation>,
) -> Answer<Plain<ServerKeyView>> {
    Ok(Plain(services.network().rotate_server_key(&act, id, order).await?))
}
