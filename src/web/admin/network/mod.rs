//! Pages about servers and the certificates behind them.

pub(crate) mod attach_forms;
pub(crate) mod attaching;
pub(crate) mod authorities;
pub(crate) mod servers;
