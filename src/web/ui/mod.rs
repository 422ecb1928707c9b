//! What pages are made of: forms, tables, links, charts, files.

pub(crate) mod assets;
pub(crate) mod browsing;
pub(crate) mod chart;
pub(crate) mod columns;
pub(crate) mod conflict;
pub(crate) mod cookies;
pub(crate) mod export;
pub(crate) mod field;
pub(crate) mod fields;
pub(crate) mod form;
pub(crate) mod forms;
pub(crate) mod guides;
pub(crate) mod input;
pub(crate) mod links;
pub(crate) mod page;
pub(crate) mod parts;
pub(crate) mod preview;
pub(crate) mod site;
pub(crate) mod system;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod token;
pub(crate) mod topic;
