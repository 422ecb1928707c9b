//! Many users from a list: it is pasted or read from a file, looked at, and then done.

use askama::Template;

use crate::admin::context::{Answer, Desk, Opened};
use crate::ui::form::form;
use crate::ui::{Choice, Field, Fields, FormView, Link, Linked as _};
use domain::ids::OrganizationId;
use domain::text::Name;
use domain::user_list::MOST;
use services::people::import::{Imported, ImportedLine, NewUsers, Outcome};

/// So many lines of a kind are shown; mistakes are shown all.
const SHOWN: usize = 50;

form! {
    /// The form of a list.
    ListForm {
        csv: Field::area("List", 10).part("list").hint_below("")
            .with(r#"class="mono" required autocomplete="off" spellcheck="false""#);
        organization_id: Field::select("Organization of lines that name none").subject("The organization is")
            .part("organization");
    } fields => NewUsers {
        Some(NewUsers { csv, organization_id, dry_run: !fields.is_confirmed() })
    }
}

/// The page: the form, a look at what the list would do, or what it did.
#[derive(Template)]
#[template(path = "admin/users_import.html")]
pub(crate) struct ImportPage<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) form: FormView,
    pub(crate) report: Option<Report>,
}

/// What a list does, for people.
pub(crate) struct Report {
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
    /// The form that nobody has touched.
    pub(crate) fn new(desk: &'a Desk, organizations: &[(OrganizationId, Name)]) -> Self {
        let hint = format!(
            "CSV, or cells pasted from a spreadsheet, up to {MOST} lines. The first line names the columns: \
             <code>name</code>, <code>email</code>, <code>groups</code>, <code>role</code>, <code>organization</code>. Only \
             the name is needed; several groups are separated by semicolons."
        );
        let all = organizations.iter().map(|(id, name)| Choice::new(id, name));
        let choices = [Choice::new("", "None: each line names one")].into_iter().chain(all).collect();
        let form = FormView::fresh(&desk.chrome, ListForm::FIELDS).hint("csv", hint);
        Self { desk, form: form.choices_or_only("organization_id", choices), report: None }
    }

    /// The same with what the list does or did.
    pub(crate) fn with(self, imported: Imported) -> Self {
        Self { report: Some(Report::new(imported)), ..self }
    }

    fn is_preview(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.is_preview)
    }
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
            |error: services::people::import::CellError| format!("{} {}", error.column, error.detail).trim().to_owned();
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

pub(crate) async fn form(Opened { services, desk }: Opened) -> Answer {
    Ok(desk.show(&ImportPage::new(&desk, &services.network().organization_choices(&desk.act).await?)))
}

/// Looks at a list, or does what was looked at.
pub(crate) async fn run(Opened { services, desk }: Opened, mut form: Fields) -> Answer {
    let page = ImportPage::new(&desk, &services.network().organization_choices(&desk.act).await?);
    let (people, act, typed) = (services.people(), &desk.act, form.clone());
    let doing = ListForm::read(&mut form).map(|new| async move { people.import_users(act, &new).await });
    match form.submit(doing).await? {
        Ok(imported) => Ok(desk.show(&ImportPage { form: page.form.clone().typed(typed), ..page.with(imported) })),
        Err(again) => Ok(desk.show_as(again.status, &ImportPage { form: page.form.typed(again.fields), ..page })),
    }
}
