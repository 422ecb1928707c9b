//! Setting a device up: what it is, then three steps to a connection (UX-03, UX-04).

use askama::Template;
use axum::http::StatusCode;

use crate::api::download::download;
use crate::portal::live::Live;
use crate::ui::form::form;
use crate::ui::guides::{Guide, guides};
use crate::ui::page::Answer;
use crate::ui::system::System;
use crate::ui::{Again, Choice, Chrome, Employee, Field, Fields, FormView, Qr, Visit, When};
use domain::login::Surface;
use domain::secret::Secret;
use services::access::profiles::NewProfile;
use services::identity::logins::Person;
use services::{ServiceError, Services};

form! {
    /// The form of a new device.
    DeviceForm {
        name: Field::name("Name of the device").part("name")
            .hint_below("For you to tell your devices apart. You can change it later.");
        system: Field::radios("What is it?").part("system");
        server_id: Field::radios("Which network do you need?").part("server")
            .subject("The network is").missing("Choose one of the networks");
    } fields => NewProfile {
        let _: Option<String> = Some(system);
        Some(NewProfile { server_id, name })
    }
}

/// The page of the form.
#[derive(Template)]
#[template(path = "portal/new.html")]
pub(crate) struct NewDevice {
    pub(crate) chrome: Chrome,
    pub(crate) form: FormView,
    pub(crate) servers: Vec<Choice>,
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
        let server_id = servers.first().map(|server| server.value.clone()).unwrap_or_default();
        let fields = [("name", name), ("system", system.guide().slug().to_owned()), ("server_id", server_id)];
        let mut form = FormView::fresh(&chrome, DeviceForm::FIELDS)
            .titled("Nothing was made yet")
            .choices("system", Choice::all(guides().iter().map(|guide| (guide.slug(), guide.name))))
            .choices("server_id", servers.clone())
            .typed(Fields::of(fields));
        if let Some(guess) = guess {
            let hint = format!(
                "It looks like {}. Change this if we guessed wrong, or if you are setting up another device.",
                guess.guide().name
            );
            form = form.hint("system", hint);
        }
        Self { chrome, form, servers }
    }
}

async fn choices(services: &Services, person: &Person) -> Result<Vec<Choice>, ServiceError> {
    let servers = services.people().servers_for(person).await?;
    Ok(Choice::all(servers.into_iter().map(|server| (server.id, server.name))))
}

pub(crate) async fn new(Employee { services, person, visit }: Employee) -> Answer {
    let servers = choices(&services, &person).await?;
    let chrome = visit.chrome.clone();
    Ok(visit.show(&NewDevice::new(chrome, person.user.name.as_str(), visit.browsing.system, servers)))
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

pub(crate) async fn ticket(Employee { services, person, visit }: Employee, mut form: Fields) -> Answer {
    let system = System::from_slug(form.text("system"));
    let read = DeviceForm::read(&mut form);
    let (name, server_id) = (form.text("name").to_owned(), form.text("server_id").to_owned());
    let doing = read.map(|new| services.identity().make_own_ticket(&person, new));
    let ticket = match Box::pin(form.submit_on(Surface::Portal, doing)).await? {
        Ok(ticket) => ticket,
        Err(refused) => return again(&services, &person, &visit, refused).await,
    };
    let servers = choices(&services, &person).await?;
    let url = services.identity().ticket_url(&ticket);
    let guide = system.or(visit.browsing.system).unwrap_or(System::Windows).guide();
    let page = Ready {
        scan: guide.phone && visit.browsing.system != Some(guide.system),
        chrome: visit.chrome.clone(),
        server_name: servers
            .into_iter()
            .find(|server| server.value == server_id)
            .map(|found| found.label)
            .unwrap_or_default(),
        name,
        server_id,
        guide,
        ticket: url.map(|url| TicketLink::new(&url, When::clock(ticket.expires_at))),
        live: Live::waiting(visit.now),
    };
    Ok(visit.show(&page))
}

pub(crate) async fn issue(Employee { services, person, visit }: Employee, mut form: Fields) -> Answer {
    let doing = DeviceForm::read(&mut form).map(|new| services.people().issue_own(&person, new));
    match Box::pin(form.submit_on(Surface::Portal, doing)).await? {
        Ok(issued) => Ok(download(&issued, visit.company())),
        Err(refused) => again(&services, &person, &visit, refused).await,
    }
}

/// What is wrong with the form is shown on the form.
async fn again(services: &Services, person: &Person, visit: &Visit, again: Again) -> Answer {
    let servers = choices(services, person).await?;
    let page = NewDevice::new(visit.chrome.clone(), person.user.name.as_str(), None, servers);
    let page = NewDevice { form: page.form.typed(again.fields), ..page };
    Ok(visit.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page))
}
