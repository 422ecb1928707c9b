//! Many users from a list: it is pasted or read from a file, looked at, and then done.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::people::users::form::{Choice, organizations};
use crate::{
    admin::context::Desk,
    http::problem::Problem,
    ui::{
        fields::{FieldError, Fields, error_of},
        links::Link,
    },
};
use domain::{
    ids::{OrganizationId, UserId},
    organization::Organization,
    user_list::MOST,
};
use services::{
    Services,
    people::import::{Imported, ImportedLine, NewUsers, Outcome},
};

/// So many lines of a kind are shown; mistakes are shown all.
const SHOWN: usize = 50;

/// The page: the form, a look at what the list would do, or what it did.
#[derive(Template)]
#[template(path = "admin/users_import.html")]
pub(crate) struct ImportPage<'a> {
    desk: &'a Desk,
    /// What stands in the form.
    csv: String,
    organization: String,
    organizations: Vec<Organization>,
    pub(crate) errors: Vec<FieldError>,
    report: Option<Report>,
}

/// What a list does, for people.
struct Report {
    is_preview: bool,
    new: usize,
    existing: usize,
    refused: Vec<Row>,
    rows: Vec<Row>,
    /// How many more lines there are than rows are shown.
    more: usize,
}

struct Row {
    line: u64,
    name: String,
    email: String,
    groups: String,
    role: String,
    is_new: bool,
    link: Option<Link>,
    errors: Vec<String>,
}

impl<'a> ImportPage<'a> {
    /// The form, as it was sent.
    pub(crate) fn new(desk: &'a Desk, organizations: Vec<Organization>, form: &Fields) -> Self {
        let only = match organizations.as_slice() {
            [only] => only.id.to_string(),
            _ => String::new(),
        };
        let organization =
            Some(form.text("organization_id").to_owned()).filter(|text| !text.is_empty()).unwrap_or(only);
        Self { desk, csv: csv(form), organization, organizations, errors: Vec::new(), report: None }
    }

    /// The same with what the list does or did.
    pub(crate) fn with(self, imported: Imported) -> Self {
        Self { report: Some(Report::new(imported)), ..self }
    }

    fn is_preview(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.is_preview)
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn choices(&self) -> Vec<Choice> {
        let choice = |organization: &Organization| {
            let value = organization.id.to_string();
            Choice { is_chosen: value == self.organization, value, label: organization.name.to_string() }
        };
        self.organizations.iter().map(choice).collect()
    }

    fn list() -> Link {
        Link::list::<UserId>()
    }

    fn most() -> usize {
        MOST
    }
}

/// The list as it was sent: white space at its end may be an empty cell.
fn csv(form: &Fields) -> String {
    form.all("csv").next().unwrap_or_default().to_owned()
}

impl Report {
    fn new(imported: Imported) -> Self {
        let Imported { dry_run, new, existing, refused: _, lines } = imported;
        let (refused, good): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.outcome == Outcome::Refused);
        let more = good.len().saturating_sub(SHOWN);
        Self {
            is_preview: dry_run,
            new,
            existing,
            refused: refused.into_iter().map(Row::new).collect(),
            rows: good.into_iter().take(SHOWN).map(Row::new).collect(),
            more,
        }
    }

    /// "1 user", "200 users".
    fn counted(&self) -> String {
        format!("{} user{}", self.new, if self.new == 1 { "" } else { "s" })
    }
}

impl Row {
    fn new(line: ImportedLine) -> Self {
        let ImportedLine { written, outcome, user_id, errors } = line;
        let error =
            |error: domain::user_list::CellError| format!("{} {}", error.column, error.detail).trim().to_owned();
        Self {
            line: written.line,
            name: written.name,
            email: written.email.unwrap_or_default(),
            groups: written.groups.join(", "),
            role: written.role.unwrap_or_default(),
            is_new: outcome == Outcome::New,
            link: user_id.map(|id| Link::to(&id)),
            errors: errors.into_iter().map(error).collect(),
        }
    }
}

pub(crate) async fn form(State(services): State<Services>, desk: Desk) -> Result<Response, Problem> {
    Ok(desk.show(&ImportPage::new(&desk, organizations(&services, &desk).await?, &Fields::default())))
}

/// Looks at a list, or does what was looked at.
pub(crate) async fn run(State(services): State<Services>, desk: Desk, mut form: Fields) -> Result<Response, Problem> {
    let organization_id = form.parse_optional::<OrganizationId>("organization_id", "The organization is");
    let dry_run = !form.is_ticked("confirmed");
    let new = NewUsers { csv: csv(&form), organization_id, dry_run };
    let mut page = ImportPage::new(&desk, organizations(&services, &desk).await?, &form);
    if !form.errors.is_empty() {
        page.errors = form.errors;
        return Ok(desk.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page));
    }
    match services.people().import_users(&desk.act, &new).await {
        Ok(imported) => Ok(desk.show(&page.with(imported))),
        Err(error) => {
            let status = form.refused(error)?;
            page.errors = form.errors;
            Ok(desk.show_as(status, &page))
        }
    }
}
