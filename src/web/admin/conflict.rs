//! Two people edit the same thing: both versions side by side, and nothing overwritten unseen (UX-24).

use crate::{
    services::{Services, history::Change},
    web::{portal::parts::When, problem::Problem},
};

use super::desk::Desk;

/// What a form was filled from, and what is there now.
#[derive(Debug, Clone)]
pub(super) struct Conflict {
    /// Who was quicker, and when, as far as that is known.
    pub(super) by: Option<(String, When)>,
    /// Where what was typed differs from what is there now.
    pub(super) rows: Vec<ConflictRow>,
}

/// One field in both versions.
#[derive(Debug, Clone)]
pub(super) struct ConflictRow {
    /// What the form calls it.
    pub(super) label: &'static str,
    /// As it was typed.
    pub(super) yours: String,
    /// As it is there.
    pub(super) now: String,
}

impl Conflict {
    /// Compares field by field: label, typed, there.
    pub(super) fn of(by: Option<&Change>, fields: &[(&'static str, String, String)], desk: &Desk) -> Self {
        let differing = fields.iter().filter(|(_, yours, now)| yours != now);
        let row = |(label, yours, now): &(&'static str, String, String)| ConflictRow {
            label,
            yours: yours.clone(),
            now: now.clone(),
        };
        let by = by.map(|change| (change.by.clone(), When::new(change.at, desk.now)));
        Self { by, rows: differing.map(row).collect() }
    }
}

/// Who changed a thing last, if the edit of it was stale. What cannot be found out is left unsaid.
pub(super) async fn changed_by<T: ToString>(
    services: &Services,
    desk: &Desk,
    id: &T,
) -> Result<Option<Change>, Problem> {
    Ok(services.last_change(&desk.act, &id.to_string()).await?)
}
