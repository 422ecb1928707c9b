//! The settings of the cluster, in sections: one form, since all of it is one document with one revision.

pub(crate) mod form;
pub(crate) mod test;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::cluster::settings::form::SettingsForm;
pub(crate) use crate::admin::cluster::settings::test::answer as answer_test;
pub(crate) use crate::admin::cluster::settings::test::start as start_test;
use crate::{
    admin::{
        context::Desk,
        evidence::history::{HistoryRow, history},
    },
    ui::{
        conflict::{Conflict, THEIRS, changed_by, choice_of},
        fields::{FieldError, Fields, error_of},
        links::Link,
    },
};
use crate::{
    http::problem::Problem,
    ui::{page::Flash, site::origin_of},
};
use domain::{Revised, Revision, ids::OrganizationId, login::Surface, settings::Settings, text::Name};
use services::{ServiceError, Services};

/// The page.
#[derive(Template)]
#[template(path = "admin/settings.html")]
pub(crate) struct SettingsPage<'a> {
    desk: &'a Desk,
    form: SettingsForm,
    revision: Revision,
    /// What the form was filled from, JSON.
    base: String,
    has_secret: bool,
    is_complete: bool,
    organizations: Vec<(OrganizationId, Name)>,
    /// What to paste at the provider: for which pages, and the address if it is known here.
    redirects: Vec<(&'static str, &'static str, Option<String>)>,
    history: Vec<HistoryRow>,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) conflict: Option<Conflict>,
}

/// What the page shows beside the form.
pub(crate) struct Around {
    pub(crate) organizations: Vec<(OrganizationId, Name)>,
    pub(crate) redirects: Vec<(&'static str, &'static str, Option<String>)>,
    pub(crate) history: Vec<HistoryRow>,
}

impl<'a> SettingsPage<'a> {
    pub(crate) fn new(desk: &'a Desk, found: &Revised<Settings>, around: Around) -> Self {
        let form = SettingsForm::of(&found.value);
        let Around { organizations, redirects, history } = around;
        Self {
            desk,
            base: serde_json::to_string(&form).unwrap_or_default(),
            form,
            revision: found.rev,
            has_secret: found.value.oidc.client_secret.is_some(),
            is_complete: found.value.oidc.is_complete(),
            organizations,
            redirects,
            history,
            errors: Vec::new(),
            conflict: None,
        }
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn link() -> Link {
        Link::settings()
    }
}

async fn around(services: &Services, desk: &Desk) -> Result<Around, Problem> {
    let redirect = |label, key, surface| (label, key, services.identity().redirect_url(surface));
    Ok(Around {
        organizations: services.network().organization_choices(&desk.act).await?,
        redirects: vec![
            redirect("Public pages", "public.url", Surface::Portal),
            redirect("Console", "admin.url", Surface::Console),
        ],
        history: history(services, desk, &"settings").await?,
    })
}

/// Lets forms of this page lead on to the provider that is set now.
fn lead_to(desk: &mut Desk, settings: &Settings) {
    desk.chrome.issuer_origin = Some(origin_of(settings.oidc.issuer.as_str()));
}

pub(crate) async fn show(State(services): State<Services>, mut desk: Desk) -> Result<Response, Problem> {
    let found = services.cluster().settings(&desk.act).await?;
    lead_to(&mut desk, &found.value);
    Ok(desk.show(&SettingsPage::new(&desk, &found, around(&services, &desk).await?)))
}

pub(crate) async fn update(
    State(services): State<Services>,
    mut desk: Desk,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = form.revision()?;
    let now = services.cluster().settings(&desk.act).await?;
    lead_to(&mut desk, &now.value);
    take_theirs(&mut form, &SettingsForm::of(&now.value));
    let (mut status, mut is_stale) = (StatusCode::UNPROCESSABLE_ENTITY, false);
    if let Some(patch) = form::read(&mut form) {
        match services.cluster().update_settings(&desk.act, patch, Some(revision)).await {
            Ok(after) if after.rev == now.rev => return Ok(desk.go(&Link::settings(), Flash::NothingChanged)),
            Ok(_) => return Ok(desk.go(&Link::settings(), Flash::SettingsSaved)),
            Err(ServiceError::Stale { .. }) => (status, is_stale) = (StatusCode::CONFLICT, true),
            Err(ServiceError::Invalid { field, reason }) => {
                let field = field.rsplit('/').next().unwrap_or_default();
                form.wrong(field, &reason);
            }
            Err(error) => status = form.refused(error)?,
        }
    }
    let mut page = SettingsPage::new(&desk, &now, around(&services, &desk).await?);
    let (typed, there) = (SettingsForm::typed(&form), page.form.clone());
    if is_stale {
        let base = serde_json::from_str(form.text("base")).unwrap_or_else(|_other| typed.clone());
        let by = changed_by(&services, &desk, &"settings").await?;
        let [was, yours, theirs] = [&base, &typed, &there].map(|form| form.shown(&page.organizations));
        page.conflict = Some(Conflict::to_choose(by.as_ref(), &was, &yours, &theirs, &desk));
    } else {
        // The form goes on from what it was filled from, so that a change in between is still noticed.
        page.revision = revision;
        form.text("base").clone_into(&mut page.base);
    }
    page.form = typed;
    page.errors = form.errors;
    Ok(desk.show_as(status, &page))
}

/// Takes the other person's version of each field for which it was chosen.
fn take_theirs(form: &mut Fields, there: &SettingsForm) {
    for field in form::NAMES {
        let choice = choice_of(field);
        if form.text(&choice) == THEIRS {
            form.replace(field, [there.text(field).to_owned()]);
        }
        form.replace(&choice, []);
    }
}
