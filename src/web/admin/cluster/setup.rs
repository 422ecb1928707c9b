//! The way from nothing to the first connection (UX-28): each step says what is there, and the next one has its form. It can
//! be left and come back to at any time, because nothing is remembered of it but what it makes.

use askama::Template;

use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::network::servers::first_server;
use crate::api::extract::NoQuery;
use crate::http::problem::Problem;
use crate::ui::form::form;
use crate::ui::{Chip, Choice, Field, Fields, Flash, FormView, Icon, Link, Tone, Topic, When};
use domain::ids::{HostId, OrganizationId, UserId};
use domain::role::Role;
use domain::search::quoted;
use domain::text::{HostName, Name};
use services::access::profiles::NewProfile;
use services::cluster::settings::SettingsPatch;
use services::cluster::setup::{Setup, Step};
use services::network::servers::NewServer;
use services::people::organizations::NewOrganization;
use services::people::users::NewUser;
use services::{Refusal, Removable, ServiceError, Services, UserFilter};

form! {
    /// The company's name.
    CompanyForm {
        name: Field::name("What your people call the company")
            .with(r#"required maxlength="200" autocomplete="organization""#);
    } fields => SettingsPatch { Some(SettingsPatch { company_name: Removable::Set(name), ..SettingsPatch::default() }) }
}

form! {
    /// The first organization.
    FirstOrganization {
        name: Field::name("Name of the set of people");
    } fields => NewOrganization { Some(NewOrganization { name }) }
}

/// What is asked of the first server; it is read as any other.
const FIRST_SERVER: &[Field] = &[
    Field::name("Name").named("name").initial("main"),
    Field::text("Network of the clients")
        .named("network")
        .with(r#"required autocomplete="off" class="mono""#)
        .hint("A private network that is used for nothing else.")
        .initial("10.200.0.0/16"),
    Field::number("Port").named("port").hint("Open it for UDP in front of your hosts.").initial("1194"),
    Field::area("What can be reached through it", 3)
        .named("routes")
        .with(r#"spellcheck="false" class="mono""#)
        .hint("A network on each line, such as 10.0.0.0/8, and a comment after it."),
];

form! {
    /// Which machine runs the server.
    FirstHost {
        host_id: Field::select("The machine that runs it").subject("The host is").missing("Choose a host first");
    } fields => HostId { Some(host_id) }
}

form! {
    /// Who connects first, and with which device.
    FirstProfile {
        name: Field::name("Who connects first");
        device: Field::name("With which device").subject("The device").initial("Laptop");
    } fields => (Name, Name) { Some((name, device)) }
}

/// The page.
#[derive(Template)]
#[template(path = "admin/setup.html")]
pub(crate) struct SetupPage<'a> {
    desk: &'a Desk,
    setup: Setup,
    /// Hosts that could run the server.
    hosts: Vec<(HostId, HostName)>,
    /// The form of the next step.
    form: FormView,
    /// A link to a profile that was just made; it is shown this once.
    link: Option<(String, When)>,
}

impl<'a> SetupPage<'a> {
    /// The page as things are.
    pub(crate) fn new(desk: &'a Desk, setup: Setup, hosts: Vec<(HostId, HostName)>) -> Self {
        let fresh = |table| FormView::fresh(&desk.chrome, table);
        let form = match setup.next() {
            None | Some(Step::Company | Step::SignIn) => fresh(CompanyForm::FIELDS),
            Some(Step::Organization) => {
                let company = setup.company.as_ref().map(ToString::to_string).unwrap_or_default();
                fresh(FirstOrganization::FIELDS).typed(Fields::of([("name", company)]))
            }
            Some(Step::Server) => fresh(FIRST_SERVER),
            Some(Step::Host) => {
                let choices = hosts.iter().map(|(id, name)| (id, name));
                fresh(FirstHost::FIELDS).choices("host_id", Choice::all(choices))
            }
            Some(Step::Profile) => fresh(FirstProfile::FIELDS),
        };
        Self { desk, setup, hosts, form, link: None }
    }

    /// The same with what was typed and what is wrong with it.
    pub(crate) fn with_form(self, typed: Fields) -> Self {
        Self { form: self.form.typed(typed), ..self }
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
            (true, _) => Chip::good("Done"),
            (false, Step::SignIn) => Chip::calm("Can wait"),
            (false, _) if self.is_next(step) => Chip::new(Tone::Info, Icon::Next, "Next"),
            (false, _) => Chip::calm("Later"),
        }
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

pub(crate) async fn show(Opened { services, mut desk }: Opened, _: NoQuery) -> Answer {
    desk.live = LIVE;
    Ok(desk.show(&page(&services, &desk).await?))
}

/// A step as its form asks for it.
enum Wanted {
    Company(SettingsPatch),
    Organization(NewOrganization),
    Server(NewServer),
    Host(HostId),
    Profile(Name, Name),
}

impl Wanted {
    /// Which step it is, the form says.
    fn read(form: &mut Fields, organizations: &[(OrganizationId, Name)]) -> Option<Self> {
        match form.text("step") {
            "company" => CompanyForm::read(form).map(Self::Company),
            "organization" => FirstOrganization::read(form).map(Self::Organization),
            "server" => first_server(form, organizations).map(Self::Server),
            "host" => FirstHost::read(form).map(Self::Host),
            "profile" => FirstProfile::read(form).map(|(person, device)| Self::Profile(person, device)),
            _ => {
                form.wrong_as_a_whole("Choose a step");
                None
            }
        }
    }

    /// Takes the step. The last one gives a link, by which somebody can fetch a profile, and says until when.
    async fn take(self, services: &Services, desk: &Desk) -> Result<Option<(String, When)>, ServiceError> {
        let act = &desk.act;
        match self {
            Self::Company(patch) => {
                services.cluster().update_settings(act, patch, None).await?;
            }
            Self::Organization(new) => {
                services.people().create_organization(act, new).await?;
            }
            Self::Server(new) => {
                services.network().create_server(act, new).await?;
            }
            Self::Host(host) => {
                let server = services.cluster().setup(act).await?.server.ok_or_else(too_early)?;
                services.network().attach(act, server.value.id, host).await?;
            }
            Self::Profile(person, device) => return make_link(services, desk, person, device).await.map(Some),
        }
        Ok(None)
    }
}

fn too_early() -> ServiceError {
    ServiceError::Conflict(Refusal::StepsBefore)
}

pub(crate) async fn take(Sent { services, mut desk, mut form }: Sent) -> Answer {
    desk.live = LIVE;
    let organizations = services.network().organization_choices(&desk.act).await?;
    let doing = Wanted::read(&mut form, &organizations).map(|wanted| wanted.take(&services, &desk));
    match Box::pin(form.submit(doing)).await? {
        Ok(None) => Ok(desk.go(&Link::setup(), Flash::StepDone)),
        Ok(Some((link, until))) => Ok(desk.show(&page(&services, &desk).await?.with_link(link, until))),
        Err(again) => Ok(desk.show_as(again.status, &page(&services, &desk).await?.with_form(again.fields))),
    }
}

/// Makes a one-time link to a profile, for a user of that name; there need not be one before.
async fn make_link(
    services: &Services,
    desk: &Desk,
    person: Name,
    device: Name,
) -> Result<(String, When), ServiceError> {
    let Setup { organization, server, portal_url, .. } = services.cluster().setup(&desk.act).await?;
    let (Some((organization, _)), Some(server), Some(_)) = (organization, server, portal_url) else {
        return Err(too_early());
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
    Ok((link, until))
}
