//! The heads of the columns that a list can be ordered by: links, so that the order is in the address, where it can be
//! kept and sent.

use std::fmt;
use std::fmt::{Display, Formatter};

use askama::filters::HtmlSafe;

use crate::api::extract::{Filter, Query};
use crate::ui::parts::Icon;
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
    class: Option<&'static str>,
    /// Whether only screen readers say what it is.
    is_unseen: bool,
    /// Where the list is in the order of this column.
    href: Option<String>,
    sorted: Option<bool>,
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

    /// The head of a column as a link that orders the list by it; the first click brings the greatest first if
    /// `is_descending`, as is usual for moments and numbers.
    pub(crate) fn link(&self, head: &Head, word: &'static str, is_descending: bool) -> Head {
        let sorted = self.sorted.filter(|(sorted, _)| *sorted == word).map(|(_, is_descending)| is_descending);
        let next = sorted.map_or(is_descending, |is_descending| !is_descending);
        let more = if self.base.contains('?') { '&' } else { '?' };
        let href = format!("{}{more}sort={}{word}", self.base, if next { "-" } else { "" });
        Head { href: Some(href), sorted, ..head.clone() }
    }

    /// That of the moment when something happened.
    pub(crate) fn at_time(&self) -> Head {
        self.link(&Head::plain("When", None, false), "at", true)
    }

    /// The order, as forms carry it.
    pub(crate) fn word(&self) -> Option<String> {
        self.sorted.map(|(word, is_descending)| format!("{}{word}", if is_descending { "-" } else { "" }))
    }
}

impl Head {
    /// One that orders nothing.
    pub(crate) fn plain(label: &'static str, class: Option<&'static str>, is_unseen: bool) -> Self {
        Self { label, class, is_unseen, href: None, sorted: None }
    }

    /// How the column is ordered, as `aria-sort` says it.
    fn state(&self) -> Option<&'static str> {
        self.sorted.map(|is_descending| if is_descending { "descending" } else { "ascending" })
    }
}

impl Display for Head {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<th scope=\"col\"")?;
        if let Some(class) = self.class {
            write!(f, " class=\"{class}\"")?;
        }
        if let Some(state) = self.state() {
            write!(f, " aria-sort=\"{state}\"")?;
        }
        f.write_str(">")?;
        let label = self.label;
        match &self.href {
            None if self.is_unseen => write!(f, "<span class=\"unseen\">{label}</span>")?,
            None => f.write_str(label)?,
            // The address is made of our words, of what a serializer of forms wrote and of numbers.
            Some(href) => {
                write!(f, "<a class=\"sort\" href=\"{}\">{label}", href.replace('&', "&amp;"))?;
                if self.sorted.is_some() {
                    Icon::Up.fmt(f)?;
                }
                f.write_str("</a>")?;
            }
        }
        f.write_str("</th>")
    }
}

impl HtmlSafe for Head {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_that_orders_says_so_and_turns_around() {
        let columns = Columns::at("/users", "name", false);
        let head =
            |columns: &Columns, label, word| columns.link(&Head::plain(label, None, false), word, false).to_string();
        assert_eq!(
            head(&columns, "E-mail address", "email"),
            "<th scope=\"col\"><a class=\"sort\" href=\"/users?sort=email\">E-mail address</a></th>"
        );
        let name = head(&columns, "Name", "name");
        assert!(name.contains("aria-sort=\"ascending\"") && name.contains("?sort=-name\""), "{name}");
        let name = head(&Columns::at("/users?q=a&limit=9", "name", true), "Name", "name");
        assert!(name.contains("aria-sort=\"descending\""), "{name}");
        assert!(name.contains("href=\"/users?q=a&amp;limit=9&amp;sort=name\""), "{name}");
        assert!(columns.at_time().to_string().contains("sort=-at"), "moments begin with the latest");
    }
}
