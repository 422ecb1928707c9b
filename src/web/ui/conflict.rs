//! Two people edit the same thing: both versions side by side, and nothing overwritten unseen (UX-24).

use askama::{Template, filters::HtmlSafe};

use crate::{
    admin::context::Desk,
    http::problem::Problem,
    ui::{
        fields::Fields,
        form::{Difference, FormView},
        links::Link,
        parts::When,
    },
};
use services::Services;

/// What a form was filled from, and what is there now.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    /// Who was quicker, and when, as far as that is known.
    by: Option<(String, When)>,
    /// Where what was typed differs from what is there now, and whether the version that is there is proposed.
    rows: Vec<(Difference, bool)>,
    /// Where the version that is there can be edited.
    there: Link,
}

impl Conflict {
    /// Compares what was typed with what is there now, which `form` is filled with. Where nothing else was typed than what
    /// the form was filled from, the other person's version is proposed.
    pub(crate) fn of(form: &FormView, typed: &Fields, by: Option<(String, When)>, there: Link) -> Self {
        let base = typed.base();
        let proposed = |name| base.as_ref().is_some_and(|base| form.is_same(name, base, typed));
        let rows = form.differences(typed, &form.fields).into_iter();
        Self { by, rows: rows.map(|row| (row.clone(), proposed(row.name))).collect(), there }
    }
}

/// The note above a form that tells of a conflict.
#[derive(Template)]
#[template(path = "ui/conflict.html")]
pub(crate) struct ConflictNote<'a> {
    pub(crate) conflict: &'a Conflict,
}

impl HtmlSafe for ConflictNote<'_> {}

/// Who changed a thing last, and when. What cannot be found out is left unsaid.
pub(crate) async fn changed_by<T: ToString>(
    services: &Services,
    desk: &Desk,
    id: &T,
) -> Result<Option<(String, When)>, Problem> {
    let last = services.evidence().last_change(&desk.act, &id.to_string()).await?;
    Ok(last.map(|change| (change.by, When::new(change.at, desk.now))))
}
