//! What is done to a host from its page. Whatever people notice is shown before it is done: how many sessions move, and by
//! name who is cut off.

use crate::admin::context::{Answer, Desk, Sent};
use crate::admin::hosts::list::DrainForm;
use crate::admin::nouns::Noun as _;
use crate::api::extract::At;
use crate::ui::form::form;
use crate::ui::{Field, Flash, Link, Question, ask_or_do, touches_people};
use domain::ids::HostId;
use services::hosts::removal::Removal;

pub(crate) async fn drain(At(id): At<HostId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let hosts = services.hosts();
    let order = DrainForm::read(&mut form);
    let sent = form.clone();
    let doing = order.map(|order| {
        let doing = move |act| async move { hosts.drain_host(&act, id, order).await };
        ask_or_do(&desk, &sent, doing, |host, effect| {
            touches_people(effect).then(|| Question {
                title: format!("Drain {}?", host.value.name),
                hint: "Its sessions go to the other hosts within the time. Whoever is cut off stays until its end.",
                button: "Drain host",
                is_final: false,
                action: Link::to(&id).and("drain"),
                back: Link::to(&id),
                changes: Vec::new(),
            })
        })
    });
    let asked = form.submit(doing).await?;
    id.after(asked, &services, desk, |desk, asked| asked.or(|_| desk.go(&Link::to(&id), Flash::HostDraining))).await
}

pub(crate) async fn resume(At(id): At<HostId>, Sent { services, desk, form }: Sent) -> Answer {
    let resumed = form.submit(Some(services.hosts().resume_host(&desk.act, id))).await?;
    id.after(resumed, &services, desk, |desk, _| desk.go(&Link::to(&id), Flash::HostResumed)).await
}

form! {
    /// The form of a removal.
    RemovalForm {
        force: Field::tick("Remove it though it is in service, and cut off whoever is connected through it");
    } fields => Removal { Some(Removal { force }) }
}

pub(crate) async fn delete(At(id): At<HostId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let hosts = services.hosts();
    let name = hosts.host(&desk.act, id).await?.value.name;
    let removal = RemovalForm::read(&mut form);
    let sent = form.clone();
    let doing = removal.map(|removal| {
        let doing = move |act| async move { hosts.remove_host(&act, id, removal, revision).await };
        ask_or_do(&desk, &sent, doing, |(), effect| {
            touches_people(effect).then(|| Question {
                title: format!("Remove {name} for good?"),
                hint: "Its key makes no host again. Whoever is connected through it goes to another host that the profile \
                       names.",
                button: "Remove host",
                is_final: true,
                action: Link::to(&id).and("delete"),
                back: Link::to(&id),
                changes: Vec::new(),
            })
        })
    });
    let asked = form.submit(doing).await?;
    let gone = |desk: &Desk| desk.go(&Link::list::<HostId>(), Flash::HostRemoved);
    id.after(asked, &services, desk, |desk, asked| asked.or(|()| gone(desk))).await
}
