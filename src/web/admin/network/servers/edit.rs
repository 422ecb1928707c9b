//! The form of a server: a new one, a change, the end of one.

use askama::Template;

use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::network::servers::form;
use crate::admin::network::servers::form::ServerForm;
use crate::admin::nouns::Noun as _;
use crate::api::extract::At;
use crate::ui::{Asked, Fields, Flash, FormView, Link, Question, ask_or_do, touches_people};
use domain::ids::{OrganizationId, ServerId};
use domain::server::Server;
use domain::text::Name;
use domain::{Revised, Revision};
use services::network::servers::{NewServer, ServerPatch};
use services::{ServiceError, Services};

/// The form, for a new server or one that is there.
#[derive(Template)]
#[template(path = "admin/server_form.html")]
pub(crate) struct ServerFormPage<'a> {
    pub(crate) desk: &'a Desk,
    /// The one that is there: where it is shown, and its name.
    pub(crate) found: Option<(Link, String)>,
    /// What is allowed and yet likely a mistake, as the server is now.
    pub(crate) warnings: Vec<&'static str>,
    pub(crate) form: FormView,
}

impl<'a> ServerFormPage<'a> {
    /// The form of a new one.
    pub(crate) fn new(desk: &'a Desk, organizations: &[(OrganizationId, Name)]) -> Self {
        let form = FormView::fresh(&desk.chrome, ServerForm::FIELDS);
        Self { desk, found: None, warnings: Vec::new(), form: form::with_choices(form, desk, organizations) }
    }

    /// The form of one that is there.
    pub(crate) fn of(desk: &'a Desk, server: &Revised<Server>, organizations: &[(OrganizationId, Name)]) -> Self {
        let Revised { rev, value } = server;
        let link = Link::to(&value.id);
        let origin = (*rev, link.and("edit"));
        let form = FormView::filled(&desk.chrome, ServerForm::FIELDS, ServerForm::fill(value), origin);
        Self {
            desk,
            found: Some((link, value.name.to_string())),
            warnings: value.warnings(),
            form: form::with_choices(form, desk, organizations),
        }
    }

    /// Where whoever leaves the form goes on.
    fn back(&self) -> Link {
        self.found.as_ref().map_or_else(Link::list::<ServerId>, |(link, _)| link.clone())
    }
}

pub(crate) async fn new(Opened { services, desk }: Opened) -> Answer {
    Ok(desk.show(&ServerFormPage::new(&desk, &services.network().organization_choices(&desk.act).await?)))
}

pub(crate) async fn create(Sent { services, desk, mut form }: Sent) -> Answer {
    let organizations = services.network().organization_choices(&desk.act).await?;
    let mut page = ServerFormPage::new(&desk, &organizations);
    let doing = ServerForm::read(&mut form).map(|new| make(&services, &page, form.clone(), new));
    match form.submit(doing).await? {
        Ok(asked) => Ok(asked.or(|made| desk.go(&Link::to(&made.value.id), Flash::ServerCreated))),
        Err(again) => {
            page.form = page.form.typed(again.fields);
            Ok(desk.show_as(again.status, &page))
        }
    }
}

/// Makes a server; where people gain access by it, once they have been shown how many.
async fn make(
    services: &Services,
    page: &ServerFormPage<'_>,
    form: Fields,
    new: NewServer,
) -> Result<Asked<Revised<Server>>, ServiceError> {
    let question = |made: &Revised<Server>, effect: &_| {
        let is_worth_it = touches_people(effect) || !made.value.warnings().is_empty();
        is_worth_it.then(|| Question {
            title: format!("Create {}?", made.value.name),
            hint: "People can connect once a host is attached and they have a profile.",
            button: "Create server",
            is_final: false,
            action: Link::list::<ServerId>(),
            back: Link::list::<ServerId>(),
            changes: page.form.differences(&Fields::default(), &ServerForm::fill(&made.value)),
        })
    };
    let doing = |act| {
        let new = new.clone();
        async move { services.network().create_server(&act, new).await }
    };
    ask_or_do(page.desk, &form, doing, question).await
}

pub(crate) async fn edit(Opened { services, desk }: Opened, At(id): At<ServerId>) -> Answer {
    let server = services.network().server(&desk.act, id).await?;
    let organizations = services.network().organization_choices(&desk.act).await?;
    Ok(desk.show(&ServerFormPage::of(&desk, &server, &organizations)))
}

pub(crate) async fn update(At(id): At<ServerId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let revision = form.revision()?;
    let now = services.network().server(&desk.act, id).await?;
    let organizations = services.network().organization_choices(&desk.act).await?;
    let mut page = ServerFormPage::of(&desk, &now, &organizations);
    let doing =
        ServerForm::read(&mut form).map(|new| save(&services, &page, (form.clone(), revision), &now.value, new));
    match form.submit(doing).await? {
        Ok(asked) => Ok(asked.or(|saved| {
            let is_same = saved.rev == now.rev;
            desk.go(&Link::to(&id), if is_same { Flash::NothingChanged } else { Flash::ServerSaved })
        })),
        Err(again) => {
            let status = again.status;
            page.form = page.form.again(again, &services, &desk, &id).await?;
            Ok(desk.show_as(status, &page))
        }
    }
}

/// Saves a server; whatever is more than its name, once its effect has been shown.
async fn save(
    services: &Services,
    page: &ServerFormPage<'_>,
    (form, revision): (Fields, Revision),
    now: &Server,
    new: NewServer,
) -> Result<Asked<Revised<Server>>, ServiceError> {
    let (id, link) = (now.id, Link::to(&now.id));
    let question = |after: &Revised<Server>, _: &_| {
        let is_more_than_a_name = Server { name: now.name.clone(), ..after.value.clone() } != *now;
        is_more_than_a_name.then(|| Question {
            title: format!("Save the changes to {}?", now.name),
            hint: "The numbers are of this moment.",
            button: "Save changes",
            is_final: false,
            action: link.clone(),
            back: link.and("edit"),
            changes: page.form.differences(&ServerForm::fill(now), &ServerForm::fill(&after.value)),
        })
    };
    let doing = |act| {
        let patch = ServerPatch::from(new.clone());
        async move { services.network().update_server(&act, id, patch, Some(revision)).await }
    };
    ask_or_do(page.desk, &form, doing, question).await
}

pub(crate) async fn delete(At(id): At<ServerId>, Sent { services, desk, form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let name = services.network().server(&desk.act, id).await?.value.name;
    let link = Link::to(&id);
    let question = |(): &(), _: &_| {
        Some(Question {
            title: format!("Delete {name}?"),
            hint: "It cannot be brought back, and neither can the profiles that lead to it.",
            button: "Delete server",
            is_final: true,
            action: link.and("delete"),
            back: link.clone(),
            changes: Vec::new(),
        })
    };
    let (sent, network) = (form.clone(), services.network());
    let doing = |act| async move { network.delete_server(&act, id, revision).await };
    let asked = form.submit(Some(ask_or_do(&desk, &sent, doing, question))).await?;
    let gone = |desk: &Desk| desk.go(&Link::list::<ServerId>(), Flash::ServerDeleted);
    id.after(asked, &services, desk, |desk, asked| asked.or(|()| gone(desk))).await
}
