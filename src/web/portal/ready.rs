//! Setting a device up: what it is, then three steps to a connection (UX-03, UX-04).

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use crate::{
    api::download::download,
    http::problem::Problem,
    ui::{
        forms::Form,
        page::{Chrome, Employee, Visit},
    },
};
use crate::{
    portal::{FieldError, error_of, live::Live},
    ui::text::sentence,
    ui::{
        guides::{GUIDES, Guide, System},
        parts::{Icon, Qr, When},
    },
};
use domain::{ids::ServerId, secret::Secret, text::Name};
use services::{ServiceError, Services, access::profiles::NewProfile, identity::logins::Person};

/// The form for a new device.
#[derive(Template)]
#[template(path = "portal/new.html")]
pub(crate) struct NewDevice {
    pub(crate) chrome: Chrome,
    pub(crate) name: String,
    pub(crate) system: String,
    pub(crate) guessed: bool,
    pub(crate) systems: Vec<(&'static str, &'static str)>,
    pub(crate) servers: Vec<Choice>,
    pub(crate) server_id: String,
    pub(crate) errors: Vec<FieldError>,
}

/// A server to choose.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl NewDevice {
    /// The form as it is first shown.
    pub(crate) fn new(chrome: Chrome, person: &str, guess: Option<System>, servers: Vec<Choice>) -> Self {
        let system = guess.unwrap_or(System::Windows);
        let first = person.split_whitespace().next().unwrap_or("My");
        let what = match system {
            System::Windows => "Windows laptop",
            System::Macos => "MacBook",
            System::Linux | System::NetworkManager => "Linux laptop",
            System::Ios => "iPhone",
            System::Android => "phone",
            System::Chromeos => "Chromebook",
        };
        let name: String = format!("{first}'s {what}").chars().take(200).collect();
        Self {
            chrome,
            name,
            system: system.guide().slug.to_owned(),
            guessed: guess.is_some(),
            systems: GUIDES.iter().map(|guide| (guide.slug, guide.name)).collect(),
            server_id: servers.first().map(|server| server.id.clone()).unwrap_or_default(),
            servers,
            errors: Vec::new(),
        }
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn guess(&self) -> &'static str {
        System::from_slug(&self.system).map_or("a computer", |system| system.guide().name)
    }
}

async fn choices(services: &Services, person: &Person) -> Result<Vec<Choice>, ServiceError> {
    let servers = services.people().servers_for(person).await?;
    let choice = |server: domain::server::Server| Choice { id: server.id.to_string(), name: server.name.to_string() };
    Ok(servers.into_iter().map(choice).collect())
}

pub(crate) async fn new(
    State(services): State<Services>,
    Employee { person, visit }: Employee,
) -> Result<Response, Problem> {
    let servers = choices(&services, &person).await?;
    let chrome = visit.chrome.clone();
    Ok(visit.show(&NewDevice::new(chrome, person.user.name.as_str(), visit.browsing.system, servers)))
}

/// What the form sends. All of it is text until it is checked, so that what was typed can be shown again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    server_id: String,
    #[serde(default)]
    system: String,
}

impl NewForm {
    fn check(&self) -> Result<NewProfile, Vec<FieldError>> {
        let name = self.name.trim().parse::<Name>();
        let server_id = self.server_id.parse::<ServerId>();
        match (name, server_id) {
            (Ok(name), Ok(server_id)) => Ok(NewProfile { server_id, name }),
            (name, server_id) => {
                let name = name.err().map(|error| FieldError { field: "name", text: format!("The name {error}.") });
                let server = server_id
                    .err()
                    .map(|_| FieldError { field: "server_id", text: "Choose one of the networks.".to_owned() });
                Err(name.into_iter().chain(server).collect())
            }
        }
    }
}

/// The three steps.
#[derive(Template)]
#[template(path = "portal/ready.html")]
pub(crate) struct Ready {
    pub(crate) chrome: Chrome,
    pub(crate) name: String,
    pub(crate) server_id: String,
    pub(crate) server_name: String,
    pub(crate) guide: &'static Guide,
    pub(crate) ticket: Option<TicketLink>,
    pub(crate) live: Live,
    /// Whether the code is what the reader most likely needs.
    pub(crate) scan: bool,
}

