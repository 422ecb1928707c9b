//! Every page in every state, from sample data: what tests render and what people look at before they change a page.
//!
//! A part of the web crate that only tests compile (its feature `samples`), so that pages keep what they are made of to
//! the crate. There are two sets of samples: one with decent names, and one with names as hostile as names can be, so
//! that a page which forgets to escape one shows it here.

mod audit;
mod console;
mod explain;
mod groups;
mod hosts;
mod overview;
mod portal;
mod servers;
mod sessions;
mod settings;
mod system;
mod users;

use askama::Template;

use domain::samples::{ago, id, now, text};
#[cfg(test)]
pub(crate) use {overview::usage, portal::MET};

use crate::admin::context::Desk;
use crate::admin::lists::{List, ListPage, Place};
use crate::ui::columns::Columns;
use crate::ui::fields::{FieldError, Fields};
use crate::ui::links::Link;
use domain::ids::RequestId;
use services::identity::outcome::SignInFacts;

/// A page in a state.
#[derive(Debug, Clone)]
pub struct PageSample {
    /// Which: letters, digits and hyphens.
    pub name: String,
    /// The page.
    pub html: String,
}

/// A name that wants out of wherever it is put.
const HOSTILE: &str = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;";

/// The samples of one set of names.
struct SampleSet {
    /// The company.
    company: &'static str,
    /// What people and things are called.
    name: &'static str,
    /// What devices are called.
    device: &'static str,
    /// What the names of its samples begin with.
    prefix: String,
    pages: Vec<PageSample>,
}

impl SampleSet {
    fn new(names: [&'static str; 3], prefix: String) -> Self {
        let [company, name, device] = names;
        Self { company, name, device, prefix, pages: Vec::new() }
    }

    /// Adds a page in a state.
    fn add(&mut self, name: &str, page: &impl Template) {
        let html = page.render().unwrap_or_else(|error| format!("not written: {error}"));
        self.pages.push(PageSample { name: format!("{}{name}", self.prefix), html });
    }
}

/// Facts about a company with a name.
fn facts(company: &str) -> SignInFacts {
    SignInFacts {
        company_name: Some(text(company)),
        contact: Some(text("the IT desk, it@example.com")),
        issuer: Some("https://accounts.google.com".to_owned()),
        is_google: true,
        away_since: None,
    }
}

/// Where a page of a list is.
fn place(list: &Link, is_first: bool, next: Option<&str>) -> Place {
    Place { is_first, next: next.map(str::to_owned), ..Place::only(list) }
}

/// How a list is ordered by the names of its rows.
fn by_name(list: &Link) -> Columns {
    Columns::at(list.as_str(), "name", false)
}

/// The page of a list that has nothing besides.
fn listed<'a, L: List>(desk: &'a Desk, rows: &[L], is_first: bool, next: Option<&str>) -> ListPage<'a> {
    ListPage::new(desk, rows, &by_name(&L::link()), place(&L::link(), is_first, next))
}

impl Fields {
    /// The same with another value in a field.
    pub(crate) fn with(mut self, field: &str, value: &str) -> Self {
        self.replace(field, [value.to_owned()]);
        self
    }
}

/// A form in which nothing was typed, and with which this is wrong: at which field, and what.
fn wrong(errors: &[(&str, &str)]) -> Fields {
    let error = |(field, text): &(&str, &str)| FieldError { field: (*field).to_owned(), text: (*text).to_owned() };
    let mut fields = Fields::default();
    fields.errors = errors.iter().map(error).collect();
    fields
}

/// A page with something changed.
fn with<T>(mut page: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut page);
    page
}

fn request_id() -> String {
    id::<RequestId>(1).to_string()
}

/// Every page of both sites in every state: once with the names of decent people, once (`hostile-…`) with names that
/// want out.
#[must_use]
pub fn page_samples() -> Vec<PageSample> {
    let mut pages = Vec::new();
    for (names, prefix) in [(["Example", "Ana Horvat", "Ana's MacBook"], ""), ([HOSTILE; 3], "hostile-")] {
        let mut set = SampleSet::new(names, prefix.to_owned());
        portal::add(&mut set);
        pages.append(&mut set.pages);
    }
    for (names, prefix) in [(["Example", "Bo Lind", "Laptop"], ""), ([HOSTILE; 3], "hostile-")] {
        let mut set = SampleSet::new(names, format!("{prefix}console-"));
        console::add(&mut set);
        pages.append(&mut set.pages);
    }
    pages
}
