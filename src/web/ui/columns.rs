//! The heads of the columns that a list can be ordered by: links, so that the order is in the address, where it can be
//! kept and sent.

use std::fmt::{self, Display, Formatter};

use askama::filters::HtmlSafe;

use crate::{
    api::extract::{Filter, Query},
    ui::parts::Icon,
};
use services::Order;

/// How a list is ordered, and where it is in another order.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// The address of the list without an order.
    base: String,
    /// The word of the column that it is ordered by, and whether the greatest comes first.
    sorted: Option<(&'static str, bool)>,
}

/// The head of a column.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    label: &'static str,
    href: String,
    sorted: Option<bool>,
    is_number: bool,
}

impl Columns {
    /// As a request wants it, or else as the list is by itself.
    pub(crate) fn of<F: Filter>(query: &Query<F>, usual: Option<Order>) -> Self {
        let order = query.page.order.or(usual);
        let word = |order: Order| F::SORTS.iter().find(|(_, by)| *by == order.by).map(|(word, _)| *word);
        let sorted = order.and_then(|order| Some((word(order)?, order.is_descending)));
        Self { base: query.unsorted().to_owned(), sorted }
    }

    /// A list at `path` that is ordered by a column.
    pub(crate) fn at(path: &str, word: &'static str, is_descending: bool) -> Self {
        Self { base: path.to_owned(), sorted: Some((word, is_descending)) }
    }

    /// The head of a column that begins with the smallest.
    fn head(&self, label: &'static str, word: &'static str) -> Head {
        self.beginning(label, word, false)
    }

    /// The head of a column of moments or numbers, which begins with the greatest.
    fn latest(&self, label: &'static str, word: &'static str) -> Head {
        self.beginning(label, word, true)
    }

    fn beginning(&self, label: &'static str, word: &'static str, is_descending: bool) -> Head {
        let sorted = self.sorted.filter(|(sorted, _)| *sorted == word).map(|(_, is_descending)| is_descending);
        let next = sorted.map_or(is_descending, |is_descending| !is_descending);
        let more = if self.base.contains('?') { '&' } else { '?' };
        let href = format!("{}{more}sort={}{word}", self.base, if next { "-" } else { "" });
        Head { label, href, sorted, is_number: false }
    }

    /// That of names.
    pub(crate) fn name(&self) -> Head {
        self.head("Name", "name")
    }

    /// That of mailboxes.
    pub(crate) fn email(&self) -> Head {
        self.head("E-mail address", "email")
    }

    /// That of the moment when a connection began.
    pub(crate) fn since(&self) -> Head {
        self.latest("Since", "since")
    }

    /// That of the moment when a connection ended.
    pub(crate) fn until(&self) -> Head {
        self.latest("Ended", "ended")
    }

    /// That of the moment when something happened.
    pub(crate) fn at_time(&self) -> Head {
        self.latest("When", "at")
    }

    /// That of how many users there are.
    pub(crate) fn users(&self) -> Head {
        Head { is_number: true, ..self.latest("Users", "users") }
    }

    /// That of how many servers there are.
    pub(crate) fn servers(&self) -> Head {
        Head { is_number: true, ..self.latest("Servers open to it", "servers") }
    }

    /// The order, as forms carry it.
    pub(crate) fn word(&self) -> Option<String> {
        self.sorted.map(|(word, is_descending)| format!("{}{word}", if is_descending { "-" } else { "" }))
    }
}

impl Head {
    /// How the column is ordered, as `aria-sort` says it.
    fn state(&self) -> Option<&'static str> {
        self.sorted.map(|is_descending| if is_descending { "descending" } else { "ascending" })
    }
}

impl Display for Head {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { label, href, .. } = self;
        f.write_str(if self.is_number { "<th scope=\"col\" class=\"number\"" } else { "<th scope=\"col\"" })?;
        if let Some(state) = self.state() {
            write!(f, " aria-sort=\"{state}\"")?;
        }
        // The address is made of our words, of what a serializer of forms wrote and of numbers.
        write!(f, "><a class=\"sort\" href=\"{}\">{label}", href.replace('&', "&amp;"))?;
        if self.sorted.is_some() {
            Icon::Up.fmt(f)?;
        }
        f.write_str("</a></th>")
    }
}

impl HtmlSafe for Head {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_that_orders_says_so_and_turns_around() {
        let columns = Columns::at("/users", "name", false);
        assert_eq!(
            columns.email().to_string(),
            "<th scope=\"col\"><a class=\"sort\" href=\"/users?sort=email\">E-mail address</a></th>"
        );
        let name = columns.name().to_string();
        assert!(name.contains("aria-sort=\"ascending\"") && name.contains("?sort=-name\""), "{name}");
        let name = Columns::at("/users?q=a&limit=9", "name", true).name().to_string();
        assert!(name.contains("aria-sort=\"descending\""), "{name}");
        assert!(name.contains("href=\"/users?q=a&amp;limit=9&amp;sort=name\""), "{name}");
        assert!(columns.since().to_string().contains("sort=-since"), "moments begin with the latest");
    }
}
