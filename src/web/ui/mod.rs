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

// What pages are written with, by name. The files here, and those that they build on, import each other by file.
pub(crate) use crate::ui::columns::Columns;
pub(crate) use crate::ui::cookies::Cookie;
pub(crate) use crate::ui::fields::Fields;
pub(crate) use crate::ui::form::{Again, Choice, Field, FormView};
pub(crate) use crate::ui::forms::{Empty, Form, Pressed};
pub(crate) use crate::ui::links::{Link, Linked};
pub(crate) use crate::ui::page::{Chrome, Employee, Flash, Visit};
pub(crate) use crate::ui::parts::{Chip, Icon, Qr, Tone, When, bytes, span};
pub(crate) use crate::ui::preview::{Asked, Question, ask_or_do, touches_people};
pub(crate) use crate::ui::table::{Cell, Column, RowButton, Table};
pub(crate) use crate::ui::text::{counted, sentence};
pub(crate) use crate::ui::topic::Topic;
