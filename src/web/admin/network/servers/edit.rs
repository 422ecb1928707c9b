//! The form of a server: a new one, a change, the end of one.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::network::servers::{
    form::{self, ServerForm},
    found,
};
use crate::{
    admin::context::Desk,
    api::extract::At,
    http::problem::Problem,
    ui::{
        conflict::{Conflict, Shown, THEIRS, changed_by, choice_of},
        fields::{FieldError, Fields, error_of},
        links::Link,
        page::Flash,
        preview::{self, Question, touches_people},
    },
};
use domain::{
    Revised, Revision,
    ids::{OrganizationId, ServerId},
    role::Permission,
    server::{Protocol, Server},
    text::Name,
};
use services::{
    ServiceError, Services,
    network::servers::{NewServer, ServerPatch},
};

/// The form, for a new server or one that is there.
#[derive(Template)]
#[template(path = "admin/server_form.html")]
pub(crate) struct ServerFormPage<'a> {
    pub(crate) desk: &'a Desk,
    /// The one that is there, and what its form was filled from.
    pub(crate) found: Option<Filled>,
    /// What stands in the form.
    pub(crate) form: ServerForm,
    pub(crate) organizations: Vec<(OrganizationId, Name)>,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) conflict: Option<Conflict>,
}

/// What the form of a server that is there was filled from.
pub(crate) struct Filled {
    pub(crate) link: Link,
    pub(crate) name: String,
    pub(crate) revision: Revision,
    /// The form as it was then, JSON.
    pub(crate) base: String,
    /// What is allowed and yet likely a mistake, as the server is now.
    pub(crate) warnings: Vec<&'static str>,
}

impl Filled {
    pub(crate) fn from(server: &Server, revision: Revision, base: &ServerForm) -> Self {
        let base = serde_json::to_string(base).unwrap_or_default();
        let warnings = server.warnings();
        Self { link: Link::to(&server.id), name: server.name.to_string(), revision, base, warnings }
    }
}

impl ServerFormPage<'_> {
    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn may_manage_organizations(&self) -> bool {
        self.desk.may(Permission::ManageOrganizations)
    }

    fn list() -> Link {
        Link::list::<ServerId>()
    }

    fn protocols(&self) -> [(&'static str, &'static str, bool); 2] {
        let choice = |protocol: Protocol, label| (protocol.as_str(), label, self.form.protocol == protocol.as_str());
        [
            choice(Protocol::Udp, "UDP: the faster one"),
            choice(Protocol::Tcp, "TCP: for networks that let nothing else out"),
        ]
    }
}

pub(crate) async fn new(State(services): State<Services>, desk: Desk) -> Result<Response, Problem> {
    let organizations = services.network().organization_choices(&desk.act).await?;
    let form = ServerForm::empty(&organizations);
    let page = ServerFormPage { desk: &desk, found: None, form, organizations, errors: Vec::new(), conflict: None };
    Ok(desk.show(&page))
}

pub(crate) async fn create(
    State(services): State<Services>,
    desk: Desk,
    mut form: Fields,
) -> Result<Response, Problem> {
    let mut status = StatusCode::UNPROCESSABLE_ENTITY;
    if let Some(new) = form::read(&mut form) {
        match make(&services, &desk, &form, new).await {
            Ok(response) => return Ok(response),
            Err(error) => status = form.refused(error)?,
        }
    }
    let organizations = services.network().organization_choices(&desk.act).await?;
    let (typed, errors) = (ServerForm::typed(&form), form.errors);
    let page = ServerFormPage { desk: &desk, found: None, form: typed, organizations, errors, conflict: None };
    Ok(desk.show_as(status, &page))
}

/// Makes a server; where people gain access by it, once they have been shown how many.
async fn make(services: &Services, desk: &Desk, form: &Fields, new: NewServer) -> Result<Response, ServiceError> {
    if !form.is_confirmed() {
        let (act, trial) = desk.act.tried();
        let made = services.network().create_server(&act, new.clone()).await?.value;
        if touches_people(&trial.effect()) || !made.warnings().is_empty() {
            let organizations = services.network().organization_choices(&desk.act).await?;
            let after = ServerForm::of(&made).shown(&organizations);
            let nothing: Vec<_> = after.iter().map(|shown| Shown { value: String::new(), ..shown.clone() }).collect();
            let question = Question {
                title: format!("Create {}?", made.name),
                hint: "People can connect once a host is attached and they have a profile.",
                button: "Create server",
                is_final: false,
                action: Link::list::<ServerId>(),
                back: Link::list::<ServerId>(),
            };
            return Ok(preview::ask(desk, question, form, (&nothing, &after), &trial.effect()));
        }
    }
    let made = services.network().create_server(&desk.act, new).await?;
    Ok(desk.go(&Link::to(&made.value.id), Flash::ServerCreated))
}

