//! Pages about API tokens.

pub(crate) mod tokens;
