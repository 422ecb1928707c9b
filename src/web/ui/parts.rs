//! What pages are put together from. Each part is a type that writes itself as HTML, so a page cannot say a state in
//! colour only, or a time without its machine-readable form.

use std::fmt;
use std::fmt::{Display, Formatter, Write as _};

use askama::filters::{Html, HtmlSafe, escape};
use jiff::Timestamp;
use qrcodegen::{QrCode, QrCodeEcc};

/// Line drawings on a grid of 16; always beside a word, so they are hidden from screen readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    /// Done, works.
    Check,
    /// A living connection.
    Link,
    /// Something newer.
    Up,
    /// Time.
    Clock,
    /// Wrong, over.
    Cross,
    /// Not yet.
    Ring,
    /// Look here.
    Alert,
    /// On to there.
    Next,
    /// Back to there.
    Back,
    /// To this machine.
    Down,
}

impl Display for Icon {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let path = match self {
            Self::Check => "M2.5 8.5l3.5 3.5 7.5-8",
            Self::Link => "M8 12.75h.01M5.2 10a4 4 0 0 1 5.6 0M2.5 7.2a7.8 7.8 0 0 1 11 0",
            Self::Up => "M8 13V3.5M3.75 7.5L8 3.25l4.25 4.25",
            Self::Clock => "M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 0 1 0-12.5M8 4.75V8l2.25 1.5",
            Self::Cross => "M4 4l8 8M12 4l-8 8",
            Self::Ring => "M8 2.25a5.75 5.75 0 1 1 0 11.5a5.75 5.75 0 0 1 0-11.5",
            Self::Alert => "M8 1.9L14.6 13.6H1.4zM8 6.25v3.25M8 11.6h.01",
            Self::Next => "M6 3.5L10.5 8 6 12.5",
            Self::Back => "M10 3.5L5.5 8l4.5 4.5",
            Self::Down => "M8 2.5v8.25M4 7l4 4 4-4M2.75 13.75h10.5",
        };
        write!(
            f,
            r#"<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d="{path}"/></svg>"#
        )
    }
}

impl HtmlSafe for Icon {}

/// What a state means for its owner; decides the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All is well.
    Good,
    /// Worth knowing.
    Info,
    /// Something is to be done, in time.
    Warn,
    /// It does not work.
    Bad,
    /// Nothing to do.
    Calm,
}

impl Display for Tone {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Calm => "calm",
        })
    }
}

/// A state: icon, words and colour, never one of them alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chip {
    /// The colour.
    pub(crate) tone: Tone,
    /// The drawing.
    pub(crate) icon: Icon,
    /// The words.
    pub(crate) text: String,
}

impl Chip {
    /// A state.
    pub(crate) fn new(tone: Tone, icon: Icon, text: impl Into<String>) -> Self {
        Self { tone, icon, text: text.into() }
    }

    /// All is well.
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self::new(Tone::Good, Icon::Check, text)
    }

    /// A living connection through a host.
    pub(crate) fn connected(host: impl Display) -> Self {
        Self::new(Tone::Good, Icon::Link, format!("Connected to {host}"))
    }

    /// It does not work, or is over.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::new(Tone::Bad, Icon::Cross, text)
    }

    /// Somebody should look.
    pub(crate) fn warn(text: impl Into<String>) -> Self {
        Self::new(Tone::Warn, Icon::Alert, text)
    }

    /// Nothing is there, and nothing is to be done.
    pub(crate) fn calm(text: impl Into<String>) -> Self {
        Self::new(Tone::Calm, Icon::Ring, text)
    }
}

impl Display for Chip {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { tone, icon, text } = self;
        let Ok(text) = escape(text, Html);
        write!(f, "<span class=\"chip {tone}\">{icon}{text}</span>")
    }
}

impl HtmlSafe for Chip {}

/// A moment, in words, with the exact time for machines and for whoever points at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct When {
    at: Timestamp,
    words: String,
    clock: bool,
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

