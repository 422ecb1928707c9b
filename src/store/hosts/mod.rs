//! Hosts: what is known of them, what they report, what is left of removed ones.

pub mod conditions;
pub mod database_user;
pub mod heartbeat;
pub mod records;
pub mod removed;
