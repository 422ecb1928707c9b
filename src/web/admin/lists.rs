//! Lists of the console: a row type declares its title, its columns, what a file of it holds and how it is read, once;
//! the page, its files and the links between its pages are made of that.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::Value;

use crate::admin::context::{Answer, Desk, Opened};
use crate::api::extract::{Filter, Query};
use crate::http::problem::Problem;
use crate::ui::export::{FileKind, Sheet};
use crate::ui::{Column, Columns, Link, Linked, Table, Topic};
use domain::role::Permission;
use services::{Page, PageRequest, Services};

/// So many rows of a list are read at a time for a file.
const AT_ONCE: u32 = 1_000;

/// A column of a file: its name, and what it holds of a row.
pub(crate) type ExportField<T> = (&'static str, fn(&T) -> Value);

/// A page of a list, or why it cannot be read.
pub(crate) type PageOf<L> = Result<Page<L>, Problem>;

/// A row of a list.
pub(crate) trait List: Sized + Send + 'static {
    /// What a row is known by: the address of the list follows from it.
    type Id: Linked;
    /// What the page is called.
    const TITLE: &'static str;
    /// What stands beneath the title.
    const LEAD: &'static str = "";
    /// Who may make a new one, at `new` beneath the list, and what the link says.
    const MAKE: Option<(Permission, &'static str)> = None;
    /// What the page says where there is none, where there are no more, and what such a thing is.
    const EMPTY: [&'static str; 3];
    /// What a file of the list is called; empty if there is none.
    const FILE: &'static str = "";
    /// What a file of the list holds.
    const FIELDS: &'static [ExportField<Self>] = &[];

    /// Where the list is.
    fn link() -> Link {
        Link::list::<Self::Id>()
    }

    /// What the table shows.
    fn columns(desk: &Desk) -> Vec<Column<'_, Self>>;
}

/// A list that is read page by page.
pub(crate) trait Paged: List {
    /// Which rows, as the address of the page says.
    type Filter: Filter + Send + Sync;
    /// What the page depends on.
    const TOPICS: &'static [Topic];

    /// A page of the rows.
    fn page(
        services: &Services,
        desk: &Desk,
        filter: &Self::Filter,
        request: &PageRequest,
    ) -> impl Future<Output = PageOf<Self>> + Send;
}

/// Where a page of a list is among the others.
pub(crate) struct Place {
    /// Whether it is the first.
    pub(crate) is_first: bool,
    /// Where the first is.
    pub(crate) first: String,
    /// Where the next is.
    pub(crate) next: Option<String>,
}

impl Place {
    /// Of a page that was asked for.
    pub(crate) fn of<F, R>(query: &Query<F>, page: &Page<R>) -> Self {
        Self { is_first: query.is_first(), first: query.first().to_owned(), next: query.next(page) }
    }

    /// Of the only page.
    pub(crate) fn only(list: &Link) -> Self {
        Self { is_first: true, first: list.as_str().to_owned(), next: None }
    }
}

/// The rows of a list, or what is said in place of none, with the links to its files and to its other pages.
#[derive(Template)]
#[template(path = "admin/rows.html")]
pub(crate) struct Rows {
    table: Table,
    /// What is said where there is no row: a title, a sentence, a link.
    empty: (String, String, Option<(Link, &'static str)>),
    /// What the files hold, and where they are.
    files: Option<(&'static str, String, String)>,
    is_first: bool,
    first: String,
    next: Option<String>,
}

impl HtmlSafe for Rows {}

impl Rows {
    /// These rows at a place.
    pub(crate) fn new(table: Table, place: Place) -> Self {
        let Place { is_first, first, next } = place;
        Self { table, empty: (String::new(), String::new(), None), files: None, is_first, first, next }
    }

    /// The same with what is said where there is none.
    pub(crate) fn or(self, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { empty: (title.into(), text.into(), None), ..self }
    }

    /// The same with a link for where there is none.
    pub(crate) fn or_go(self, link: Link, text: &'static str) -> Self {
        let (title, about, _) = self.empty;
        Self { empty: (title, about, Some((link, text))), ..self }
    }

    /// The same with files, which `lead` introduces.
    pub(crate) fn with_files(self, lead: &'static str, address: impl Fn(&'static str) -> String) -> Self {
        Self { files: Some((lead, address("export"), address("export.json"))), ..self }
    }

    /// The rows of a list.
    pub(crate) fn of<L: List>(desk: &Desk, rows: &[L], order: &Columns, place: Place) -> Self {
        Self::listed::<L>(Table::in_order(&L::columns(desk), Some(order), rows), place)
    }

    /// The rows of a list that are in a table already.
    pub(crate) fn listed<L: List>(table: Table, place: Place) -> Self {
        let [none, no_more, about] = L::EMPTY;
        let title = if place.is_first { none } else { no_more };
        let rows = Self::new(table, place).or(title, about);
        if L::FILE.is_empty() { rows } else { rows.with_files("Download all", |file| L::link().and(file).to_string()) }
    }
}

/// The page of a list that has nothing besides.
#[derive(Template)]
#[template(path = "admin/list.html")]
pub(crate) struct ListPage<'a> {
    desk: &'a Desk,
    title: &'static str,
    lead: &'static str,
    make: Option<(Link, &'static str)>,
    rows: Rows,
}

impl<'a> ListPage<'a> {
    /// These rows.
    pub(crate) fn new<L: List>(desk: &'a Desk, rows: &[L], order: &Columns, place: Place) -> Self {
        let make = L::MAKE.filter(|(needs, _)| desk.may(*needs)).map(|(_, text)| (L::link().and("new"), text));
        Self { desk, title: L::TITLE, lead: L::LEAD, make, rows: Rows::of(desk, rows, order, place) }
    }
}

/// A page of a list.
pub(crate) async fn list<L: Paged>(Opened { services, mut desk }: Opened, query: Query<L::Filter>) -> Answer {
    desk.live = L::TOPICS;
    let page = L::page(&services, &desk, &query.filter, &query.page).await?;
    let place = Place::of(&query, &page);
    Ok(desk.show(&ListPage::new(&desk, &page.items, &Columns::of(&query, None), place)))
}

/// A list as a file: all rows that its page finds, in the order of the page.
pub(crate) async fn export<L: Paged, K: FileKind>(
    Opened { services, desk }: Opened,
    query: Query<L::Filter>,
) -> Answer {
    let mut rows = Vec::new();
    let mut next = Some(PageRequest { order: query.page.order, ..PageRequest::first(AT_ONCE) });
    while let Some(request) = next {
        let page = L::page(&services, &desk, &query.filter, &request).await?;
        rows.extend(page.items);
        next = page.next.map(|last| PageRequest { after: Some(last), ..request });
    }
    file::<L, K>(&rows)
}

/// Rows as a file.
pub(crate) fn file<L: List, K: FileKind>(rows: &[L]) -> Answer {
    let columns = L::FIELDS.iter().map(|(name, _)| *name).collect();
    let rows = rows.iter().map(|row| L::FIELDS.iter().map(|(_, value)| value(row)).collect()).collect();
    Sheet { name: L::FILE, columns, rows }.file::<K>()
}
