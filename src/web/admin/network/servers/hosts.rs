//! Which hosts run a server.

use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::network::servers::found;
use crate::{
    admin::{
        context::Desk,
        network::attaching::{Whence, Wish, ask_or_do},
    },
    api::extract::At,
    http::problem::Problem,
    ui::{
        fields::{FieldError, Fields},
        links::Link,
    },
};
use domain::ids::{HostId, ServerId};
use services::Services;

pub(crate) async fn attach(
    State(services): State<Services>,
    desk: Desk,
    At(server): At<ServerId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let Ok(host) = form.text("host_id").parse() else {
        form.errors.push(FieldError::whole("Choose a host first."));
        return again(&services, &desk, server, form, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    let action = Link::to(&server).and("hosts");
    answer(&services, &desk, (server, host), (Wish::Attach, action), form).await
}

pub(crate) async fn detach(
    State(services): State<Services>,
    desk: Desk,
    At(place): At<(ServerId, HostId)>,
    form: Fields,
) -> Result<Response, Problem> {
    let action = Link::to(&place.0).within("hosts", &place.1).and("detach");
    answer(&services, &desk, place, (Wish::Detach, action), form).await
}

async fn answer(
    services: &Services,
    desk: &Desk,
    place: (ServerId, HostId),
    (wish, action): (Wish, Link),
    mut form: Fields,
) -> Result<Response, Problem> {
    let whence = Whence { page: Link::to(&place.0), action };
    match ask_or_do(services, desk, place, wish, (&form, whence)).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let status = form.refused(error)?;
            again(services, desk, place.0, form, status).await
        }
    }
}

/// The page of the server with what is wrong.
async fn again(
    services: &Services,
    desk: &Desk,
    server: ServerId,
    form: Fields,
    status: StatusCode,
) -> Result<Response, Problem> {
    let page =
        crate::admin::network::servers::ServerPage { errors: form.errors, ..found(services, desk, server).await? };
    Ok(desk.show_as(status, &page))
}
