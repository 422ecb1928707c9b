//! Signing in and what guards the pages: the same on both sites.

pub(crate) mod guard;
pub(crate) mod owner_link;
pub(crate) mod refused;
pub(crate) mod sign_in;
pub(crate) mod signed_in;
pub(crate) mod trouble;
