//! Which hosts run a server.

use axum::{extract::State, http::StatusCode, response::Response};

use super::found;
use crate::{
    domain::ids::{HostId, ServerId},
    services::{Act, ServiceError, Services},
    web::{
        admin::{
            desk::Desk,
            fields::{FieldError, Fields},
            links::Link,
            preview::{self, Question, touches_people},
        },
        extract::At,
        page::Flash,
        problem::Problem,
    },
};

/// What is wanted of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Attach,
    Detach,
}

pub(in crate::web::admin) async fn attach(
    State(services): State<Services>,
    desk: Desk,
    At(server): At<ServerId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let Ok(host) = form.text("host_id").parse() else {
        form.errors.push(FieldError::whole("Choose a host first."));
        return again(&services, &desk, server, form, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    answer(&services, &desk, (server, host), Wish::Attach, form).await
}

pub(in crate::web::admin) async fn detach(
    State(services): State<Services>,
    desk: Desk,
    At(place): At<(ServerId, HostId)>,
    form: Fields,
) -> Result<Response, Problem> {
    answer(&services, &desk, place, Wish::Detach, form).await
}

impl Wish {
    async fn fulfil(
        self,
        services: &Services,
        act: &Act,
        (server, host): (ServerId, HostId),
    ) -> Result<(), ServiceError> {
        match self {
            Self::Attach => services.attach(act, server, host).await,
            Self::Detach => services.detach(act, server, host).await,
        }
    }

    fn question(self, link: &Link, host: &HostId) -> Question {
        let (title, hint, button, action) = match self {
            Self::Attach => (
                "Attach this host?",
                "Profiles issued from now on list it. Those that are out there go on working without it.",
                "Attach host",
                link.and("hosts"),
            ),
            Self::Detach => (
                "Detach this host?",
                "Whoever is connected through it goes to another host of the server, if there is one.",
                "Detach host",
                link.within("hosts", host).and("detach"),
            ),
        };
        Question { title: title.to_owned(), hint, button, is_final: false, action, back: link.clone() }
    }
}

/// Does what is wanted; where people notice it, for whoever has been shown how many do.
async fn answer(
    services: &Services,
    desk: &Desk,
    place: (ServerId, HostId),
    wish: Wish,
    mut form: Fields,
) -> Result<Response, Problem> {
    let link = Link::to(&place.0);
    let mut refusal = None;
    if !form.is_confirmed() {
        let (act, trial) = desk.act.tried();
        refusal = wish.fulfil(services, &act, place).await.err();
        if refusal.is_none() && touches_people(&trial.effect()) {
            return Ok(preview::ask(desk, wish.question(&link, &place.1), &form, (&[], &[]), &trial.effect()));
        }
    }
    if refusal.is_none() {
        refusal = wish.fulfil(services, &desk.act, place).await.err();
    }
    let Some(error) = refusal else {
        let done = if wish == Wish::Attach { Flash::HostAttached } else { Flash::HostDetached };
        return Ok(desk.go(&link, done));
    };
    let status = form.refused(error)?;
    again(services, desk, place.0, form, status).await
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
