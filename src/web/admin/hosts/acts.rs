//! What is done to a host from its page. Whatever people notice is shown before it is done: how many sessions move, and by
//! name who is cut off.

use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    admin::{
        context::Desk,
        hosts::list::{HostPage, done, refused},
        network::attaching::{Whence, Wish, ask_or_do},
    },
    ui::{
        fields::Fields,
        links::Link,
        preview::{self, Question, touches_people},
    },
};
use crate::{api::extract::At, http::problem::Problem, ui::page::Flash};
use domain::{
    drain::DrainBudget,
    ids::{HostId, ServerId},
};
use services::{
    ServiceError, Services,
    hosts::{drain::DrainOrder, removal::Removal},
};

pub(crate) async fn drain(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<HostId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let budget = form.text("budget").parse().ok().and_then(|seconds: u32| DrainBudget::try_from(seconds).ok());
    let Some(budget_seconds) = budget else {
        form.wrong("budget", "The time must be one of those offered");
        return refused(&services, desk, id, (StatusCode::UNPROCESSABLE_ENTITY, form)).await;
    };
    let order = DrainOrder { budget_seconds, force: form.is_ticked("force") };
    if !form.is_confirmed() {
        let (act, trial) = desk.act.tried();
        match services.hosts().drain_host(&act, id, order).await {
            Ok(host) if touches_people(&trial.effect()) => {
                let question = Question {
                    title: format!("Drain {}?", host.value.name),
                    hint: "Its sessions go to the other hosts within the time. Whoever is cut off stays until its end.",
                    button: "Drain host",
                    is_final: false,
                    action: Link::to(&id).and("drain"),
                    back: Link::to(&id),
                };
                return Ok(preview::ask(&desk, question, &form, (&[], &[]), &trial.effect()));
            }
            Ok(_) => {}
            refusal => return done(&services, desk, id, refusal, (form, Flash::HostDraining)).await,
        }
    }
    let outcome = services.hosts().drain_host(&desk.act, id, order).await;
    done(&services, desk, id, outcome, (form, Flash::HostDraining)).await
}

pub(crate) async fn resume(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<HostId>,
    form: Fields,
) -> Result<Response, Problem> {
    let outcome = services.hosts().resume_host(&desk.act, id).await;
    done(&services, desk, id, outcome, (form, Flash::HostResumed)).await
}

pub(crate) async fn attach(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<HostId>,
    form: Fields,
) -> Result<Response, Problem> {
    place(&services, desk, id, (Wish::Attach, "attach"), form).await
}

pub(crate) async fn detach(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<HostId>,
    form: Fields,
) -> Result<Response, Problem> {
    place(&services, desk, id, (Wish::Detach, "detach"), form).await
}

async fn place(
    services: &Services,
    desk: Desk,
    id: HostId,
    (wish, verb): (Wish, &'static str),
    form: Fields,
) -> Result<Response, Problem> {
    let page = Link::to(&id);
    let whence = Whence { action: page.and(verb), page };
    let outcome = match server_of(&form) {
        Ok(server) => ask_or_do(services, &desk, (server, id), wish, (&form, whence)).await,
        Err(none) => Err(none),
    };
    match outcome {
        Ok(answer) => Ok(answer),
        refusal => done(services, desk, id, refusal, (form, wish.done())).await,
    }
}

/// The server that a form is about.
fn server_of(form: &Fields) -> Result<ServerId, ServiceError> {
    form.text("server_id").parse().map_err(|_none| ServiceError::invalid("server_id", "choose a server"))
}

pub(crate) async fn delete(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<HostId>,
    form: Fields,
) -> Result<Response, Problem> {
    let revision = Some(form.revision()?);
    let removal = Removal { force: form.is_ticked("force") };
    if !form.is_confirmed() {
        let name = services.hosts().host(&desk.act, id).await?.value.name;
        let (act, trial) = desk.act.tried();
        match services.hosts().remove_host(&act, id, removal, revision).await {
            Ok(()) if touches_people(&trial.effect()) => {
                let question = Question {
                    title: format!("Remove {name} for good?"),
                    hint: "Its key makes no host again. Whoever is connected through it goes to another host that the \
                           profile names.",
                    button: "Remove host",
                    is_final: true,
                    action: Link::to(&id).and("delete"),
                    back: Link::to(&id),
                };
                return Ok(preview::ask(&desk, question, &form, (&[], &[]), &trial.effect()));
            }
            Ok(()) => {}
            refusal => return done(&services, desk, id, refusal, (form, Flash::HostRemoved)).await,
        }
    }
    match services.hosts().remove_host(&desk.act, id, removal, revision).await {
        Ok(()) => Ok(desk.go(&HostPage::list(), Flash::HostRemoved)),
        refusal => done(&services, desk, id, refusal, (form, Flash::HostRemoved)).await,
    }
}
