//! Organizations: the list, a new one, one to edit or delete. The pattern for all other nouns.

use askama::Template;
use axum::response::Response;

use crate::admin::commands::{Recipe, Recipes};
use crate::admin::context::{Answer, Desk, Sent};
use crate::admin::evidence::history::{Change, history};
use crate::admin::lists::{List, PageOf, Paged};
use crate::admin::nouns::Noun;
use crate::api::extract::{At, ByName};
use crate::http::problem::Problem;
use crate::ui::form::form;
use crate::ui::input::one;
use crate::ui::{Again, Cell, Column, Field, Flash, FormView, Link, Linked as _, Topic};
use domain::Revised;
use domain::ids::OrganizationId;
use domain::organization::Organization;
use domain::role::Permission;
use services::people::organizations::{NewOrganization, OrganizationPatch, OrganizationRow};
use services::{PageRequest, Services};

impl List for OrganizationRow {
    type Id = OrganizationId;
    const TITLE: &'static str = "Organizations";
    const MAKE: Option<(Permission, &'static str)> = Some((Permission::ManageOrganizations, "New organization"));
    const EMPTY: [&'static str; 3] = [
        "There is no organization yet",
        "There are no more organizations",
        "An organization is a set of people. Servers are opened to organizations, so it comes before the first server.",
    ];

    fn columns(_: &Desk) -> Vec<Column<'_, Self>> {
        let organization = |row: &Self| {
            let Organization { id, name } = &row.organization.value;
            Cell::link(Link::to(id), name)
        };
        vec![
            Column::name("Name", organization).ordered("name"),
            Column::number("Users", |row: &Self| row.users),
            Column::number("Servers open to it", |row: &Self| row.servers),
        ]
    }
}

impl Paged for OrganizationRow {
    type Filter = ByName<OrganizationId>;
    const TOPICS: &'static [Topic] = &[Topic::Policy];

    async fn page(services: &Services, desk: &Desk, _: &Self::Filter, request: &PageRequest) -> PageOf<Self> {
        Ok(services.people().organization_rows(&desk.act, request).await?)
    }
}

form! {
    /// The form of an organization.
    OrganizationForm(organization: Organization) {
        name: Field::name("Name"), one(&organization.name);
    } fields => NewOrganization { Some(NewOrganization { name }) }
}

/// A form, for a new organization or one that is there.
#[derive(Template)]
#[template(path = "admin/organization.html")]
pub(crate) struct OrganizationPage<'a> {
    pub(crate) desk: &'a Desk,
    /// The one that is there.
    pub(crate) found: Option<OrganizationRow>,
    pub(crate) form: FormView,
    pub(crate) history: Vec<Change>,
}

impl<'a> OrganizationPage<'a> {
    /// A form for a new one.
    pub(crate) fn empty(desk: &'a Desk) -> Self {
        let form = FormView::fresh(&desk.chrome, OrganizationForm::FIELDS);
        Self { desk, found: None, form, history: Vec::new() }
    }

    /// The page of one that is there.
    pub(crate) fn of(desk: &'a Desk, row: OrganizationRow, history: Vec<Change>) -> Self {
        let Revised { rev, value } = &row.organization;
        let (fields, origin) = (OrganizationForm::fill(value), (*rev, Link::to(&value.id)));
        let form = FormView::filled(&desk.chrome, OrganizationForm::FIELDS, fields, origin);
        Self { desk, found: Some(row), form, history }
    }

    fn recipes(&self) -> Vec<Recipe> {
        let found = self.found.as_ref().map(|row| Recipes::of_organization(self.desk, row.organization.value.id));
        found.unwrap_or_default()
    }
}

pub(crate) async fn new(desk: Desk) -> Response {
    desk.show(&OrganizationPage::empty(&desk))
}

pub(crate) async fn create(Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = OrganizationForm::read(&mut form).map(|new| services.people().create_organization(&desk.act, new));
    match form.submit(doing).await? {
        Ok(made) => Ok(desk.go(&Link::to(&made.value.id), Flash::OrganizationCreated)),
        Err(again) => {
            let page = OrganizationPage::empty(&desk);
            Ok(desk.show_as(again.status, &OrganizationPage { form: page.form.typed(again.fields), ..page }))
        }
    }
}

impl Noun for OrganizationId {
    type Page<'a> = OrganizationPage<'a>;
    const TOPICS: &'static [Topic] = &[];

    async fn page<'a>(&self, services: &Services, desk: &'a Desk) -> Result<OrganizationPage<'a>, Problem> {
        let row = services.people().organization_row(&desk.act, *self).await?;
        Ok(OrganizationPage::of(desk, row, history(services, desk, self).await?))
    }

    fn form<'p>(page: &'p mut OrganizationPage<'_>, _: &Again) -> &'p mut FormView {
        &mut page.form
    }
}

pub(crate) async fn update(At(id): At<OrganizationId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let doing = OrganizationForm::read(&mut form).map(|new| {
        let patch = OrganizationPatch { name: Some(new.name) };
        services.people().update_organization(&desk.act, id, patch, revision)
    });
    let saved = form.submit(doing).await?;
    id.after(saved, &services, desk, |desk, _| desk.go(&Link::to(&id), Flash::OrganizationSaved)).await
}

pub(crate) async fn delete(At(id): At<OrganizationId>, Sent { services, desk, form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let deleted = form.submit(Some(services.people().delete_organization(&desk.act, id, revision))).await?;
    id.after(deleted, &services, desk, |desk, ()| desk.go(&OrganizationRow::link(), Flash::OrganizationDeleted)).await
}
