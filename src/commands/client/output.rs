//! What results look like: a table for people, JSON as the API gave it, a line for each object, or CSV.

use std::io::{IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};

use super::error::ClientError;
use super::options::{Format, Options};
use super::refs::NounKind;
use super::table;
use super::table::Cell;
use crate::domain::text::harmless;

/// What a table shows of each object of a noun.
#[derive(Debug)]
pub(super) struct View {
    /// The field that names one; it is what `--quiet` prints.
    pub key: &'static str,
    /// The columns of a list.
    pub columns: &'static [Column],
}

impl View {
    fn look_of(&self, field: &str) -> ColumnFormat {
        self.columns.iter().find(|column| column.1 == field).map_or(ColumnFormat::Plain, |column| column.2)
    }
}

/// A column: its heading, the field, how it looks.
#[derive(Debug)]
pub(super) struct Column(pub &'static str, pub &'static str, pub ColumnFormat);

/// How a value is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnFormat {
    /// As it is.
    Plain,
    /// Bytes, in units.
    Bytes,
    /// The name of what the id names.
    NameOf(NounKind),
    /// This field of each of several things.
    Each(&'static str),
    /// What became of each field, as the audit log has it.
    Changes,
    /// Users with their devices.
    People,
}

/// Where results go, and how.
pub(super) struct Output {
    format: Format,
    fields: Vec<String>,
    quiet: bool,
    color: ColorChoice,
    width: Option<usize>,
}

impl Output {
    pub(super) fn new(options: &Options) -> Self {
        let stdout = std::io::stdout();
        let columns =
            || Some(usize::from(rustix::termios::tcgetwinsize(&stdout).ok()?.ws_col)).filter(|width| *width > 0);
        Self {
            format: options.format(),
            fields: options.fields.clone(),
            quiet: options.quiet,
            color: if options.no_color { ColorChoice::Never } else { AutoStream::choice(&stdout) },
            width: if stdout.is_terminal() { columns() } else { None },
        }
    }

    /// Whether a table is wanted, whose reader is a person.
    pub(super) fn is_for_people(&self) -> bool {
        self.format == Format::Table && !self.quiet
    }

    /// Whether rows can be written as they come, because none depends on a later one.
    pub(super) fn streams(&self) -> bool {
        self.quiet || matches!(self.format, Format::Jsonl | Format::Csv)
    }

    /// Writes a text that is the result itself.
    pub(super) fn text(&self, text: &[u8]) -> Result<(), ClientError> {
        let mut out = AutoStream::new(std::io::stdout().lock(), self.color);
        out.write_all(text)?;
        Ok(out.flush()?)
    }

    /// A remark for people, beside the result.
    pub(super) fn remark(&self, sentence: &str) {
        if !self.quiet {
            let mut err = std::io::stderr().lock();
            // Nothing depends on a remark.
            drop(writeln!(err, "{}", table::written_out(sentence)));
        }
    }

    /// Writes rows of a list; `first` says that nothing was written before.
    pub(super) fn rows(
        &self,
        items: &[Value],
        view: &View,
        first: bool,
        name_of: impl Fn(NounKind, &str) -> String,
    ) -> Result<(), ClientError> {
        if self.quiet {
            let ids: Vec<_> = items.iter().map(|item| plain(at(item, view.key)) + "\n").collect();
            return self.text(ids.concat().as_bytes());
        }
        match self.format {
            Format::Json => Ok(()),
            Format::Jsonl => {
                let lines: Vec<_> = items.iter().map(|item| self.selected(item).to_string() + "\n").collect();
                self.text(lines.concat().as_bytes())
            }
            Format::Csv => self.csv(items, view, first),
            Format::Table => self.table(items, view, name_of),
        }
    }

    /// Writes the body of an answer as JSON.
    pub(super) fn json(&self, body: &Value) -> Result<(), ClientError> {
        let items = body.get("items").and_then(Value::as_array);
        let body = match (self.fields.as_slice(), items) {
            ([], _) => body.clone(),
            (_, Some(items)) => {
                let items: Vec<_> = items.iter().map(|item| self.selected(item)).collect();
                json!({ "items": items, "next_cursor": at(body, "next_cursor") })
            }
            (_, None) => self.selected(body),
        };
        let text = if self.width.is_some() { format!("{body:#}\n") } else { format!("{body}\n") };
        self.text(text.as_bytes())
    }

