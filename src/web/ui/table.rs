//! Tables: a row type declares its columns once, and there is one piece of markup for all of them.
//!
//! A column has a head, may be one that the list can be ordered by, and knows what it shows of a row. What a cell shows
//! is a [`Cell`], which escapes whatever comes from outside.

use std::fmt;
use std::fmt::{Display, Formatter};

use askama::Template;
use askama::filters::{Html, HtmlSafe, escape};

use crate::ui::columns::{Columns, Head};

/// What stands in a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell(String);

impl Cell {
    /// Words.
    pub(crate) fn text(text: impl Display) -> Self {
        let Ok(safe) = escape(text.to_string(), Html);
        Self(safe.to_string())
    }

    /// A part of a page that writes itself.
    pub(crate) fn part(part: impl HtmlSafe) -> Self {
        Self(part.to_string())
    }

    /// A link.
    pub(crate) fn link(to: impl Display, text: impl Display) -> Self {
        Self(format!("<a href=\"{}\">{}</a>", Self::text(to), Self::text(text)))
    }

    /// What a machine reads: addresses, fingerprints.
    pub(crate) fn mono(text: impl Display) -> Self {
        Self::text(text).within("span", "mono")
    }

    /// What matters less.
    pub(crate) fn soft(text: impl Display) -> Self {
        Self::text(text).within("span", "soft")
    }

    /// A word of a closed set.
    pub(crate) fn word(text: impl Display) -> Self {
        Self::text(text).within("span", "word")
    }

    /// The name of what has no page of its own.
    pub(crate) fn strong(text: impl Display) -> Self {
        Self(format!("<strong>{}</strong>", Self::text(text)))
    }

    /// Words, a dash in place of none.
    pub(crate) fn or_dash(text: &str) -> Self {
        Self::text(if text.is_empty() { "–" } else { text })
    }

    /// What may not be there, a dash in place of it.
    pub(crate) fn given(value: Option<&impl Display>) -> Self {
        value.map_or_else(|| Self::or_dash(""), Self::text)
    }

    /// Words, softly others in place of none.
    pub(crate) fn or_soft(text: &str, none: &str) -> Self {
        if text.is_empty() { Self::soft(none) } else { Self::text(text) }
    }

    /// A part, or words where there is none.
    pub(crate) fn part_or(part: Option<impl HtmlSafe>, none: &str) -> Self {
        part.map_or_else(|| Self::text(none), Self::part)
    }

    /// The same in an element of a class.
    pub(crate) fn within(self, element: &str, class: &str) -> Self {
        Self(format!("<{element} class=\"{class}\">{self}</{element}>"))
    }

    /// The same and more behind it.
    pub(crate) fn then(self, more: Self) -> Self {
        let Self(more) = more;
        Self(self.0 + &more)
    }

    /// The same and, behind a space, more if there is any.
    pub(crate) fn and(self, more: Option<Self>) -> Self {
        match more {
            Some(more) => Self(format!("{self} {more}")),
            None => self,
        }
    }

    /// The same and, on the next line, more.
    pub(crate) fn line(self, more: Self) -> Self {
        self.then(Self("<br>".to_owned())).then(more)
    }

    /// The same and, on a line of its own, a hint if there is any.
    pub(crate) fn hint(self, hint: Option<Self>) -> Self {
        match hint {
            Some(hint) => self.then(hint.within("div", "hint")),
            None => self,
        }
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Cell {}

/// A form that is one button, in the row that it is about.
pub(crate) struct RowButton<'a> {
    /// Where it is sent.
    pub(crate) to: String,
    /// The token that all forms carry.
    pub(crate) form_token: &'a str,
    /// What else it carries.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// How it looks.
    pub(crate) class: &'static str,
    /// What it says.
    pub(crate) text: Cell,
    /// Whether it can do nothing now.
    pub(crate) is_disabled: bool,
    /// What it says to screen readers, where that is more.
    pub(crate) label: Option<String>,
}

impl<'a> RowButton<'a> {
    /// A small one that says these words.
    pub(crate) fn slim(to: String, form_token: &'a str, text: &str) -> Self {
        let (fields, text) = (Vec::new(), Cell::text(text));
        Self { to, form_token, fields, class: "button slim", text, is_disabled: false, label: None }
    }

    /// The form.
    pub(crate) fn cell(self) -> Cell {
        let Self { to, form_token, fields, class, text, is_disabled, label } = self;
        let disabled = if is_disabled { " disabled" } else { "" };
        let hidden = |name: &str, value: &str| {
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", Cell::text(value))
        };
        let fields: String = fields.iter().map(|(name, value)| hidden(name, value)).collect();
        let label = label.map(|label| format!(" aria-label=\"{}\"", Cell::text(label))).unwrap_or_default();
        Cell(format!(
            "<form method=\"post\" action=\"{}\">{}{fields}<button class=\"{class}\" type=\"submit\"{disabled}{label}>{text}</button></form>",
            Cell::text(to),
            hidden("form_token", form_token),
        ))
    }

