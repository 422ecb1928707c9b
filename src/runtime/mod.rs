//! (being written)

pub mod random;
