//! Which hosts run a server.

use axum::{extract::State, http::StatusCode, response::Response};

use super::found;
use crate::{
    admin::{
        attaching::{Whence, Wish, ask_or_do},
        desk::Desk,
        fields::{FieldError, Fields},
        links::Link,
    },
    extract::At,
    problem::Problem,
};
use domain::ids::{HostId, ServerId};
use services::Services;

pub(in crate::admin) async fn attach(
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

pub(in crate::admin) async fn detach(
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
    let page = super::ServerPage { errors: form.errors, ..found(services, desk, server).await? };
    Ok(desk.show_as(status, &page))
}
