//! In which shape the database is: what was applied and when, and what waits.

use askama::Template;

use crate::admin::context::{Answer, Desk, Opened};
use crate::api::extract::NoQuery;
use crate::ui::{Cell, Chip, Column, Icon, Table, Tone, When};
use services::cluster::migrations::{MigrationState, MigrationView};

/// The page.
#[derive(Template)]
#[template(path = "admin/migrations.html")]
pub(crate) struct Migrations<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Table,
    /// How many wait.
    pub(crate) pending: usize,
    /// Whether a newer release has been at work.
    pub(crate) newer: bool,
}

impl<'a> Migrations<'a> {
    /// The page of some migrations, the newest first.
    pub(crate) fn new(desk: &'a Desk, mut views: Vec<MigrationView>) -> Self {
        let pending = views.iter().filter(|view| view.state == MigrationState::Pending).count();
        let newer = views.iter().any(|view| view.state == MigrationState::Newer);
        let state = |view: &MigrationView| match view.state {
            MigrationState::Applied => Chip::good("Applied"),
            MigrationState::Pending => Chip::new(Tone::Warn, Icon::Clock, "Pending"),
            MigrationState::Newer => Chip::new(Tone::Info, Icon::Up, "Of a newer release"),
        };
        let applied = |view: &MigrationView| view.applied_at.map(|at| When::new(at, desk.now));
        let columns = [
            Column::name("Migration", |view: &MigrationView| Cell::mono(&view.name)),
            Column::new("State", |view| Cell::part(state(view))),
            Column::new("Applied", |view| Cell::part_or(applied(view), "Not yet")),
        ];
        views.reverse();
        Self { desk, rows: Table::new(&columns, &views), pending, newer }
    }
}

pub(crate) async fn list(Opened { services, desk }: Opened, _: NoQuery) -> Answer {
    let views = services.cluster().migrations(&desk.act).await?;
    Ok(desk.show(&Migrations::new(&desk, views)))
}
