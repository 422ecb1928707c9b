//! The state of the cluster, its settings and jobs, and what all hosts count together.

pub mod jobs;
pub mod rates;
pub mod replies;
pub mod retention;
pub mod settings;
pub mod state;