    /// Writes one object.
    pub(super) fn object(
        &self,
        object: &Value,
        view: &View,
        name_of: impl Fn(NounKind, &str) -> String,
    ) -> Result<(), ClientError> {
        if self.quiet {
            return self.text((plain(at(object, view.key)) + "\n").as_bytes());
        }
        match self.format {
            Format::Json => self.json(object),
            Format::Jsonl => self.text((self.selected(object).to_string() + "\n").as_bytes()),
            Format::Csv => self.csv(std::slice::from_ref(object), view, true),
            Format::Table => {
                let mut pairs = Vec::new();
                flatten("", &self.selected(object), &mut pairs);
                let rank = |field: &str| view.columns.iter().position(|column| column.1 == field);
                pairs.sort_by_key(|(field, _)| rank(field).unwrap_or(usize::MAX));
                let rows: Vec<_> = pairs
                    .into_iter()
                    .map(|(field, value)| {
                        let shown = match (view.look_of(&field), &value) {
                            (ColumnFormat::NameOf(kind), Value::String(id)) => {
                                Cell::new(&format!("{} ({id})", name_of(kind, id)))
                            }
                            // There is room for all of each.
                            (ColumnFormat::Each(_), value) => cell(value, ColumnFormat::Plain, &name_of),
                            (look, value) => cell(value, look, &name_of),
                        };
                        vec![Cell::new(&field).styled(Style::new().bold()), shown]
                    })
                    .collect();
                self.text(table::lines(&rows, None).as_bytes())
            }
        }
    }

    fn table(
        &self,
        items: &[Value],
        view: &View,
        name_of: impl Fn(NounKind, &str) -> String,
    ) -> Result<(), ClientError> {
        let columns: Vec<(String, &str, ColumnFormat)> = if self.fields.is_empty() {
            view.columns.iter().map(|Column(heading, field, look)| ((*heading).to_owned(), *field, *look)).collect()
        } else {
            self.fields.iter().map(|field| (field.to_uppercase(), field.as_str(), view.look_of(field))).collect()
        };
        let headings = columns.iter().map(|(heading, ..)| Cell::new(heading).styled(Style::new().bold()));
        let mut rows = vec![headings.collect::<Vec<_>>()];
        for item in items {
            let cells = columns.iter().map(|(_, field, look)| cell(at(item, field), *look, &name_of));
            rows.push(cells.collect());
        }
        self.text(table::lines(&rows, self.width).as_bytes())
    }

    fn csv(&self, items: &[Value], view: &View, first: bool) -> Result<(), ClientError> {
        let usual = || view.columns.iter().map(|column| column.1.to_owned()).collect();
        let fields: Vec<String> = if self.fields.is_empty() { usual() } else { self.fields.clone() };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let unwritable = |error: csv::Error| ClientError::new(1, format!("the list cannot be written as CSV: {error}"));
        if first {
            writer.write_record(&fields).map_err(unwritable)?;
        }
        for item in items {
            let record = fields.iter().map(|field| harmless(plain(at(item, field))));
            writer.write_record(record).map_err(unwritable)?;
        }
        let text = writer.into_inner().map_err(|error| ClientError::from(error.into_error()))?;
        self.text(&text)
    }

    /// The object, or of it what was asked for.
    fn selected(&self, object: &Value) -> Value {
        if self.fields.is_empty() {
            return object.clone();
        }
        let mut selected = Map::new();
        for field in &self.fields {
            let mut place = &mut selected;
            let mut names = field.split('.').peekable();
            while let Some(name) = names.next() {
                if names.peek().is_none() {
                    place.insert(name.to_owned(), at(object, field).clone());
                } else {
                    let inner = place.entry(name).or_insert_with(|| Value::Object(Map::new()));
                    let Value::Object(inner) = inner else { break };
                    place = inner;
                }
            }
        }
        selected.into()
    }
}

