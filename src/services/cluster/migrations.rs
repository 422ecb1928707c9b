//! In which shape the database is.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Act, Cluster, ServiceError};
use domain::role::Permission;
use store::migrate;
use store::migrate::MigrationStatus;

/// A migration, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Migration)]
pub struct MigrationView {
    /// Its place in the order, from 1.
    #[schema(example = 1)]
    pub number: u32,
    /// Its name.
    #[schema(example = "0001-first")]
    pub name: String,
    /// What became of it.
    pub state: MigrationState,
    /// When it was applied.
    pub applied_at: Option<Timestamp>,
}

/// What became of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// The database has it.
    Applied,
    /// The database lacks it; `postern migrate apply` brings it.
    Pending,
    /// The database has it, and only a newer release knows it.
    Newer,
}

impl From<MigrationStatus> for MigrationView {
    fn from(known: MigrationStatus) -> Self {
        let MigrationStatus { number, name, applied_at, newer } = known;
        let state = match applied_at {
            None => MigrationState::Pending,
            Some(_) if newer => MigrationState::Newer,
            Some(_) => MigrationState::Applied,
        };
        Self { number, name, state, applied_at }
    }
}

impl Cluster<'_> {
    /// All migrations that this release or the database knows, in order.
    pub async fn migrations(self, act: &Act) -> Result<Vec<MigrationView>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(migrate::overview(self.store()).await?.into_iter().map(MigrationView::from).collect())
    }
}
