//! What a request tells about the browser that sent it. All of it is hearsay: it chooses words and suggestions, never
//! what somebody may do.

use axum::http::{HeaderMap, header};

use crate::ui::system::System;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Browsing {
    label: String,
    /// The operating system, if it can be guessed.
    pub(crate) system: Option<System>,
}

/// Families by the mark that is theirs alone, the imitators before the imitated.
const FAMILIES: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

impl Browsing {
    /// Reads the headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let agent = text(header::USER_AGENT.as_str());
        let hint = text("sec-ch-ua-platform").trim_matches('"');
        Self { label: label(agent), system: system(hint, agent) }
    }

    /// Family and major version: "Firefox 140".
    pub(crate) fn label(&self) -> String {
        self.label.clone()
    }
}

fn label(agent: &str) -> String {
    for (mark, family) in FAMILIES {
        let Some((_, rest)) = agent.split_once(mark) else { continue };
        let major: String = rest.chars().take_while(char::is_ascii_digit).take(5).collect();
        return if major.is_empty() { (*family).to_owned() } else { format!("{family} {major}") };
    }
    "Another browser".to_owned()
}

fn system(hint: &str, agent: &str) -> Option<System> {
    let by_hint = match hint {
        "Windows" => Some(System::Windows),
        "macOS" => Some(System::Macos),
        "Linux" => Some(System::Linux),
        "Android" => Some(System::Android),
        "iOS" => Some(System::Ios),
        "Chrome OS" | "Chromium OS" => Some(System::Chromeos),
        _ => None,
    };
    let marks = [
        ("iPhone", System::Ios),
        ("iPad", System::Ios),
        ("Android", System::Android),
        ("CrOS", System::Chromeos),
        ("Windows", System::Windows),
        ("Macintosh", System::Macos),
        ("Linux", System::Linux),
    ];
    by_hint.or_else(|| marks.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, system)| *system))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(agent: &'static str) -> (String, Option<System>) {
        let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))]);
        let browsing = Browsing::of(&headers);
        (browsing.label(), browsing.system)
    }

    #[test]
    fn browsers_are_known_by_family_and_major_version() {
        for (agent, label, system) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.1",
                "Edge 140",
                Some(System::Windows),
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
                "Firefox 142",
                Some(System::Linux),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari 18",
                Some(System::Ios),
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
                "Chrome 141",
                Some(System::Android),
            ),
            ("<script>alert(1)</script>", "Another browser", None),
            ("Firefox/<b>", "Firefox", None),
        ] {
            assert_eq!(read(agent), (label.to_owned(), system));
        }
    }
}
