//! Users, groups, organizations.

pub mod groups;
pub mod organizations;
pub mod users;
