//! How to connect, system by system: `templates/help/guides.json`, shown on the help pages and on the ready page (UX-07).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use crate::http::problem::{Code, Problem};
use crate::ui::page::{Answer, Chrome, Visit};
use crate::ui::system::System;

/// How to connect with a system.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guide {
    /// Which one.
    pub(crate) system: System,
    /// What it is called.
    pub(crate) name: &'static str,
    /// The app.
    pub(crate) client: &'static str,
    /// How to install it.
    pub(crate) install: &'static str,
    /// Where to get it, and what the link is called.
    #[serde(borrow, default)]
    pub(crate) link: Option<(&'static str, &'static str)>,
    /// What to type instead.
    #[serde(default)]
    pub(crate) command: Option<&'static str>,
    /// What to know before one begins.
    #[serde(default)]
    pub(crate) warning: Option<&'static str>,
    /// How to connect with the file at hand.
    #[serde(borrow)]
    pub(crate) steps: Vec<&'static str>,
    /// Whether `OpenVPN` Connect, which takes import links, runs there.
    pub(crate) connect_app: bool,
    /// Whether the file is not best fetched with the device's own browser.
    pub(crate) phone: bool,
    /// What goes wrong there, and what helps.
    #[serde(borrow)]
    trouble: Vec<(&'static str, &'static str)>,
    /// What goes wrong there as on other systems.
    #[serde(borrow)]
    also: Vec<&'static str>,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guides {
    /// What goes wrong on several systems.
    #[serde(borrow)]
    trouble: BTreeMap<&'static str, (&'static str, &'static str)>,
    guides: Vec<Guide>,
}

static ALL: LazyLock<Guides> = LazyLock::new(|| {
    let text = include_str!("../../../templates/help/guides.json");
    serde_json::from_str(text).expect("a test reads the guides")
});

/// All of them.
pub(crate) fn guides() -> &'static [Guide] {
    &ALL.guides
}

impl Guide {
    /// In paths and forms.
    pub(crate) fn slug(&self) -> &'static str {
        match self.system {
            System::Windows => "windows",
            System::Macos => "macos",
            System::Linux => "linux",
            System::NetworkManager => "networkmanager",
            System::Ios => "ios",
            System::Android => "android",
            System::Chromeos => "chromeos",
        }
    }

    /// What goes wrong, and what helps.
    fn trouble(&self) -> impl Iterator<Item = &(&'static str, &'static str)> {
        let also = self.also.iter().filter_map(|what| ALL.trouble.get(what));
        self.trouble.iter().chain(also)
    }
}

impl System {
    /// How to connect with it.
    pub(crate) fn guide(self) -> &'static Guide {
        guides().iter().find(|guide| guide.system == self).expect("a test finds a guide for each system")
    }

    /// By its name in paths and forms.
    pub(crate) fn from_slug(slug: &str) -> Option<Self> {
        guides().iter().find(|guide| guide.slug() == slug).map(|guide| guide.system)
    }
}

/// The list of guides.
#[derive(Template)]
#[template(path = "help/index.html")]
pub(crate) struct HelpIndex {
    pub(crate) chrome: Chrome,
    pub(crate) guides: &'static [Guide],
}

pub(crate) async fn index(visit: Visit) -> Response {
    visit.show(&HelpIndex { chrome: visit.chrome.clone(), guides: guides() })
}

/// One guide.
#[derive(Template)]
#[template(path = "help/guide.html")]
pub(crate) struct HelpGuide {
    pub(crate) chrome: Chrome,
    pub(crate) guide: &'static Guide,
}

pub(crate) async fn guide(visit: Visit, Path(slug): Path<String>) -> Answer {
    let system = System::from_slug(&slug).ok_or_else(|| Problem::new(Code::NoSuchPath, "there is no such guide"))?;
    Ok(visit.show(&HelpGuide { chrome: visit.chrome.clone(), guide: system.guide() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_one_complete_guide() {
        for guide in guides() {
            assert_eq!(System::from_slug(guide.slug()), Some(guide.system));
            assert_eq!(guide.system.guide().system, guide.system);
            assert!(guide.slug().bytes().all(|b| b.is_ascii_lowercase()));
            assert!(!guide.client.is_empty() && guide.install.ends_with(['.', ':']));
            assert!((2..=4).contains(&guide.steps.len()) && guide.trouble().count() >= 3, "{}", guide.slug());
            assert!(guide.link.is_none_or(|(href, _)| href.starts_with("https://")));
            assert!(guide.link.is_some() || guide.command.is_some(), "{} says nowhere where to get it", guide.slug());
        }
        assert_eq!(guides().len(), 7);
    }
}
