//! How the service is, for anyone: numbers, no names and no addresses.

use askama::Template;
use axum::response::Response;

use crate::ui::{Chip, Chrome, Visit, When};
use services::cluster::health::{ClusterHealth, HostCount};

/// The page.
#[derive(Template)]
#[template(path = "portal/status.html")]
pub(crate) struct Status {
    pub(crate) chrome: Chrome,
    pub(crate) health: ClusterHealth,
    /// Whether the identity provider is away.
    pub(crate) is_away: bool,
    pub(crate) at: When,
}

impl Status {
    fn overall(&self) -> Chip {
        let count = self.health.hosts.unwrap_or_default();
        if !self.health.database {
            Chip::warn("Degraded: connections go on, changes have to wait")
        } else if count.well + count.ill + count.draining == 0 {
            Chip::bad("No VPN host is online")
        } else if count.well + count.ill == 0 {
            Chip::bad("No VPN host is in service")
        } else if count.ill + count.offline > 0 || self.is_away {
            Chip::warn("Working, with something amiss")
        } else {
            Chip::good("Everything works")
        }
    }
}

/// "2 of 3 ready, 1 out of service on purpose".
fn in_words(count: &HostCount) -> String {
    let HostCount { well, ill, draining, offline } = *count;
    let others = [(ill, "with a problem"), (draining, "out of service on purpose"), (offline, "offline")];
    let others = others.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
    let all = std::iter::once(format!("{well} of {} ready", count.total())).chain(others);
    all.collect::<Vec<_>>().join(", ")
}

pub(crate) async fn page(visit: Visit) -> Response {
    let health = visit.services.cluster().cluster_health().await;
    let is_away = visit.facts.away_since.is_some();
    visit.show(&Status { chrome: visit.chrome.clone(), health, is_away, at: When::clock(visit.now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_counted_once_and_by_how_it_is() {
        let all = HostCount { well: 2, ill: 1, draining: 1, offline: 3 };
        assert_eq!(in_words(&all), "2 of 7 ready, 1 with a problem, 1 out of service on purpose, 3 offline");
        assert_eq!(in_words(&HostCount { well: 2, ..HostCount::default() }), "2 of 2 ready");
    }
}
