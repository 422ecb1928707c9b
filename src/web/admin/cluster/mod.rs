//! Pages about the cluster: overview, settings, jobs, migrations.

pub(crate) mod jobs;
pub(crate) mod migrations;
pub(crate) mod overview;
pub(crate) mod settings;
pub(crate) mod setup;
