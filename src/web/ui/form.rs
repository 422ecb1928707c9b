//! A form, declared once: a table of fields that says what each is called, how it is drawn, and how it is filled and read.
//!
//! [`form!`] declares one. A page holds a [`FormView`], and its template writes `{{ form.hidden() }}` and
//! `{{ form.all() }}` inside of the `form` element, and `{{ form.notes() }}` above it. A handler takes [`Fields`], reads
//! them by the table, and ends with [`Fields::submit`]: it is done, or the page is shown [again](FormView::again) with
//! what was typed and the errors at their fields, or with both versions side by side if somebody else was quicker.

use std::future::Future;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::http::StatusCode;

use crate::admin::context::Desk;
use crate::http::problem::Problem;
use crate::ui::conflict::{Conflict, ConflictNote, Difference, changed_by};
use crate::ui::fields::{FieldError, Fields};
use crate::ui::links::Link;
use crate::ui::page::Chrome;
use crate::ui::parts::When;
use crate::ui::token::Token;
use domain::Revision;
use domain::login::Surface;
use services::{ServiceError, Services};

pub(crate) use crate::ui::field::{Choice, Field, Widget};

/// Declares a form: a row for each field, with how it is drawn and what it is filled with; and what all of them make
/// together once each was read, which is nothing if they do not go together. A form that only makes things is filled with
/// what is usual, so that it needs no third column.
///
/// ```text
/// form! {
///     /// The form of an organization.
///     OrganizationForm(organization: Organization) {
///         name: Field::name("Name"), one(&organization.name);
///     } fields => NewOrganization { Some(NewOrganization { name }) }
/// }
/// ```
macro_rules! form {
    (
        $(#[$doc:meta])*
        $form:ident($thing:ident: $Thing:ty) { $($name:ident: $field:expr, $fill:expr;)* }
        $fields:ident => $Target:ty $target:block
    ) => {
        $crate::ui::form::form! { $(#[$doc])* $form { $($name: $field;)* } $fields => $Target $target }

        impl $form {
            /// The form as something is.
            pub(crate) fn fill($thing: &$Thing) -> $crate::ui::fields::Fields {
                let mut fields = $crate::ui::fields::Fields::default();
                $(fields.replace(stringify!($name), $fill);)*
                fields
            }
        }
    };
    (
        $(#[$doc:meta])*
        $form:ident { $($name:ident: $field:expr;)* }
        $fields:ident => $Target:ty $target:block
    ) => {
        $(#[$doc])*
        pub(crate) struct $form;

        impl $form {
            /// The fields.
            pub(crate) const FIELDS: &'static [$crate::ui::form::Field] = &[$($field.named(stringify!($name))),*];

            /// What was typed; what cannot be read is noted at its field.
            pub(crate) fn read($fields: &mut $crate::ui::fields::Fields) -> Option<$Target> {
                $fields.take_theirs(Self::FIELDS);
                $(let $name = $fields.read(&$field.named(stringify!($name)));)*
                match ($($name,)*) {
                    ($(Some($name),)*) if $fields.errors.is_empty() => $target,
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use form;

/// A form on a page.
#[derive(Debug, Clone)]
pub(crate) struct FormView {
    table: &'static [Field],
    token: String,
    /// What stands in it, and what is wrong with that.
    pub(crate) fields: Fields,
    choices: Vec<(&'static str, Vec<Choice>)>,
    /// Hints that take the place of those of the table, since they are not the same for everybody.
    hints: Vec<(&'static str, String)>,
    /// What it was filled from, if there is something already.
    origin: Option<Origin>,
    conflict: Option<Conflict>,
    /// What is said above its errors.
    title: &'static str,
}

/// What a form was filled from.
#[derive(Debug, Clone)]
struct Origin {
    revision: Revision,
    base: String,
    /// Where it can be filled anew.
    link: Link,
}

impl FormView {
    /// A form for something new.
    pub(crate) fn fresh(chrome: &Chrome, table: &'static [Field]) -> Self {
        let fields = table.iter().filter(|field| !field.initial.is_empty());
        let fields = Fields::of(fields.map(|field| (field.name, field.initial.to_owned())));
        let token = chrome.form_token().to_owned();
        let (choices, hints) = (Vec::new(), Vec::new());
        Self { table, token, fields, choices, hints, origin: None, conflict: None, title: "Nothing was changed" }
    }

    /// A form that is filled from something; `link` is where it can be filled anew.
    pub(crate) fn filled(
        chrome: &Chrome,
        table: &'static [Field],
        fields: Fields,
        (revision, link): (Revision, Link),
    ) -> Self {
        let origin = Some(Origin { revision, base: fields.as_base(), link });
        Self { fields, origin, ..Self::fresh(chrome, table) }
    }

    /// The same with what can be chosen in a field.
    pub(crate) fn choices(mut self, name: &'static str, choices: Vec<Choice>) -> Self {
        self.choices.push((name, choices));
        self
    }

    /// The same. Where there is one thing only to choose for something new, it is chosen.
    pub(crate) fn choices_or_only(mut self, name: &'static str, choices: Vec<Choice>) -> Self {
        let mut real = choices.iter().filter(|choice| !choice.value.is_empty());
        if let (None, Some(only), None) = (&self.origin, real.next(), real.next()) {
            self.fields.replace(name, [only.value.clone()]);
        }
        self.choices(name, choices)
    }

    /// The same with another hint at a field.
    pub(crate) fn hint(mut self, name: &'static str, hint: impl Into<String>) -> Self {
        self.hints.push((name, hint.into()));
        self
    }

    /// The same with another sentence above its errors.
    pub(crate) fn titled(self, title: &'static str) -> Self {
        Self { title, ..self }
    }

    /// The same with what was typed. What another form of the page sent leaves this one as it is, but for the errors.
    pub(crate) fn typed(mut self, typed: Fields) -> Self {
        if self.table.iter().any(|field| typed.has(field.name)) {
            if let Some(origin) = &mut self.origin
                && let Ok(revision) = typed.revision()
            {
                // The form goes on from what it was filled from, so that a change in between is still noticed.
                origin.revision = revision;
                typed.text("base").clone_into(&mut origin.base);
            }
            self.fields = typed;
        } else {
            self.fields.errors = typed.errors;
        }
        self
    }

    /// The form, which is filled with what is there now, as an answer to what was typed: with the errors, or with both
    /// versions if somebody else was quicker.
    pub(crate) async fn again<T: ToString>(
        self,
        again: Again,
        services: &Services,
        desk: &Desk,
        id: &T,
    ) -> Result<Self, Problem> {
        let is_about_it = again.is_of(self.table);
        let Again { mut fields, is_stale, .. } = again;
        match &self.origin {
            Some(origin) if is_stale && is_about_it => {
                let (link, by) = (origin.link.clone(), changed_by(services, desk, id).await?);
                Ok(self.with_conflict(fields, by, link))
            }
            _ => {
                if is_stale {
                    fields.wrong_as_a_whole(STALE);
                }
                Ok(self.typed(fields))
            }
        }
    }

    /// The same with what was typed against it, and who was quicker.
    pub(crate) fn with_conflict(self, typed: Fields, by: Option<(String, When)>, there: Link) -> Self {
        // Where nothing else was typed than what the form was filled from, the version that is there is proposed.
        let base = typed.base();
        let proposed = |name| base.as_ref().is_some_and(|base| self.is_same(name, base, &typed));
        let rows = self.differences(&typed, &self.fields).into_iter();
        let rows = rows.map(|row| (row.clone(), proposed(row.name))).collect();
        Self { conflict: Some(Conflict { by, rows, there }), fields: typed, ..self }
    }

    /// Where two versions of the form differ, as people read it.
    pub(crate) fn differences(&self, one: &Fields, other: &Fields) -> Vec<Difference> {
        let row = |field: &Field| Difference {
            name: field.name,
            label: field.short,
            one: self.told(field, one),
            other: self.told(field, other),
        };
        let differs = |field: &&Field| !field.name.is_empty() && !self.is_alike(field, one, other);
        self.table.iter().filter(differs).map(row).collect()
    }

    /// Whether a field holds the same in two versions of the form.
    pub(crate) fn is_same(&self, name: &str, one: &Fields, other: &Fields) -> bool {
        let mut field = self.table.iter().filter(|field| field.name == name);
        field.next().is_none_or(|field| self.is_alike(field, one, other))
    }

    fn is_alike(&self, field: &Field, one: &Fields, other: &Fields) -> bool {
        field.compared(self.told(field, one)) == field.compared(self.told(field, other))
    }

    /// What a field holds, as people read it.
    fn told(&self, field: &Field, fields: &Fields) -> String {
        match field.widget {
            Widget::Tick => if fields.is_ticked(field.name) { "yes" } else { "no" }.to_owned(),
            Widget::Select | Widget::Boxes | Widget::Radios => {
                let choices = self.choices_of(field.name).iter();
                let chosen = choices.filter(|choice| fields.all(field.name).any(|value| value == choice.value));
                let real = chosen.filter(|choice| !choice.value.is_empty());
                real.map(|choice| choice.label.as_str()).collect::<Vec<_>>().join(", ")
            }
            Widget::Password => String::new(),
            Widget::Text | Widget::Area(_) => fields.text(field.name).replace('\r', ""),
        }
    }

    fn choices_of(&self, name: &str) -> &[Choice] {
        self.choices.iter().find(|(known, _)| *known == name).map_or(&[], |(_, choices)| choices)
    }

    fn lines<'a>(&'a self, fields: impl Iterator<Item = &'a Field>) -> Lines<'a> {
        let mut lines: Vec<Vec<FieldView<'a>>> = Vec::new();
        for view in fields.map(|field| FieldView::new(self, field)).filter(FieldView::is_of_use) {
            match lines.last_mut() {
                Some(line) if view.field.is_beside => line.push(view),
                _ => lines.push(vec![view]),
            }
        }
        Lines { lines }
    }

    /// All fields, for a template.
    pub(crate) fn all(&self) -> Lines<'_> {
        self.lines(self.table.iter())
    }

    /// The fields of a part, for a template.
    pub(crate) fn part<'a>(&'a self, part: &'a str) -> Lines<'a> {
        self.lines(self.table.iter().filter(move |field| field.part == part))
    }

    /// What stands in a field.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.fields.all(name).next().unwrap_or_default()
    }

    /// Whether something is wrong with one of its fields.
    pub(crate) fn is_wrong(&self) -> bool {
        self.table.iter().any(|field| self.fields.error(field.name).is_some())
    }

    /// What the form sends beside its fields, for a template.
    pub(crate) fn hidden(&self) -> Hidden<'_> {
        let (revision, base) = self.origin.as_ref().map_or((None, ""), |origin| (Some(origin.revision), &origin.base));
        Hidden { token: Token { token: &self.token }, revision, base }
    }

    /// What is to be said above the form, for a template: what is wrong, and who else changed what.
    pub(crate) fn notes(&self) -> Notes<'_> {
        let conflict = self.conflict.as_ref().map(|conflict| ConflictNote { conflict });
        Notes { conflict, errors: errors(self.title, &self.fields.errors) }
    }
}

/// What is said if somebody else changed a thing since the page was opened, and there is nothing to compare.
const STALE: &str = "It was changed since you opened this page. Look at it again first";

/// Why a form is shown again.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) status: StatusCode,
    /// What was typed, and what is wrong with it.
    pub(crate) fields: Fields,
    /// Whether somebody else changed the thing in the meantime.
    is_stale: bool,
}

impl Again {
    /// Whether it is about the form with this table.
    pub(crate) fn is_of(&self, table: &[Field]) -> bool {
        table.iter().any(|field| self.fields.has(field.name))
    }
}

impl Fields {
    /// The end of every form: does what it asks for, if it could be read, and gives what came of it; or why the form is to
    /// be shown again.
    pub(crate) fn submit<R>(
        self,
        doing: Option<impl Future<Output = Result<R, ServiceError>>>,
    ) -> impl Future<Output = Result<Result<R, Again>, Problem>> {
        self.submit_on(Surface::Console, doing)
    }

    /// The same on the pages of a surface, in whose words a refusal is told.
    pub(crate) async fn submit_on<R>(
        mut self,
        surface: Surface,
        doing: Option<impl Future<Output = Result<R, ServiceError>>>,
    ) -> Result<Result<R, Again>, Problem> {
        let mut is_stale = false;
        let status = match doing {
            None => StatusCode::UNPROCESSABLE_ENTITY,
            Some(doing) => match doing.await {
                Ok(done) => return Ok(Ok(done)),
                Err(ServiceError::Stale { .. }) => {
                    is_stale = true;
                    StatusCode::CONFLICT
                }
                Err(error) => self.refused(error, surface)?,
            },
        };
        Ok(Err(Again { status, fields: self, is_stale }))
    }
}

/// The markup of a field, which stands in this template and nowhere else.
#[derive(Template)]
#[template(path = "ui/field.html")]
struct FieldView<'a> {
    field: &'a Field,
    value: &'a str,
    error: Option<&'a str>,
    hint: &'a str,
    /// What can be chosen, and whether it is.
    choices: Vec<(&'a Choice, bool)>,
}

impl<'a> FieldView<'a> {
    fn new(form: &'a FormView, field: &'a Field) -> Self {
        let is_chosen = |choice: &Choice| {
            !choice.value.is_empty() && form.fields.all(field.name).any(|value| value == choice.value)
        };
        let own = form.hints.iter().find(|(name, _)| *name == field.name).map(|(_, hint)| hint.as_str());
        Self {
            field,
            value: if field.widget == Widget::Password { "" } else { form.value(field.name) },
            error: form.fields.error(field.name),
            hint: own.unwrap_or(field.hint),
            choices: form.choices_of(field.name).iter().map(|choice| (choice, is_chosen(choice))).collect(),
        }
    }

    /// Whether there is something to choose, or to say.
    fn is_of_use(&self) -> bool {
        let is_group = matches!(self.field.widget, Widget::Boxes | Widget::Radios);
        !is_group || !self.choices.is_empty() || !self.hint.is_empty()
    }

    /// The ids of what is said about it.
    fn described_by(&self) -> Option<String> {
        let name = self.field.name;
        let error = self.error.is_some().then(|| format!("{name}-error"));
        let hint = (!self.hint.is_empty()).then(|| format!("{name}-hint"));
        let parts: Vec<_> = error.into_iter().chain(hint).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

/// Fields, those that stand beside each other together.
#[derive(Template)]
#[template(path = "ui/fields.html")]
pub(crate) struct Lines<'a> {
    lines: Vec<Vec<FieldView<'a>>>,
}

/// What a form sends beside its fields.
#[derive(Template)]
#[template(path = "ui/hidden.html")]
pub(crate) struct Hidden<'a> {
    token: Token<'a>,
    revision: Option<Revision>,
    base: &'a str,
}

/// What is wrong with a form, or why something was not done.
#[derive(Template)]
#[template(path = "ui/errors.html")]
pub(crate) struct Errors<'a> {
    title: &'static str,
    errors: &'a [FieldError],
}

/// The note that says why something was not done; nothing if nothing is wrong.
pub(crate) fn errors<'a>(title: &'static str, errors: &'a [FieldError]) -> Errors<'a> {
    Errors { title, errors }
}

/// What is said above a form.
#[derive(Template)]
#[template(source = "{% if let Some(conflict) = conflict %}{{ conflict }}{% endif %}{{ errors }}", ext = "html")]
pub(crate) struct Notes<'a> {
    conflict: Option<ConflictNote<'a>>,
    errors: Errors<'a>,
}

impl HtmlSafe for FieldView<'_> {}
impl HtmlSafe for Lines<'_> {}
impl HtmlSafe for Hidden<'_> {}
impl HtmlSafe for Errors<'_> {}
impl HtmlSafe for Notes<'_> {}
