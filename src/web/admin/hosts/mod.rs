//! Pages about hosts.

pub(crate) mod acts;
pub(crate) mod invitations;
pub(crate) mod list;
pub(crate) mod problems;
