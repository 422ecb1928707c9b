//! Users: the list with its search, its file and many from a file, a new one, and the sheet of one.

pub(crate) mod form;
pub(crate) mod import;
pub(crate) mod link;
pub(crate) mod link_form;
pub(crate) mod list;
pub(crate) mod sheet;
