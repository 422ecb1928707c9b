//! Hosts: how they join, report, are drained and removed.

pub mod database_users;
pub mod drain;
pub(crate) mod host_problems;
pub mod joining;
pub(crate) mod networks;
pub mod problems;
pub mod registry;
pub mod removal;
pub mod rows;
pub mod view;
