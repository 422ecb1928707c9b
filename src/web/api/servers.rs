//! `/servers` and `/servers/{id}/hosts`.

use crate::api::answer::{Answer, Created, List, NoContent, Plain, Single};
use crate::api::extract::{At, Call, IfMatch, Json, Named, Query};
use domain::ids::{HostId, ServerId};
use domain::server::Server;
use services::network::attachments::AttachedHost;
use services::network::server_keys::{KeyRotation, ServerKeyView};
use services::network::servers::{NewServer, ServerPatch};

pub(crate) async fn list(Call(services, act): Call, query: Query<Named<ServerId>>) -> Answer<List<Server>> {
    let page = services.network().servers(&act, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(crate) async fn create(Call(services, act): Call, Json(new): Json<NewServer>) -> Answer<Created<Server>> {
    let made = services.network().create_server(&act, new).await?;
    Ok(Created { location: format!("/api/v1/servers/{}", made.value.id), rev: made.rev, body: made.value })
}

pub(crate) async fn show(Call(services, act): Call, At(id): At<ServerId>) -> Answer<Single<Server>> {
    Ok(Single(services.network().server(&act, id).await?))
}

pub(crate) async fn update(
    Call(services, act): Call,
    At(id): At<ServerId>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<ServerPatch>,
) -> Answer<Single<Server>> {
    Ok(Single(services.network().update_server(&act, id, patch, expected).await?))
}

pub(crate) async fn delete(
    Call(services, act): Call,
    At(id): At<ServerId>,
    IfMatch(expected): IfMatch,
) -> Answer<NoContent> {
    services.network().delete_server(&act, id, expected).await?;
    Ok(NoContent)
}

/// All hosts of a server; they are few, so there is one page.
pub(crate) async fn hosts(Call(services, act): Call, At(id): At<ServerId>) -> Answer<List<AttachedHost>> {
    Ok(List::whole(services.network().server_hosts(&act, id).await?))
}

pub(crate) async fn attach(Call(services, act): Call, At((server, host)): At<(ServerId, HostId)>) -> Answer<NoContent> {
    services.network().attach(&act, server, host).await?;
    Ok(NoContent)
}

pub(crate) async fn detach(Call(services, act): Call, At((server, host)): At<(ServerId, HostId)>) -> Answer<NoContent> {
    services.network().detach(&act, server, host).await?;
    Ok(NoContent)
}

pub(crate) async fn key(Call(services, act): Call, At(id): At<ServerId>) -> Answer<Plain<ServerKeyView>> {
    Ok(Plain(services.network().server_key(&act, id).await?))
}

pub(crate) async fn rotate(
    Call(services, act): Call,
    At(id): At<ServerId>,
    Json(order): Json<KeyRotation>,
) -> Answer<Plain<ServerKeyView>> {
    Ok(Plain(services.network().rotate_server_key(&act, id, order).await?))
}