pub(crate) async fn edit(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<ServerId>,
) -> Result<Response, Problem> {
    let Revised { rev, value } = services.network().server(&desk.act, id).await?;
    let organizations = services.network().organization_choices(&desk.act).await?;
    let form = ServerForm::of(&value);
    let found = Some(Filled::from(&value, rev, &form));
    let page = ServerFormPage { desk: &desk, found, form, organizations, errors: Vec::new(), conflict: None };
    Ok(desk.show(&page))
}

pub(crate) async fn update(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<ServerId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = form.revision()?;
    let now = services.network().server(&desk.act, id).await?;
    take_theirs(&mut form, &ServerForm::of(&now.value));
    let (mut status, mut is_stale) = (StatusCode::UNPROCESSABLE_ENTITY, false);
    if let Some(new) = form::read(&mut form) {
        match save(&services, &desk, &form, &now.value, (new, revision)).await {
            Ok(response) => return Ok(response),
            Err(ServiceError::Stale { .. }) => (status, is_stale) = (StatusCode::CONFLICT, true),
            Err(error) => status = form.refused(error)?,
        }
    }
    let organizations = services.network().organization_choices(&desk.act).await?;
    let typed = ServerForm::typed(&form);
    let base = serde_json::from_str(form.text("base")).unwrap_or_else(|_other| typed.clone());
    let there = ServerForm::of(&now.value);
    let (found, conflict) = if is_stale {
        let by = changed_by(&services, &desk, &id).await?;
        let [was, yours, theirs] = [&base, &typed, &there].map(|form| form.shown(&organizations));
        let conflict = Conflict::to_choose(by.as_ref(), &was, &yours, &theirs, &desk);
        (Filled::from(&now.value, now.rev, &there), Some(conflict))
    } else {
        // The form goes on from what it was filled from, so that a change in between is still noticed.
        (Filled::from(&now.value, revision, &base), None)
    };
    let page =
        ServerFormPage { desk: &desk, found: Some(found), form: typed, organizations, errors: form.errors, conflict };
    Ok(desk.show_as(status, &page))
}

/// Takes the other person's version of each field for which it was chosen.
fn take_theirs(form: &mut Fields, there: &ServerForm) {
    for shown in there.shown(&[]) {
        let choice = choice_of(shown.field);
        if form.text(&choice) == THEIRS {
            there.take(shown.field, form);
        }
        form.replace(&choice, []);
    }
}

/// Saves a server; whatever is more than its name, once its effect has been shown.
async fn save(
    services: &Services,
    desk: &Desk,
    form: &Fields,
    now: &Server,
    (new, revision): (NewServer, Revision),
) -> Result<Response, ServiceError> {
    let (id, link, patch) = (now.id, Link::to(&now.id), ServerPatch::from(new));
    if !form.is_confirmed() {
        let (act, trial) = desk.act.tried();
        let after = services.network().update_server(&act, id, patch.clone(), Some(revision)).await?.value;
        if after == *now {
            return Ok(desk.go(&link, Flash::NothingChanged));
        }
        if (Server { name: now.name.clone(), ..after.clone() }) != *now {
            let organizations = services.network().organization_choices(&desk.act).await?;
            let [before, after] = [now, &after].map(|server| ServerForm::of(server).shown(&organizations));
            let question = Question {
                title: format!("Save the changes to {}?", now.name),
                hint: "The numbers are of this moment.",
                button: "Save changes",
                is_final: false,
                action: link.clone(),
                back: link.and("edit"),
            };
            return Ok(preview::ask(desk, question, form, (&before, &after), &trial.effect()));
        }
    }
    services.network().update_server(&desk.act, id, patch, Some(revision)).await?;
    Ok(desk.go(&link, Flash::ServerSaved))
}

pub(crate) async fn delete(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<ServerId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = Some(form.revision()?);
    let (tried, trial) = desk.act.tried();
    let act = if form.is_confirmed() { &desk.act } else { &tried };
    let status = match services.network().delete_server(act, id, revision).await {
        Ok(()) if form.is_confirmed() => return Ok(desk.go(&Link::list::<ServerId>(), Flash::ServerDeleted)),
        Ok(()) => {
            let link = Link::to(&id);
            let name = services.network().server(&desk.act, id).await?.value.name;
            let question = Question {
                title: format!("Delete {name}?"),
                hint: "It cannot be brought back, and neither can the profiles that lead to it.",
                button: "Delete server",
                is_final: true,
                action: link.and("delete"),
                back: link,
            };
            return Ok(preview::ask(&desk, question, &form, (&[], &[]), &trial.effect()));
        }
        Err(ServiceError::Stale { .. }) => {
            let text = "It was changed since you opened this page. Look at it again before you delete it.";
            form.errors.push(FieldError::whole(text));
            StatusCode::CONFLICT
        }
        Err(error) => form.refused(error)?,
    };
    let page = crate::admin::network::servers::ServerPage { errors: form.errors, ..found(&services, &desk, id).await? };
    Ok(desk.show_as(status, &page))
}
