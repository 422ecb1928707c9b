//! The nouns of Postern and the rules about them: pure, no I/O, no async, no clock and no randomness of its own
//! (both are passed in).

pub mod clock;
pub mod ids;
pub mod secret;
pub mod server;
