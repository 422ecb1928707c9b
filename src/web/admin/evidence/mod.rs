//! Pages about what happened.

pub(crate) mod audit;
pub(crate) mod history;
