//! Users: the list with its search, its file and many from a file, a new one, and the sheet of one.

pub(crate) mod form;
pub(crate) mod import;
pub(crate) mod link;
pub(crate) mod link_form;
pub(crate) mod list;
pub(crate) mod sheet;

pub(crate) use crate::admin::people::users::import::{form as import_form, run as import};
pub(crate) use crate::admin::people::users::link::link;
pub(crate) use crate::admin::people::users::list::list;
pub(crate) use crate::admin::people::users::sheet::{
    create, delete, disable, enable, end_logins, end_session, end_sessions, revoke, update,
};
