//! The way from nothing to the first connection (UX-28): each step says what is there, and the next one has its form. It can
//! be left and come back to at any time, because nothing is remembered of it but what it makes.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::ui::topic::Topic;
use crate::{
    admin::{context::Desk, network::servers::first_server},
    ui::{
        fields::{FieldError, Fields, error_of},
        links::Link,
    },
};
use crate::{
    api::extract::NoQuery,
    http::problem::Problem,
    ui::{
        page::Flash,
        parts::{Chip, Icon, Tone, When},
    },
};
use domain::{
    ids::{HostId, UserId},
    role::Role,
    search::quoted,
    text::{HostName, Name},
};
use services::{
    Removable, ServiceError, Services, UserFilter,
    access::profiles::NewProfile,
    cluster::{
        settings::SettingsPatch,
        setup::{Setup, Step},
    },
    people::{organizations::NewOrganization, users::NewUser},
};

/// The page.
#[derive(Template)]
#[template(path = "admin/setup.html")]
pub(crate) struct SetupPage<'a> {
    desk: &'a Desk,
    setup: Setup,
    /// Hosts that could run the server.
    hosts: Vec<(HostId, HostName)>,
    form: Fields,
    /// A link to a profile that was just made; it is shown this once.
    link: Option<(String, When)>,
}

impl<'a> SetupPage<'a> {
    /// The page as things are.
    pub(crate) fn new(desk: &'a Desk, setup: Setup, hosts: Vec<(HostId, HostName)>) -> Self {
        Self { desk, setup, hosts, form: Fields::default(), link: None }
    }

    /// The same with what was typed and what is wrong with it.
    pub(crate) fn with_form(self, form: Fields) -> Self {
        Self { form, ..self }
    }

    /// The same with a link that was just made.
    pub(crate) fn with_link(self, link: String, until: When) -> Self {
        Self { link: Some((link, until)), ..self }
    }

    fn is_next(&self, step: Step) -> bool {
        self.setup.next() == Some(step)
    }

    fn mark(&self, step: Step) -> &'static str {
        match (self.setup.has(step), self.is_next(step)) {
            (true, _) => "done",
            (false, true) => "next",
            (false, false) => "later",
        }
    }

    fn chip(&self, step: Step) -> Chip {
        match (self.setup.has(step), step) {
            (true, Step::Host) if !self.setup.is_running => {
                Chip::new(Tone::Info, Icon::Clock, "Attached, not running yet")
            }
            (true, _) => Chip::new(Tone::Good, Icon::Check, "Done"),
            (false, Step::SignIn) => Chip::new(Tone::Calm, Icon::Ring, "Can wait"),
            (false, _) if self.is_next(step) => Chip::new(Tone::Info, Icon::Next, "Next"),
            (false, _) => Chip::new(Tone::Calm, Icon::Ring, "Later"),
        }
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.form.errors, field)
    }

    fn typed(&self, field: &str, otherwise: &'static str) -> String {
        let typed = self.form.text(field);
        if typed.is_empty() { otherwise.to_owned() } else { typed.to_owned() }
    }

    fn company(&self) -> String {
        self.setup.company.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn organization(&self) -> String {
        self.setup.organization.as_ref().map(|(_, name)| name.to_string()).unwrap_or_default()
    }

    fn server(&self) -> Option<(Link, String)> {
        self.setup.server.as_ref().map(|server| (Link::to(&server.value.id), server.value.name.to_string()))
    }
}

async fn page<'a>(services: &Services, desk: &'a Desk) -> Result<SetupPage<'a>, Problem> {
    let setup = services.cluster().setup(&desk.act).await?;
    // They are offered to a server that runs nowhere yet.
    let hosts =
        if setup.next() == Some(Step::Host) { services.network().host_choices(&desk.act).await? } else { Vec::new() };
    Ok(SetupPage::new(desk, setup, hosts))
}

const LIVE: &[Topic] = &[Topic::Policy, Topic::Hosts, Topic::Sessions];

pub(crate) async fn show(State(services): State<Services>, mut desk: Desk, _: NoQuery) -> Result<Response, Problem> {
    desk.live = LIVE;
    Ok(desk.show(&page(&services, &desk).await?))
}

/// What came of a step.
enum Taken {
    /// It is done.
    Done,
    /// Somebody can fetch a profile by this link.
    Link(String, When),
}

