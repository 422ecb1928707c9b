//! Who somebody is: sign-in at the identity provider, logins, tokens, links that work once.

pub mod logins;
pub(crate) mod membership;
pub mod outcome;
pub(crate) mod owner_link;
pub(crate) mod owners;
pub(crate) mod sign_in;
pub(crate) mod sign_in_test;
pub(crate) mod standing;
pub mod tickets;
pub mod tokens;
