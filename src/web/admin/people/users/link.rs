//! A one-time link to a profile, for somebody who cannot sign in. It is shown on one page, once.

use askama::Template;

use crate::admin::context::{Answer, Desk, Sent};
use crate::admin::nouns::Noun as _;
use crate::admin::people::users::link_form::LinkForm;
use crate::api::extract::At;
use crate::ui::{Link, Qr, When};
use domain::ids::UserId;
use domain::login::Surface;
use services::access::profiles::NewProfile;
use services::identity::tickets::Ticket;
use services::{Refusal, ServiceError, Services};

/// The page.
#[derive(Template)]
#[template(path = "admin/profile_link.html")]
pub(crate) struct LinkPage<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) back: Link,
    /// Whose profile it becomes.
    pub(crate) user: String,
    /// What the profile will be called.
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) qr: Option<Qr>,
    pub(crate) until: When,
}

pub(crate) async fn link(At(id): At<UserId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let name = form.text("device").to_owned();
    let doing = LinkForm::read(&mut form).map(|new| make(&services, &desk, id, new));
    match form.submit(doing).await? {
        Ok(ticket) => shown(&services, &desk, id, &name, &ticket).await,
        Err(again) => id.again(again, &services, desk).await,
    }
}

async fn make(services: &Services, desk: &Desk, id: UserId, new: NewProfile) -> Result<Ticket, ServiceError> {
    if !services.has_url(Surface::Portal) {
        return Err(ServiceError::Conflict(Refusal::NoPublicUrl));
    }
    services.identity().make_ticket(&desk.act, id, new).await
}

async fn shown(services: &Services, desk: &Desk, id: UserId, name: &str, ticket: &Ticket) -> Answer {
    let user = services.people().user(&desk.act, id).await?.value;
    let url = services.identity().ticket_url(ticket).map(|url| url.expose().clone()).unwrap_or_default();
    Ok(desk.show(&LinkPage {
        desk,
        back: Link::to(&id),
        user: user.name.to_string(),
        name: name.to_owned(),
        qr: Qr::new(&url),
        url,
        until: When::new(ticket.expires_at, desk.now),
    }))
}
