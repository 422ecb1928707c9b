//! Organizations: the list, a new one, one to edit or delete. The pattern for all other nouns.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::ui::topic::Topic;
use crate::{
    admin::{
        commands::{Recipe, Recipes},
        context::Desk,
        evidence::history::{HistoryRow, history},
        lists::{List, Paged},
    },
    ui::{
        conflict::{Conflict, changed_by},
        fields::{FieldError, Fields, error_of},
        links::Link,
        table::{Cell, Column},
    },
};
use crate::{
    api::extract::{At, ByName},
    http::problem::Problem,
    ui::page::Flash,
};
use domain::{Revised, Revision, ids::OrganizationId, organization::Organization, role::Permission};
use services::{
    Page, PageRequest, ServiceError, Services,
    people::organizations::{NewOrganization, OrganizationPatch, OrganizationRow},
};

impl List for OrganizationRow {
    const TITLE: &'static str = "Organizations";
    const MAKE: Option<(Permission, &'static str)> = Some((Permission::ManageOrganizations, "New organization"));
    const EMPTY: [&'static str; 3] = [
        "There is no organization yet",
        "There are no more organizations",
        "An organization is a set of people. Servers are opened to organizations, so it comes before the first server.",
    ];

    fn link() -> Link {
        Link::list::<OrganizationId>()
    }

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

    async fn page(
        services: &Services,
        desk: &Desk,
        _: &Self::Filter,
        request: &PageRequest,
    ) -> Result<Page<Self>, Problem> {
        Ok(services.people().organization_rows(&desk.act, request).await?)
    }
}

/// A form, for a new organization or one that is there.
#[derive(Template)]
#[template(path = "admin/organization.html")]
pub(crate) struct OrganizationPage<'a> {
    pub(crate) desk: &'a Desk,
    /// The one that is there.
    pub(crate) found: Option<Facts>,
    /// What stands in the form.
    pub(crate) name: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) conflict: Option<Conflict>,
}

/// What is known of an organization that is there.
pub(crate) struct Facts {
    pub(crate) id: OrganizationId,
    pub(crate) link: Link,
    pub(crate) name: String,
    /// What the form says that it was filled from.
    pub(crate) revision: Revision,
    pub(crate) users: u64,
    pub(crate) servers: u64,
    pub(crate) history: Vec<HistoryRow>,
}

impl Facts {
    fn recipes(&self, desk: &Desk) -> Vec<Recipe> {
        Recipes::of_organization(desk, self.id)
    }
}

impl<'a> OrganizationPage<'a> {
    /// A form for a new one.
    pub(crate) fn empty(desk: &'a Desk) -> Self {
        Self { desk, found: None, name: String::new(), errors: Vec::new(), conflict: None }
    }

    /// The page of one that is there.
    pub(crate) fn of(desk: &'a Desk, row: OrganizationRow, history: Vec<HistoryRow>) -> Self {
        let OrganizationRow { organization: Revised { rev, value }, users, servers } = row;
        let name = value.name.to_string();
        let (id, link) = (value.id, Link::to(&value.id));
        let facts = Facts { id, link, name: name.clone(), revision: rev, users, servers, history };
        Self { found: Some(facts), name, ..Self::empty(desk) }
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn may_change(&self) -> bool {
        self.desk.may(Permission::ManageOrganizations)
    }

    /// Where the list is.
    fn list() -> Link {
        Link::list::<OrganizationId>()
    }
}

pub(crate) async fn new(desk: Desk) -> Response {
    desk.show(&OrganizationPage::empty(&desk))
}

pub(crate) async fn create(
    State(services): State<Services>,
    desk: Desk,
    mut form: Fields,
) -> Result<Response, Problem> {
    let mut status = StatusCode::UNPROCESSABLE_ENTITY;
    if let Some(name) = form.parse("name", "The name") {
        match services.people().create_organization(&desk.act, NewOrganization { name }).await {
            Ok(made) => return Ok(desk.go(&Link::to(&made.value.id), Flash::OrganizationCreated)),
            Err(error) => status = form.refused(error)?,
        }
    }
    let name = form.text("name").to_owned();
    let page = OrganizationPage { name, errors: form.errors, ..OrganizationPage::empty(&desk) };
    Ok(desk.show_as(status, &page))
}

/// The page of an organization that is there, as it is now.
async fn found<'a>(services: &Services, desk: &'a Desk, id: OrganizationId) -> Result<OrganizationPage<'a>, Problem> {
    let row = services.people().organization_row(&desk.act, id).await?;
    Ok(OrganizationPage::of(desk, row, history(services, desk, &id).await?))
}

pub(crate) async fn show(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<OrganizationId>,
) -> Result<Response, Problem> {
    Ok(desk.show(&found(&services, &desk, id).await?))
}

pub(crate) async fn update(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<OrganizationId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = form.revision()?;
    let (mut status, mut is_stale) = (StatusCode::UNPROCESSABLE_ENTITY, false);
    if let Some(name) = form.parse("name", "The name") {
        let patch = OrganizationPatch { name: Some(name) };
        match services.people().update_organization(&desk.act, id, patch, Some(revision)).await {
            Ok(_) => return Ok(desk.go(&Link::to(&id), Flash::OrganizationSaved)),
            Err(ServiceError::Stale { .. }) => (status, is_stale) = (StatusCode::CONFLICT, true),
            Err(error) => status = form.refused(error)?,
        }
    }
    let mut page = found(&services, &desk, id).await?;
    page.name = form.text("name").to_owned();
    if is_stale {
        let there = page.found.as_ref().map_or_else(String::new, |found| found.name.clone());
        let by = changed_by(&services, &desk, &id).await?;
        page.conflict = Some(Conflict::of(by.as_ref(), &[("Name", page.name.clone(), there)], &desk));
    } else if let Some(found) = &mut page.found {
        // The form goes on from what it was filled from, so that a change in between is still noticed.
        found.revision = revision;
    }
    page.errors = form.errors;
    Ok(desk.show_as(status, &page))
}

pub(crate) async fn delete(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<OrganizationId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = form.revision()?;
    let status = match services.people().delete_organization(&desk.act, id, Some(revision)).await {
        Ok(()) => return Ok(desk.go(&Link::list::<OrganizationId>(), Flash::OrganizationDeleted)),
        Err(ServiceError::Stale { .. }) => {
            let text = "It was changed since you opened this page. Look at it again before you delete it.";
            form.errors.push(FieldError::whole(text));
            StatusCode::CONFLICT
        }
        Err(error) => form.refused(error)?,
    };
    let page = OrganizationPage { errors: form.errors, ..found(&services, &desk, id).await? };
    Ok(desk.show_as(status, &page))
}
