//! One line of the log: what an event says, in the form that it is written.
//!
//! A line is one JSON object with `ts`, `level`, `target`, `event`, `msg` and `host` first, then the fields of the event
//! and those of the spans around it.
//! `event` is a word that stays what it is when the sentence beside it is improved. Code writes fields with dots
//! (`user.id`), lines have them with underscores, so that no reader takes them for objects.

use std::fmt::Write as _;
use std::{fmt, iter};

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::redact::redact;
use crate::domain::text::breaks_a_line;
use crate::runtime::causes::chain;

/// What an event says.
#[derive(Debug, Clone)]
pub(super) struct Line {
    at: Timestamp,
    level: Level,
    target: &'static str,
    /// The stable word.
    event: Option<String>,
    /// The sentence.
    pub message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// The line of an event that happened at `at`.
    pub(super) fn of(event: &Event<'_>, at: Timestamp) -> Self {
        let about = event.metadata();
        let mut line = Self {
            at,
            level: *about.level(),
            target: about.target(),
            event: None,
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        line
    }

    /// The same with what the spans around it say; what it says itself counts more.
    pub(super) fn within(mut self, context: Vec<(&'static str, Value)>) -> Self {
        for (name, value) in context {
            if self.fields.iter().all(|(known, _)| *known != name) {
                self.fields.push((name, value));
            }
        }
        self
    }

    /// A line that says no more than this.
    #[cfg(test)]
    pub(super) fn saying(message: &str) -> Self {
        let (at, fields) = (Timestamp::UNIX_EPOCH, Vec::new());
        Self { at, level: Level::WARN, target: "test", event: None, message: message.to_owned(), fields }
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("event", Value::String(text)) => self.event = Some(text),
            (name, value) => self.fields.push((name, value)),
        }
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        self.put(field, Value::String(redact(text).into_owned()));
    }

    /// As one JSON object and a line break.
    pub(super) fn json(&self, host: Option<&str>) -> String {
        let first = [
            ("ts", Some(format!("{:.3}", self.at))),
            ("level", Some(self.level.as_str().to_ascii_lowercase())),
            ("target", Some(self.target.to_owned())),
            ("event", self.event.clone()),
            ("msg", Some(self.message.clone())),
            ("host", host.map(str::to_owned)),
        ];
        let first = first.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
        let rest = self.fields.iter().map(|(name, value)| (name.replace('.', "_"), value.clone()));
        let pairs: Vec<String> =
            first.chain(rest).map(|(name, value)| format!("{}:{value}", Value::String(name))).collect();
        let mut line = String::new();
        for c in format!("{{{}}}", pairs.join(",")).chars() {
            if breaks_a_line(c) || turns(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            } else {
                line.push(c);
            }
        }
        line.push('\n');
        line
    }

    /// For a person at a terminal.
    pub(super) fn pretty(&self) -> String {
        let colour = match self.level {
            Level::ERROR => "\u{1b}[31m",
            Level::WARN => "\u{1b}[33m",
            Level::INFO => "\u{1b}[32m",
            _ => "\u{1b}[2m",
        };
        let fields = self.fields.iter().map(|(name, value)| match value {
            Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => format!(" {name}={text}"),
            value => format!(" {name}={value}"),
        });
        let text: String = iter::once(self.message.clone()).chain(fields).collect();
        let text: String = text.chars().flat_map(harmless).collect();
        format!("{:.3} {colour}{:>5}\u{1b}[0m {text}\n", self.at, self.level)
    }
}

/// The marks that give direction to what follows without embedding it (UAX #9, section 2.6).
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
}

fn harmless(c: char) -> impl Iterator<Item = char> {
    let escaped = (breaks_a_line(c) || turns(c)).then(|| c.escape_unicode());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    /// With all its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put_text(field, &chain(value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// Keeps the lines of whatever is logged.
    struct Keep(Arc<Mutex<Vec<Line>>>);

    impl<S: Subscriber> Layer<S> for Keep {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Line::of(event, Timestamp::UNIX_EPOCH));
        }
    }

    fn line_of(log: impl FnOnce()) -> Line {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, log);
        let mut kept = kept.lock().unwrap();
        assert_eq!(kept.len(), 1);
        kept.pop().unwrap()
    }

    #[test]
    fn a_line_has_the_fields_that_all_lines_have_and_its_own() {
        let line = line_of(|| {
            tracing::info!(
                event = "vpn.connect",
                user.id = "usr_1",
                duration_ms = 7,
                ok = true,
                "client {}",
                "admitted"
            );
        });
        assert_eq!(
            line.json(Some("vpn-1")),
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"target\":\"postern::telemetry::line::tests\",\
             \"event\":\"vpn.connect\",\"msg\":\"client admitted\",\"host\":\"vpn-1\",\"user_id\":\"usr_1\",\
             \"duration_ms\":7,\"ok\":true}\n"
        );
        assert!(line.pretty().ends_with(" client admitted user.id=usr_1 duration_ms=7 ok=true\n"), "{}", line.pretty());
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("it failed")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("mongodb://web:hush@db/ is away"));
        let line = line_of(|| tracing::warn!(error = &error as &dyn std::error::Error, "oh"));
        assert!(line.json(None).contains("\"error\":\"it failed: mongodb://…@db/ is away\""), "{}", line.json(None));
    }

    proptest! {
        /// SEC-LOG-02.
        #[test]
        fn one_event_is_one_line_whatever_is_in_it(
            text in "(\\PC|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}\"\\\\{}]){0,40}",
        ) {
            let line = line_of(|| tracing::info!(client = text, shown = %text, "said {text}"));
            let json = line.json(Some(&text));
            for written in [&json, &line.pretty().replace("\u{1b}[32m", "").replace("\u{1b}[0m", "")] {
                let inside = written.strip_suffix('\n').unwrap();
                prop_assert!(!inside.chars().any(|c| breaks_a_line(c) || turns(c)), "{written:?}");
            }
            let read: Value = serde_json::from_str(&json).unwrap();
            let told = redact(&text);
            prop_assert_eq!(read["client"].as_str(), Some(&*told));
            prop_assert_eq!(read["host"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read.as_object().unwrap().len(), 7);
        }
    }
}