    /// The same behind a summary that has to be opened first.
    pub(crate) fn behind(self, summary: &Cell, warning: Option<&str>) -> Cell {
        let warning = warning.map(|warning| format!("<p class=\"soft\">{warning}</p>")).unwrap_or_default();
        let form = self.cell();
        Cell(format!("<details class=\"quiet\"><summary>{summary}</summary>{warning}{form}</details>"))
    }
}

/// What screen readers say of a column of what can be done.
const ACTION: &str = "Action";

/// A column: its head, and what it shows of a row.
pub(crate) struct Column<'a, T> {
    /// What its head says.
    pub(crate) label: &'static str,
    kind: Kind,
    order: Option<(&'static str, bool)>,
    /// Whether who looks is shown it.
    is_shown: bool,
    cell: Box<dyn Fn(&T) -> Cell + 'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Names the row.
    Name,
    Plain,
    Number,
    /// Long words are broken.
    Broken,
    /// What can be done.
    Act,
}

impl<'a, T> Column<'a, T> {
    fn of(kind: Kind, label: &'static str, cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self { label, kind, order: None, is_shown: true, cell: Box::new(cell) }
    }

    /// A column of words.
    pub(crate) fn new(label: &'static str, cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self::of(Kind::Plain, label, cell)
    }

    /// The column that names the row.
    pub(crate) fn name(label: &'static str, cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self::of(Kind::Name, label, cell)
    }

    /// A column of numbers.
    pub(crate) fn number<N: Display>(label: &'static str, number: impl Fn(&T) -> N + 'a) -> Self {
        Self::of(Kind::Number, label, move |row| Cell::text(number(row)))
    }

    /// A column of words as long as people like.
    pub(crate) fn broken(label: &'static str, cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self::of(Kind::Broken, label, cell)
    }

    /// The column of what can be done.
    pub(crate) fn act(cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self::of(Kind::Act, ACTION, cell)
    }

    /// The same for a list that can be ordered by it, under a word; the first click brings the smallest first.
    pub(crate) fn ordered(self, word: &'static str) -> Self {
        Self { order: Some((word, false)), ..self }
    }

    /// The same for moments and numbers: the first click brings the greatest first.
    pub(crate) fn latest(self, word: &'static str) -> Self {
        Self { order: Some((word, true)), ..self }
    }

    /// The same with a head that is seen.
    pub(crate) fn titled(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    /// The same for those only who may use it.
    pub(crate) fn for_whom(self, is_shown: bool) -> Self {
        Self { is_shown, ..self }
    }

    fn head(&self, order: Option<&Columns>) -> Head {
        let class = match self.kind {
            Kind::Number => Some("number"),
            Kind::Act => Some("act"),
            Kind::Name | Kind::Plain | Kind::Broken => None,
        };
        let head = Head::plain(self.label, class, self.label == ACTION);
        match (order, self.order) {
            (Some(order), Some((word, is_descending))) => order.link(&head, word, is_descending),
            _ => head,
        }
    }

    fn write(&self, row: &T) -> Cell {
        let (label, cell) = (self.label, (self.cell)(row));
        Cell(match self.kind {
            Kind::Name => format!("<th scope=\"row\">{cell}</th>"),
            Kind::Plain => format!("<td data-label=\"{label}\">{cell}</td>"),
            Kind::Number => format!("<td class=\"number\" data-label=\"{label}\">{cell}</td>"),
            Kind::Broken => format!("<td class=\"broken\" data-label=\"{label}\">{cell}</td>"),
            Kind::Act => format!("<td class=\"act\">{cell}</td>"),
        })
    }
}

/// A table.
#[derive(Debug, Clone, Template)]
#[template(path = "table.html")]
pub(crate) struct Table {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Rows in these columns.
    pub(crate) fn new<T>(columns: &[Column<'_, T>], rows: &[T]) -> Self {
        Self::in_order(columns, None, rows)
    }

    /// The same with links to other orders.
    pub(crate) fn in_order<T>(columns: &[Column<'_, T>], order: Option<&Columns>, rows: &[T]) -> Self {
        let shown = || columns.iter().filter(|column| column.is_shown);
        Self {
            heads: shown().map(|column| column.head(order)).collect(),
            rows: rows.iter().map(|row| shown().map(|column| column.write(row)).collect()).collect(),
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl HtmlSafe for Table {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_by_its_columns_and_what_comes_from_outside_is_escaped() {
        let columns = [
            Column::name("Name", |row: &(&str, u8)| Cell::link("/x?a=1&b=2", row.0)).ordered("name"),
            Column::number("Count", |row: &(&str, u8)| row.1),
            Column::act(|_| Cell::default()),
        ];
        let order = Columns::at("/x", "name", false);
        let html = Table::in_order(&columns, Some(&order), &[("<b>", 7)]).to_string();
        for part in [
            "aria-sort=\"ascending\"",
            "<th scope=\"col\" class=\"number\">Count</th>",
            "<th scope=\"col\" class=\"act\"><span class=\"unseen\">Action</span></th>",
            "<th scope=\"row\"><a href=\"/x?a=1&#38;b=2\">&#60;b&#62;</a></th>",
            "<td class=\"number\" data-label=\"Count\">7</td><td class=\"act\"></td></tr>",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert!(!Table::new(&columns, &[("a", 1)]).to_string().contains("sort"), "without an order there are no links");
    }
}
