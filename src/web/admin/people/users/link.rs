//! A one-time link to a profile, for somebody who cannot sign in. It is shown on one page, once.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::people::users::sheet::page_of;
use crate::{
    admin::context::Desk,
    api::extract::At,
    http::problem::Problem,
    ui::{
        fields::{FieldError, Fields},
        links::Link,
        parts::{Qr, When},
    },
};
use domain::{ids::UserId, login::Surface};
use services::{Services, access::profiles::NewProfile, identity::tickets::Ticket};

const NO_URL: &str = "public.url is not set in the configuration of this host, so it cannot tell where a link leads.";

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

pub(crate) async fn link(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let mut status = StatusCode::UNPROCESSABLE_ENTITY;
    let (name, server_id) = (form.parse("device", "The name of the device"), form.parse("server_id", "The server is"));
    if !services.has_url(Surface::Portal) {
        form.errors.push(FieldError::whole(NO_URL));
        status = StatusCode::CONFLICT;
    } else if let (Some(name), Some(server_id)) = (name, server_id) {
        match services.identity().make_ticket(&desk.act, id, NewProfile { server_id, name }).await {
            Ok(ticket) => return shown(&services, &desk, id, form.text("device"), &ticket).await,
            Err(error) => status = form.refused(error)?,
        }
    }
    let mut page = page_of(&services, &desk, id).await?;
    form.text("device").clone_into(&mut page.device);
    page.errors = form.errors;
    Ok(desk.show_as(status, &page))
}

async fn shown(services: &Services, desk: &Desk, id: UserId, name: &str, ticket: &Ticket) -> Result<Response, Problem> {
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
