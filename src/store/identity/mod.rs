//! Logins, links that work once, tokens.

pub mod logins;
pub mod tickets;
pub mod tokens;