/// A one-time link on the page that it was made for.
pub(crate) struct TicketLink {
    pub(crate) import: Secret<String>,
    pub(crate) qr: Option<Qr>,
    pub(crate) until: When,
}

impl TicketLink {
    /// A link for `url`.
    pub(crate) fn new(url: &Secret<String>, until: When) -> Self {
        let import = import_link(url.expose());
        let qr = Qr::new(&import);
        Self { import: Secret::new(import), qr, until }
    }
}

/// The link that OpenVPN Connect 3.3.6 and newer opens: it fetches what follows the prefix.
pub(crate) fn import_link(url: &str) -> String {
    format!("openvpn://import-profile/{url}")
}

impl Ready {
    fn import_link(&self) -> Option<&str> {
        self.ticket.as_ref().map(|ticket| ticket.import.expose().as_str())
    }
}

pub(crate) async fn ticket(
    State(services): State<Services>,
    Employee { person, visit }: Employee,
    Form(form): Form<NewForm>,
) -> Result<Response, Problem> {
    let new = match form.check() {
        Ok(new) => new,
        Err(errors) => return again(&services, &person, &visit, form, errors).await,
    };
    let servers = choices(&services, &person).await?;
    let (name, server_id) = (new.name.to_string(), new.server_id.to_string());
    let ticket = match services.identity().make_own_ticket(&person, new).await {
        Ok(ticket) => ticket,
        Err(error) => return refused(&services, &person, &visit, form, error).await,
    };
    let url = services.identity().ticket_url(&ticket);
    let guide = System::from_slug(&form.system).or(visit.browsing.system).unwrap_or(System::Windows).guide();
    let page = Ready {
        scan: guide.phone && visit.browsing.system != Some(guide.system),
        chrome: visit.chrome.clone(),
        server_name: servers
            .into_iter()
            .find(|server| server.id == server_id)
            .map(|found| found.name)
            .unwrap_or_default(),
        name,
        server_id,
        guide,
        ticket: url.map(|url| TicketLink::new(&url, When::clock(ticket.expires_at))),
        live: Live::waiting(visit.now),
    };
    Ok(visit.show(&page))
}

pub(crate) async fn issue(
    State(services): State<Services>,
    Employee { person, visit }: Employee,
    Form(form): Form<NewForm>,
) -> Result<Response, Problem> {
    let new = match form.check() {
        Ok(new) => new,
        Err(errors) => return again(&services, &person, &visit, form, errors).await,
    };
    match services.people().issue_own(&person, new).await {
        Ok(issued) => Ok(download(&issued, visit.company())),
        Err(error) => refused(&services, &person, &visit, form, error).await,
    }
}

/// What a service refuses about the form is shown on the form.
async fn refused(
    services: &Services,
    person: &Person,
    visit: &Visit,
    form: NewForm,
    error: ServiceError,
) -> Result<Response, Problem> {
    let (field, text) = match error {
        ServiceError::Invalid { field, reason } if field == "name" => ("name", format!("The name {reason}.")),
        ServiceError::Invalid { reason, .. } => ("server_id", sentence(&reason)),
        ServiceError::Conflict(text) => ("", sentence(&text)),
        ServiceError::ProfileLimit { limit } => (
            "",
            format!("You have {limit} devices, the most allowed. Revoke one that you do not need, then come back."),
        ),
        other => return Err(other.into()),
    };
    again(services, person, visit, form, vec![FieldError { field, text }]).await
}

async fn again(
    services: &Services,
    person: &Person,
    visit: &Visit,
    form: NewForm,
    errors: Vec<FieldError>,
) -> Result<Response, Problem> {
    let servers = choices(services, person).await?;
    let fresh =
        NewDevice::new(visit.chrome.clone(), person.user.name.as_str(), System::from_slug(&form.system), servers);
    let page = NewDevice { name: form.name, server_id: form.server_id, guessed: false, errors, ..fresh };
    Ok(visit.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page))
}
