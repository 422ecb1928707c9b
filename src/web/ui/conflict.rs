//! Two people edit the same thing: both versions side by side, and nothing overwritten unseen (UX-24).

use crate::{http::problem::Problem, ui::parts::When};
use services::{Services, evidence::history::Change};

use crate::admin::context::Desk;

/// What a form was filled from, and what is there now.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    /// Who was quicker, and when, as far as that is known.
    pub(crate) by: Option<(String, When)>,
    /// Where what was typed differs from what is there now.
    pub(crate) rows: Vec<ConflictRow>,
}

/// One field in both versions.
#[derive(Debug, Clone)]
pub(crate) struct ConflictRow {
    /// What the form calls it.
    pub(crate) label: &'static str,
    /// As it was typed.
    pub(crate) yours: String,
    /// As it is there.
    pub(crate) now: String,
    /// Where one of the two can be chosen: for which field, and whether theirs is proposed.
    pub(crate) choice: Option<(&'static str, bool)>,
}

impl Conflict {
    /// Compares field by field: label, typed, there.
    pub(crate) fn of(by: Option<&Change>, fields: &[(&'static str, String, String)], desk: &Desk) -> Self {
        let differing = fields.iter().filter(|(_, yours, now)| yours != now);
        let row = |(label, yours, now): &(&'static str, String, String)| ConflictRow {
            label,
            yours: yours.clone(),
            now: now.clone(),
            choice: None,
        };
        Self { by: told(by, desk), rows: differing.map(row).collect() }
    }

    /// Compares field by field, for a choice in each. `base` is what the form was filled from: where nothing else was
    /// typed than that, the other person's version is proposed.
    pub(crate) fn to_choose(by: Option<&Change>, base: &[Shown], yours: &[Shown], now: &[Shown], desk: &Desk) -> Self {
        let filled = |field: &str| base.iter().find(|shown| shown.field == field).map(|shown| &shown.value);
        let pairs = yours.iter().zip(now).filter(|(yours, now)| yours.value != now.value);
        let row = |(yours, now): (&Shown, &Shown)| ConflictRow {
            label: yours.label,
            yours: yours.value.clone(),
            now: now.value.clone(),
            choice: Some((yours.field, filled(yours.field) == Some(&yours.value))),
        };
        Self { by: told(by, desk), rows: pairs.map(row).collect() }
    }

    /// Whether there is something to choose.
    pub(crate) fn has_choice(&self) -> bool {
        self.rows.iter().any(|row| row.choice.is_some())
    }
}

/// What the field that chooses between two versions of another one is called.
pub(crate) fn choice_of(field: &str) -> String {
    format!("take-{field}")
}

/// The value of that field for the version of the other person.
pub(crate) const THEIRS: &str = "theirs";

/// A field of a form as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The field of the form.
    pub(crate) field: &'static str,
    /// What the page calls it.
    pub(crate) label: &'static str,
    /// What stands in it.
    pub(crate) value: String,
}

fn told(by: Option<&Change>, desk: &Desk) -> Option<(String, When)> {
    by.map(|change| (change.by.clone(), When::new(change.at, desk.now)))
}

/// Who changed a thing last, if the edit of it was stale. What cannot be found out is left unsaid.
pub(crate) async fn changed_by<T: ToString>(
    services: &Services,
    desk: &Desk,
    id: &T,
) -> Result<Option<Change>, Problem> {
    Ok(services.evidence().last_change(&desk.act, &id.to_string()).await?)
}
