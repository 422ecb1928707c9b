//! The audit log and its statements.

pub mod audit;
pub mod statements;