/// The value at a dotted place; `null` where there is none.
pub(super) fn at<'a>(object: &'a Value, field: &str) -> &'a Value {
    field.split('.').try_fold(object, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

/// A value in one line, as programs read it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A value in one line, as people read it.
fn cell(value: &Value, look: ColumnFormat, name_of: &impl Fn(NounKind, &str) -> String) -> Cell {
    let text = match (look, value) {
        (ColumnFormat::NameOf(kind), Value::String(id)) => name_of(kind, id),
        (ColumnFormat::NameOf(kind), Value::Array(ids)) if !ids.is_empty() => {
            ids.iter().map(|id| name_of(kind, id.as_str().unwrap_or_default())).collect::<Vec<_>>().join(", ")
        }
        (ColumnFormat::Each(field), Value::Array(items)) if !items.is_empty() => {
            items.iter().map(|item| in_words(at(item, field))).collect::<Vec<_>>().join(", ")
        }
        (ColumnFormat::Changes, Value::Object(fields)) => {
            fields.iter().filter_map(|(field, change)| changed(field, change)).collect::<Vec<_>>().join(", ")
        }
        (ColumnFormat::People, Value::Array(people)) if !people.is_empty() => {
            people.iter().map(person).collect::<Vec<_>>().join(", ")
        }
        (ColumnFormat::Bytes, Value::Number(number)) => {
            number.as_u64().map_or_else(|| number.to_string(), |bytes| indicatif::HumanBytes(bytes).to_string())
        }
        (_, Value::Bool(true)) => "yes".to_owned(),
        (_, Value::Bool(false)) => "no".to_owned(),
        (_, Value::String(text)) => to_the_second(text),
        (_, Value::Array(items)) if !items.is_empty() => items.iter().map(in_words).collect::<Vec<_>>().join(", "),
        (_, value) => in_words(value),
    };
    Cell::new(&text).styled(style_of(&text))
}

/// A user with a device, each by its name, or by its id if it has none any more.
pub(super) fn person(one: &Value) -> String {
    let name = |name, id| at(one, name).as_str().or_else(|| at(one, id).as_str()).unwrap_or_default();
    format!("{} ({})", name("user", "user_id"), name("profile", "profile_id"))
}

/// What became of a field, given as `[before, after]`; nothing if it was and is empty.
fn changed(field: &str, change: &Value) -> Option<String> {
    match change.as_array().map(Vec::as_slice) {
        Some([Value::Null, Value::Null]) => None,
        Some([Value::Null, after]) => Some(format!("{field}={}", in_words(after))),
        Some([before, after]) => Some(format!("{field}={} → {}", in_words(before), in_words(after))),
        _ => Some(format!("{field}={}", in_words(change))),
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Object(fields) => {
            let pairs = fields.iter().filter(|(_, value)| !value.is_null());
            pairs.map(|(name, value)| format!("{name}={}", in_words(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => format!("[{}]", items.iter().map(in_words).collect::<Vec<_>>().join(", ")),
        other => plain(other),
    }
}

/// Moments lose what is below a second; other texts stay.
fn to_the_second(text: &str) -> String {
    let is_moment = text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok();
    if is_moment { format!("{}Z", text.split(&['.', 'Z']).next().unwrap_or(text)) } else { text.to_owned() }
}

/// Words that say how something fares have a colour; the word is there without it too.
fn style_of(text: &str) -> Style {
    let color = match text {
        "online" | "running" | "active" | "success" => AnsiColor::Green,
        "draining" | "pending" | "starting" | "outdated" => AnsiColor::Yellow,
        "offline" | "failed" | "revoked" | "denied" | "expired" => AnsiColor::Red,
        _ => return Style::new(),
    };
    color.on_default()
}

/// The leaves of an object with their places.
fn flatten(place: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                flatten(&place, value, into);
            }
        }
        other => into.push((place.to_owned(), other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(format: Format, fields: &[&str]) -> Output {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Output { format, fields, quiet: false, color: ColorChoice::Never, width: None }
    }

    #[test]
    fn fields_keep_their_places() {
        let object = json!({"id": "a", "oidc": {"issuer": "i", "client_id": null}, "other": 1});
        let selected = output(Format::Json, &["oidc.issuer", "id", "missing"]).selected(&object);
        assert_eq!(selected, json!({"id": "a", "oidc": {"issuer": "i"}, "missing": null}));
    }

    #[test]
    fn people_read_words_units_and_seconds() {
        let shown = |value: Value, look| cell(&value, look, &|_, id: &str| format!("name of {id}"));
        assert_eq!(shown(json!(["a", "b"]), ColumnFormat::NameOf(NounKind::User)), Cell::new("name of a, name of b"));
        let changes = json!({"a": [null, 1], "b": [["x"], []], "c": [null, null]});
        assert_eq!(shown(changes, ColumnFormat::Changes), Cell::new("a=1, b=[x] → -"));
        assert_eq!(shown(json!(null), ColumnFormat::Plain), Cell::new("-"));
        let people = json!([{"user": "Ana", "profile": "laptop"}, {"user_id": "usr_1", "user": null, "profile": "x"}]);
        assert_eq!(shown(people, ColumnFormat::People), Cell::new("Ana (laptop), usr_1 (x)"));
        let problems = json!([{ "code": "firewall", "detail": "x" }, { "code": "clock", "detail": "y" }]);
        assert_eq!(shown(problems, ColumnFormat::Each("code")), Cell::new("firewall, clock"));
        assert_eq!(shown(json!([]), ColumnFormat::Each("code")), Cell::new("-"));
        assert_eq!(shown(json!(true), ColumnFormat::Plain), Cell::new("yes"));
        assert_eq!(shown(json!(2048), ColumnFormat::Bytes), Cell::new("2.00 KiB"));
        assert_eq!(shown(json!("2026-11-25T10:00:00.123Z"), ColumnFormat::Plain), Cell::new("2026-11-25T10:00:00Z"));
        assert_eq!(
            shown(json!([{"network": "10.0.0.0/8", "nat": true}]), ColumnFormat::Plain),
            Cell::new("nat=true network=10.0.0.0/8")
        );
    }
}
