//! Two people edit the same thing: both versions side by side, and nothing overwritten unseen (UX-24).

use askama::Template;
use askama::filters::HtmlSafe;

use crate::admin::context::Desk;
use crate::http::problem::Problem;
use crate::ui::links::Link;
use crate::ui::parts::When;
use services::Services;

/// A field that holds one thing in one version of a form, and another thing in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) one: String,
    pub(crate) other: String,
}

/// What a form was filled from, and what is there now.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    /// Who was quicker, and when, as far as that is known.
    pub(crate) by: Option<(String, When)>,
    /// Where what was typed differs from what is there now, and whether the version that is there is proposed.
    pub(crate) rows: Vec<(Difference, bool)>,
    /// Where the version that is there can be edited.
    pub(crate) there: Link,
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
