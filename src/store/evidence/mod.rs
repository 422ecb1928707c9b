//! The audit log and its statements.

pub mod audit;
pub(crate) mod entry;
pub mod statements;