impl When {
    /// "2 hours ago", "in 9 days", and beyond a week the date.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        let away = at.as_second() - now.as_second();
        let words = match away.abs() {
            0..=59 => "just now".to_owned(),
            seconds if seconds >= 8 * DAY => date(at, now),
            seconds => {
                let span = span(seconds);
                if away < 0 { format!("{span} ago") } else { format!("in {span}") }
            }
        };
        Self { at, words, clock: false }
    }

    /// "14:02", which the script turns into the reader's own time.
    pub(crate) fn clock(at: Timestamp) -> Self {
        Self { at, words: at.strftime("%H:%M UTC").to_string(), clock: true }
    }

    /// "4 March".
    pub(crate) fn date(at: Timestamp, now: Timestamp) -> Self {
        Self { at, words: date(at, now), clock: false }
    }
}

/// "1 minute", "3 hours", "9 days".
pub(crate) fn span(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..HOUR => ((seconds / MINUTE).max(1), "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The day, with the year where it is not this one.
pub(crate) fn date(at: Timestamp, now: Timestamp) -> String {
    let year = |at: Timestamp| at.strftime("%Y").to_string();
    at.strftime(if year(at) == year(now) { "%-d %B" } else { "%-d %B %Y" }).to_string()
}

impl Display for When {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let at = self.at;
        let mark = if self.clock { " data-clock" } else { "" };
        let (machine, exact) = (at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%-d %B %Y, %H:%M UTC"));
        write!(f, r#"<time datetime="{machine}" title="{exact}"{mark}>{}</time>"#, self.words)
    }
}

/// Digits and words of ours only.
impl HtmlSafe for When {}

/// A count of bytes for people: "412 MB".
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (count, 0);
    let mut tenths = 0;
    while size >= 1000 && unit + 1 < UNITS.len() {
        tenths = size % 1000 / 100;
        size /= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit > 0 && size < 10 { format!("{size}.{tenths} {name}") } else { format!("{size} {name}") }
}

/// A link as a picture for a telephone's camera: one path of dark modules on white, in either theme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qr(String);

impl Qr {
    /// Encodes a link; none if it is too long for any code.
    pub(crate) fn new(link: &str) -> Option<Self> {
        const QUIET: i32 = 2;
        let code = QrCode::encode_text(link, QrCodeEcc::Low).ok()?;
        let mut path = String::new();
        for y in 0..code.size() {
            for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
                write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET).ok()?;
            }
        }
        let size = code.size() + 2 * QUIET;
        Some(Self(format!(
            r##"<svg role="img" aria-label="QR code of the link" viewBox="0 0 {size} {size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{size}v{size}H0z"/><path fill="#000" d="{path}"/></svg>"##
        )))
    }
}

impl Display for Qr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Numbers in markup of ours only.
impl HtmlSafe for Qr {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_for_a_week_and_then_a_date() {
        let now: Timestamp = "2026-11-23T14:02:30Z".parse().unwrap();
        for (at, words) in [
            ("2026-11-23T14:02:10Z", "just now"),
            ("2026-11-23T13:59:30Z", "3 minutes ago"),
            ("2026-11-23T12:00:00Z", "2 hours ago"),
            ("2026-11-22T13:00:00Z", "1 day ago"),
            ("2026-11-30T15:00:00Z", "in 7 days"),
            ("2026-03-04T00:00:00Z", "4 March"),
            ("2027-02-21T00:00:00Z", "21 February 2027"),
        ] {
            assert_eq!(When::new(at.parse().unwrap(), now).words, words);
        }
        let shown = When::clock(now).to_string();
        assert!(shown.contains(r#"datetime="2026-11-23T14:02:30Z""#) && shown.contains("data-clock>14:02 UTC<"));
    }

    #[test]
    fn bytes_have_a_unit() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (412_000_000, "412 MB"), (u64::MAX, "18446744 TB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_link_fits_into_a_code() {
        let link = format!("openvpn://import-profile/https://vpn.a-rather-long-name.example.com/p/{}", "x".repeat(64));
        assert!(Qr::new(&link).unwrap().to_string().starts_with("<svg role=\"img\""));
        assert_eq!(Qr::new(&"x".repeat(4000)), None);
    }
}
