//! Pages about users, groups and organizations.

pub(crate) mod groups;
pub(crate) mod organizations;
pub(crate) mod users;
