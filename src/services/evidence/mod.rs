//! The audit log and other records of what happened.

pub mod audit;
pub mod history;
pub mod refusals;
