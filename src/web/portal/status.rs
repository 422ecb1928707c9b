//! How the service is, for anyone: numbers, no names and no addresses.

use askama::Template;
use axum::{extract::State, response::Response};

use super::parts::{Chip, Icon, Tone, When};
use crate::{
    services::{Services, health::ClusterHealth},
    web::page::{Chrome, Visit},
};

/// The page.
#[derive(Template)]
#[template(path = "portal/status.html")]
pub(super) struct Status {
    pub(super) chrome: Chrome,
    pub(super) overall: Chip,
    pub(super) hosts: String,
    pub(super) setup: &'static str,
    pub(super) sign_in: &'static str,
    pub(super) at: When,
}

impl Status {
    /// The page of `health` at a moment; `away` says that the identity provider is.
    pub(super) fn new(chrome: Chrome, health: ClusterHealth, away: bool, at: When) -> Self {
        let hosts = health.hosts.map_or_else(
            || "Unknown while the database is away. Connections that exist go on.".to_owned(),
            |hosts| format!("{} of {} online", hosts.online, hosts.total),
        );
        let (online, total) = health.hosts.map_or((0, 0), |hosts| (hosts.online, hosts.total));
        let overall = if !health.database {
            Chip::new(Tone::Warn, Icon::Alert, "Degraded: connections go on, changes have to wait")
        } else if online == 0 {
            Chip::new(Tone::Bad, Icon::Cross, "No VPN host is online")
        } else if online < total || away {
            Chip::new(Tone::Warn, Icon::Alert, "Working, with something amiss")
        } else {
            Chip::new(Tone::Good, Icon::Check, "Everything works")
        };
        Self {
            chrome,
            overall,
            hosts,
            setup: if health.database { "Works" } else { "Not possible right now" },
            sign_in: match (health.database, away) {
                (false, _) => "Not possible right now",
                (true, true) => "The identity provider cannot be reached",
                (true, false) => "Works",
            },
            at,
        }
    }
}

pub(super) async fn page(State(services): State<Services>, visit: Visit) -> Response {
    let health = services.cluster_health().await;
    let away = visit.facts.away_since.is_some();
    visit.show(&Status::new(visit.chrome.clone(), health, away, When::clock(visit.now)))
}
