//! The desk: what surrounds every page of the console. Navigation by role, how the cluster is, who is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;

use crate::http::problem::{Code, Problem};
use crate::ui::cookies::Cookie;
use crate::ui::fields::Fields;
use crate::ui::links::Link;
use crate::ui::page::{Account, Chrome, Flash, go, show_once, site_of};
use crate::ui::parts::{Chip, Icon, Tone, When};
use crate::ui::site::Site;
use crate::ui::text::counted;
use crate::ui::token::Token;
use crate::ui::topic::Topic;
use domain::login::Surface;
use domain::role::Permission;
use services::cluster::health::{ClusterHealth, HostCount};
use services::cluster::pause::PauseFacts;
use services::identity::logins::Admin;
use services::{Act, Services};

pub(crate) use crate::ui::page::Answer;

/// One entry of the navigation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NavEntry {
    /// Under which heading; empty for none.
    group: &'static str,
    /// Where it leads.
    pub(crate) path: &'static str,
    /// What it says.
    pub(crate) label: &'static str,
    /// Who sees it.
    needs: Permission,
}

const fn entry(group: &'static str, path: &'static str, label: &'static str, needs: Permission) -> NavEntry {
    NavEntry { group, path, label, needs }
}

/// The groups of the navigation, in their order.
const GROUPS: [&str; 5] = ["", "People", "Network", "Audit", "System"];

/// The navigation: each page has a line here.
pub(crate) const NAV: &[NavEntry] = &[
    entry("", "/", "Overview", Permission::Read),
    entry("People", "/users", "Users", Permission::Read),
    entry("People", "/groups", "Groups", Permission::Read),
    entry("People", "/organizations", "Organizations", Permission::Read),
    entry("Network", "/hosts", "Hosts", Permission::Read),
    entry("Network", "/servers", "Servers", Permission::Read),
    entry("System", "/settings", "Settings", Permission::ManageSettings),
    entry("System", "/setup", "Set-up", Permission::ManageSettings),
    entry("Audit", "/audit", "Audit log", Permission::ReadAudit),
    entry("System", "/jobs", "Jobs", Permission::Read),
    entry("Network", "/sessions", "Sessions", Permission::Read),
    entry("Network", "/explain", "Access check", Permission::Read),
    entry("System", "/tokens", "API tokens", Permission::Read),
    entry("System", "/authorities", "Certificates", Permission::Read),
    entry("System", "/migrations", "Migrations", Permission::Read),
];

/// A heading of the navigation and what stands under it.
pub(crate) struct NavGroup {
    pub(crate) label: &'static str,
    pub(crate) entries: Vec<NavEntry>,
}

/// Who was let in, on a refusal or failure further in, so that it can be shown inside of the frame.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(crate) admin: Admin,
    pub(crate) path: String,
}

/// A page of the console that somebody opens.
pub(crate) struct Opened {
    pub(crate) services: Services,
    pub(crate) desk: Desk,
}

impl FromRequestParts<Services> for Opened {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Problem> {
        Ok(Self { services: services.clone(), desk: Desk::from_request_parts(parts, services).await? })
    }
}

/// A form that somebody sent from a page of the console.
pub(crate) struct Sent {
    pub(crate) services: Services,
    pub(crate) desk: Desk,
    pub(crate) form: Fields,
}

impl FromRequest<Services> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, services: &Services) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let desk = Desk::from_request_parts(&mut parts, services).await?;
        let form = Fields::from_request(Request::from_parts(parts, body), services).await?;
        Ok(Self { services: services.clone(), desk, form })
    }
}

/// What surrounds a page of the console, and who looks at it.
pub(crate) struct Desk {
    /// Who acts.
    pub(crate) act: Act,
    /// Who is signed in.
    pub(crate) admin: Admin,
    /// The site.
    pub(crate) site: Arc<Site>,
    /// What it shares with the pages of the portal.
    pub(crate) chrome: Chrome,
    /// The navigation, as far as the role reaches.
    pub(crate) nav: Vec<NavGroup>,
    /// How the cluster is; nothing where nobody was asked.
    pub(crate) cluster: Option<Chip>,
    /// Since when nothing can be changed, and who wanted it so; nothing where things can.
    pub(crate) pause: Option<(When, Option<String>)>,
    /// What the page depends on.
    pub(crate) live: &'static [Topic],
    /// The moment that the page is of.
    pub(crate) now: Timestamp,
    /// This very page, for whoever wants to see it anew.
    pub(crate) again: String,
}

