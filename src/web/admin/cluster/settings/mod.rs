//! The settings of the cluster, in sections: one form, since all of it is one document with one revision.

pub(crate) mod form;
pub(crate) mod test;

use askama::Template;

use crate::admin::cluster::settings::form::SettingsForm;
pub(crate) use crate::admin::cluster::settings::test::{answer as answer_test, start as start_test};
use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::evidence::history::{Change, history};
use crate::http::problem::Problem;
use crate::ui::site::origin_of;
use crate::ui::{Flash, FormView, Link};
use domain::Revised;
use domain::ids::OrganizationId;
use domain::login::Surface;
use domain::settings::Settings;
use domain::text::Name;
use services::Services;

/// The page.
#[derive(Template)]
#[template(path = "admin/settings.html")]
pub(crate) struct SettingsPage<'a> {
    desk: &'a Desk,
    pub(crate) form: FormView,
    has_secret: bool,
    is_complete: bool,
    /// What to paste at the provider: for which pages, and the address if it is known here.
    redirects: Vec<(&'static str, &'static str, Option<String>)>,
    history: Vec<Change>,
}

/// What the page shows beside the form.
pub(crate) struct Around {
    pub(crate) organizations: Vec<(OrganizationId, Name)>,
    pub(crate) redirects: Vec<(&'static str, &'static str, Option<String>)>,
    pub(crate) history: Vec<Change>,
}

impl<'a> SettingsPage<'a> {
    pub(crate) fn new(desk: &'a Desk, found: &Revised<Settings>, around: Around) -> Self {
        let Revised { rev, value } = found;
        let Around { organizations, redirects, history } = around;
        let has_secret = value.oidc.client_secret.is_some();
        let origin = (*rev, Link::settings());
        let form = FormView::filled(&desk.chrome, SettingsForm::FIELDS, SettingsForm::fill(value), origin);
        let form = form::with_choices(form, &organizations, has_secret);
        Self { desk, form, has_secret, is_complete: value.oidc.is_complete(), redirects, history }
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

pub(crate) async fn show(Opened { services, mut desk }: Opened) -> Answer {
    let found = services.cluster().settings(&desk.act).await?;
    lead_to(&mut desk, &found.value);
    Ok(desk.show(&SettingsPage::new(&desk, &found, around(&services, &desk).await?)))
}

pub(crate) async fn update(Sent { services, mut desk, mut form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let now = services.cluster().settings(&desk.act).await?;
    lead_to(&mut desk, &now.value);
    let doing =
        SettingsForm::read(&mut form).map(|patch| services.cluster().update_settings(&desk.act, patch, revision));
    match form.submit(doing).await? {
        Ok(after) if after.rev == now.rev => Ok(desk.go(&Link::settings(), Flash::NothingChanged)),
        Ok(_) => Ok(desk.go(&Link::settings(), Flash::SettingsSaved)),
        Err(again) => {
            let mut page = SettingsPage::new(&desk, &now, around(&services, &desk).await?);
            let status = again.status;
            page.form = page.form.again(again, &services, &desk, &"settings").await?;
            Ok(desk.show_as(status, &page))
        }
    }
}
