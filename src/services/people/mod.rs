//! Users, groups, organizations, and what they do for themselves.

pub mod groups;
pub mod import;
pub mod my_data;
pub mod organizations;
pub mod self_service;
pub mod users;
pub mod views;
