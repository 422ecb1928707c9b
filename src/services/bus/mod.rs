//! What processes tell each other: nudges, and the events that pages are renewed by.

pub mod events;
pub mod nudges;