/// Takes a step; which one, the form says.
pub(crate) async fn take(
    State(services): State<Services>,
    mut desk: Desk,
    mut form: Fields,
) -> Result<Response, Problem> {
    desk.live = LIVE;
    let taken = match form.text("step") {
        "company" => name_company(&services, &desk, &mut form).await,
        "organization" => make_organization(&services, &desk, &mut form).await,
        "server" => make_server(&services, &desk, &mut form).await,
        "host" => attach(&services, &desk, &mut form).await,
        "profile" => make_link(&services, &desk, &mut form).await,
        _ => {
            form.errors.push(FieldError::whole("Choose a step."));
            Ok(None)
        }
    };
    let status = match taken {
        Ok(Some(Taken::Done)) => return Ok(desk.go(&Link::setup(), Flash::StepDone)),
        Ok(Some(Taken::Link(link, until))) => {
            return Ok(desk.show(&page(&services, &desk).await?.with_link(link, until)));
        }
        Ok(None) => StatusCode::UNPROCESSABLE_ENTITY,
        Err(error) => form.refused(error)?,
    };
    Ok(desk.show_as(status, &page(&services, &desk).await?.with_form(form)))
}

/// What came of it; nothing if something is wrong with the form.
type Outcome = Result<Option<Taken>, ServiceError>;

async fn name_company(services: &Services, desk: &Desk, form: &mut Fields) -> Outcome {
    let Some(name) = form.parse("name", "The name") else { return Ok(None) };
    let patch = SettingsPatch { company_name: Removable::Set(name), ..SettingsPatch::default() };
    services.cluster().update_settings(&desk.act, patch, None).await?;
    Ok(Some(Taken::Done))
}

async fn make_organization(services: &Services, desk: &Desk, form: &mut Fields) -> Outcome {
    let Some(name) = form.parse("name", "The name") else { return Ok(None) };
    services.people().create_organization(&desk.act, NewOrganization { name }).await?;
    Ok(Some(Taken::Done))
}

async fn make_server(services: &Services, desk: &Desk, form: &mut Fields) -> Outcome {
    let organizations = services.network().organization_choices(&desk.act).await?;
    let Some(new) = first_server(form, &organizations) else { return Ok(None) };
    services.network().create_server(&desk.act, new).await?;
    Ok(Some(Taken::Done))
}

async fn attach(services: &Services, desk: &Desk, form: &mut Fields) -> Outcome {
    let server = services.cluster().setup(&desk.act).await?.server;
    let (Some(server), Ok(host)) = (server, form.text("host_id").parse::<HostId>()) else {
        form.errors.push(FieldError::whole("Choose a host first."));
        return Ok(None);
    };
    services.network().attach(&desk.act, server.value.id, host).await?;
    Ok(Some(Taken::Done))
}

/// Makes a one-time link to a profile, for a user of that name; there need not be one before.
async fn make_link(services: &Services, desk: &Desk, form: &mut Fields) -> Outcome {
    let (person, device) = (form.parse::<Name>("name", "The name"), form.parse("device", "The device"));
    let (Some(person), Some(device)) = (person, device) else { return Ok(None) };
    let Setup { organization, server, portal_url, .. } = services.cluster().setup(&desk.act).await?;
    let (Some((organization, _)), Some(server), Some(_)) = (organization, server, portal_url) else {
        form.errors.push(FieldError::whole("The steps before come first."));
        return Ok(None);
    };
    let search = quoted(person.as_str()).parse().unwrap_or_default();
    let filter = UserFilter { organization_id: Some(organization), search, email: None };
    let all = services::PageRequest::first(200);
    let known = services.people().users(&desk.act, &filter, &all).await?.items.into_iter();
    let known: Option<UserId> = known.map(|found| found.value).find(|user| user.name == person).map(|user| user.id);
    let user = if let Some(user) = known {
        user
    } else {
        let new = NewUser {
            organization_id: organization,
            name: person,
            email: None,
            groups: server.value.groups.iter().take(1).cloned().collect(),
            role: Role::User,
            disabled: false,
        };
        services.people().create_user(&desk.act, new).await?.value.id
    };
    let new = NewProfile { server_id: server.value.id, name: device };
    let ticket = services.identity().make_ticket(&desk.act, user, new).await?;
    let until = When::new(ticket.expires_at, desk.now);
    let link = services.identity().ticket_url(&ticket).map(|link| link.expose().clone()).unwrap_or_default();
    Ok(Some(Taken::Link(link, until)))
}