impl FromRequestParts<Services> for Desk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Problem> {
        // Without a guard there is no admin: a route that is open to anyone cannot have a desk.
        let admin = parts.extensions.get::<Admin>().cloned();
        let admin = admin.ok_or_else(|| Problem::new(Code::Internal, "this route has no guard"))?;
        let site = site_of(parts)?;
        let ((facts, _), pause, health) =
            tokio::join!(site.facts(services), site.pause(services), services.cluster().cluster_health());
        let flash = Cookie::Flash.read(&site, &parts.headers).and_then(|word| Flash::from_word(&word));
        let chrome = Chrome::on(Surface::Console, &facts, Some(account(&admin)), flash);
        let mut desk = Self::new(site, admin, chrome, parts.uri.path(), services.now()).with_health(health);
        desk.pause = pause.map(|PauseFacts { since, by }| (When::new(since, desk.now), by));
        if let Some(path) = parts.uri.path_and_query() {
            path.as_str().clone_into(&mut desk.again);
        }
        Ok(desk)
    }
}

pub(crate) fn account(admin: &Admin) -> Account {
    let label = match &admin.user {
        Some(user) => user.email.as_ref().map_or_else(|| user.name.to_string(), ToString::to_string),
        None => "Owner link".to_owned(),
    };
    Account { label, form_token: admin.form_token.0.clone() }
}

fn cluster(health: ClusterHealth) -> Chip {
    match health.hosts {
        None => Chip::bad("The database is away"),
        Some(hosts) if hosts.total() == 0 => Chip::calm("No host yet"),
        Some(hosts) if hosts.well == hosts.total() => Chip::good(format!("{} online", counted(hosts.total(), "host"))),
        Some(hosts) => {
            let text = format!("{} of {} hosts ready", hosts.well, hosts.total());
            match hosts {
                HostCount { well: 0, .. } => Chip::new(Tone::Bad, Icon::Alert, text),
                HostCount { ill: 0, offline: 0, .. } => Chip::new(Tone::Info, Icon::Next, text),
                _ => Chip::warn(text),
            }
        }
    }
}

impl Desk {
    /// A desk for a page at `path`, without a look at the cluster.
    pub(crate) fn new(site: Arc<Site>, admin: Admin, chrome: Chrome, path: &str, now: Timestamp) -> Self {
        let here = path.split('/').nth(1).unwrap_or_default();
        let is_here = |entry: &NavEntry| entry.path.strip_prefix('/') == Some(here);
        let chrome = Chrome { here: NAV.iter().find(|entry| is_here(entry)).map_or("", |entry| entry.path), ..chrome };
        let role = admin.role;
        let group = |label| NavGroup {
            label,
            entries: NAV.iter().filter(|entry| entry.group == label && role.may(entry.needs)).copied().collect(),
        };
        let nav = GROUPS.map(group).into_iter().filter(|group| !group.entries.is_empty()).collect();
        let act = admin.act();
        Self { act, admin, site, chrome, nav, cluster: None, pause: None, live: &[], now, again: path.to_owned() }
    }

    /// The same with what is known of the cluster.
    pub(crate) fn with_health(self, health: ClusterHealth) -> Self {
        Self { cluster: Some(cluster(health)), ..self }
    }

    /// Whether the one who looks holds a right; what is not allowed is not offered.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.act.actor.may(permission)
    }

    /// Whether there is a page at `path` for the one who looks, as the navigation has it.
    pub(crate) fn leads_to(&self, path: &str) -> bool {
        NAV.iter().any(|entry| entry.path == path && self.may(entry.needs))
    }

    /// What the page depends on, for the script.
    pub(crate) fn topics(&self) -> String {
        self.live.iter().map(|topic| topic.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The role, as the account's second line.
    pub(crate) fn role(&self) -> &'static str {
        self.admin.role.as_str()
    }

    /// What forms carry.
    pub(crate) fn token(&self) -> Token<'_> {
        self.chrome.token()
    }

    /// A moment, as seen from now.
    pub(crate) fn when(&self, at: &Timestamp) -> When {
        When::new(*at, self.now)
    }

    /// Answers with a page.
    pub(crate) fn show(&self, page: &impl Template) -> Response {
        self.show_as(StatusCode::OK, page)
    }

    /// Answers with a page and a status.
    pub(crate) fn show_as(&self, status: StatusCode, page: &impl Template) -> Response {
        show_once(&self.site, &self.chrome, status, page)
    }

    /// Sends the browser on, by GET, with a sentence about what was done.
    pub(crate) fn go(&self, to: &Link, flash: Flash) -> Response {
        go(&self.site, to.as_str(), Some(flash))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use domain::login::ReturnPath;

    #[test]
    fn every_entry_of_the_navigation_has_a_group_and_can_be_returned_to() {
        let mut seen = BTreeSet::new();
        for entry in NAV {
            assert!(GROUPS.contains(&entry.group), "{entry:?}");
            assert!(entry.path.parse::<ReturnPath>().is_ok(), "{entry:?}: add it to the pages in domain/login.rs");
            assert!(seen.insert(entry.path), "{entry:?} stands twice");
            let mut routes = crate::admin::routes().into_iter().map(|route| route.info());
            assert!(routes.any(|route| route.path == entry.path), "{entry:?} leads nowhere");
        }
    }
}
