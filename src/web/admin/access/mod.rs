//! Pages about who may connect and who is connected.

pub(crate) mod explain;
pub(crate) mod sessions;
