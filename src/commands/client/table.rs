//! Columns that line up, and no character that a terminal would obey.

use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use crate::domain::text::breaks_a_line;

/// Between two columns.
const GAP: &str = "  ";
/// No column is made narrower than this.
const NARROWEST: usize = 8;

/// One cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell with a text from anywhere; what would break its line or move the cursor is written out.
    pub(super) fn new(text: &str) -> Self {
        Self { text: written_out(text), style: Style::new() }
    }

    pub(super) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// Characters that terminals obey or that mix lines up, by their number.
pub(super) fn written_out(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if breaks_a_line(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// Rows as lines. With a `width` the widest columns are cut until the lines fit, but for the first, which names the
/// row; without one (a pipe, a file) nothing is ever cut.
pub(super) fn lines(rows: &[Vec<Cell>], width: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns).map(widest).collect();
    if let Some(width) = width {
        fit(&mut widths, width);
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        let mut owed = 0;
        for (cell, width) in row.iter().zip(&widths) {
            line.extend(std::iter::repeat_n(' ', owed));
            let shown = cut(&cell.text, *width);
            owed = width.saturating_sub(shown.width()) + GAP.len();
            if !shown.is_empty() {
                let _ = write!(line, "{}{shown}{:#}", cell.style, cell.style);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn fit(widths: &mut [usize], width: usize) {
    let mut total = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    while total > width {
        let Some(widest) = widths.iter_mut().skip(1).max().filter(|widest| **widest > NARROWEST) else { return };
        *widest -= 1;
        total -= 1;
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        shown.push(c);
        if shown.width() >= width {
            shown.pop();
            break;
        }
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[&[&str]]) -> Vec<Vec<Cell>> {
        texts.iter().map(|row| row.iter().map(|text| Cell::new(text)).collect()).collect()
    }

    #[test]
    fn columns_line_up_for_every_script() {
        let text = lines(&rows(&[&["NAME", "STATE"], &["李小龍", "ok"], &["é", "ok"], &["x", ""]]), None);
        assert_eq!(text, "NAME    STATE\n李小龍  ok\né       ok\nx\n");
    }

    #[test]
    fn what_does_not_fit_a_terminal_is_cut_and_a_pipe_cuts_nothing() {
        let long = "a".repeat(100);
        let rows = rows(&[&["usr_01ARZ3NDEKTSV4RRFFQ69G5FAV", &long, "b"]]);
        assert!(lines(&rows, None).contains(&long));
        let text = lines(&rows, Some(60));
        assert_eq!(text.trim_end().width(), 60);
        assert!(text.contains("usr_01ARZ3NDEKTSV4RRFFQ69G5FAV") && text.contains("a…"), "{text}");
    }

    #[test]
    fn a_terminal_is_told_nothing_by_a_name() {
        assert_eq!(written_out("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d");
    }
}
