//! Settings, jobs, maintenance, backups and the state of the whole.

pub mod backup;
pub(crate) mod clock;
pub mod health;
pub mod idempotency;
pub mod jobs;
pub mod limits;
pub mod migrations;
pub mod overview;
pub mod pause;
pub(crate) mod retention;
pub mod settings;
pub mod setup;
