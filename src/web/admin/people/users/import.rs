//! Many users from a list: it is pasted or read from a file, looked at, and then done.

use askama::Template;

use crate::admin::context::{Answer, Desk, Opened};
use crate::ui::form::form;
use crate::ui::{Cell, Chip, Choice, Column, Field, Fields, FormView, Link, Linked as _, Table, counted};
use domain::ids::OrganizationId;
use domain::text::Name;
use domain::user_list::MOST;
use services::people::import::{CellError, Imported, ImportedLine, NewUsers, Outcome};

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
    refused: Table,
    rows: Table,
    /// How many more lines there are than rows are shown.
    more: usize,
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
        let shown = good.get(..SHOWN).unwrap_or(&good);
        let more = good.len() - shown.len();
        Self { is_preview: dry_run, new, existing, refused: mistakes(&refused), rows: good_lines(shown), more }
    }

    /// "1 user", "200 users".
    fn counted(&self) -> String {
        counted(self.new, "user")
    }
}

/// The lines that are left out, and what is wrong with each.
fn mistakes(lines: &[ImportedLine]) -> Table {
    let error = |error: &CellError| format!("{} {}", error.column, error.detail).trim().to_owned();
    let wrong = |line: &ImportedLine| line.errors.iter().map(error).collect::<Vec<_>>().join("; ");
    let columns = [
        Column::number("Line", |line: &ImportedLine| line.written.line),
        Column::name("Name", |line: &ImportedLine| Cell::or_dash(&line.written.name)),
        Column::broken("E-mail address", |line: &ImportedLine| Cell::given(line.written.email.as_ref())),
        Column::broken("What is wrong", |line: &ImportedLine| Cell::text(wrong(line))),
    ];
    Table::new(&columns, lines)
}

/// The lines that make a user, or name one who is there already.
fn good_lines(lines: &[ImportedLine]) -> Table {
    let name = |line: &ImportedLine| match &line.user_id {
        Some(id) => Cell::link(Link::to(id), &line.written.name),
        None => Cell::text(&line.written.name),
    };
    let state = |line: &ImportedLine| {
        if line.outcome == Outcome::New { Chip::good("New") } else { Chip::calm("There already") }
    };
    let columns = [
        Column::number("Line", |line: &ImportedLine| line.written.line),
        Column::name("Name", name),
        Column::new("State", |line: &ImportedLine| Cell::part(state(line))),
        Column::broken("E-mail address", |line: &ImportedLine| Cell::given(line.written.email.as_ref())),
        Column::broken("Groups", |line: &ImportedLine| Cell::or_dash(&line.written.groups.join(", "))),
        Column::new("Role", |line: &ImportedLine| Cell::word(line.written.role.as_deref().unwrap_or("user"))),
    ];
    Table::new(&columns, lines)
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
