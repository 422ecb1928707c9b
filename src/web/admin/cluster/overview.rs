//! The first page: the cluster at one look. Each part leads to where more is to be seen, as soon as there is such a page.

use std::collections::HashMap;

use askama::Template;

use crate::admin::context::{Answer, Desk, Opened};
use crate::admin::hosts::problems::ProblemLine;
use crate::api::extract::NoQuery;
use crate::ui::chart::{SessionChart, TrafficChart};
use crate::ui::{Chip, Icon, Link, Tone, Topic, When};
use domain::authority::AuthorityKind;
use domain::ids::{HostId, ServerId};
use domain::text::{HostName, Name};
use services::cluster::overview::{Expiring, Expiry, IllHost, Overview};

/// Something that ends within so many seconds is worth a look.
const SOON: i64 = 30 * 86_400;

/// So many problems of one host are shown; its page has all.
const SHOWN: usize = 3;

/// The page.
#[derive(Template)]
#[template(path = "admin/overview.html")]
pub(crate) struct OverviewPage<'a> {
    desk: &'a Desk,
    overview: Overview,
    ill: Vec<IllRow>,
    /// Those that were taken out of service on purpose.
    draining: Vec<HostLink>,
    expiring: Vec<ExpiryRow>,
    busy: Option<SessionChart>,
    traffic: Option<TrafficChart>,
}

/// A host, with the way to its page for whoever has such a page.
struct HostLink {
    link: Option<Link>,
    name: String,
}

/// A host that is ill.
struct IllRow {
    host: HostLink,
    problems: Vec<ProblemLine>,
    /// How many more there are than are shown.
    more: usize,
}

/// Something that ends.
struct ExpiryRow {
    what: String,
    /// Where more of its kind are to be seen.
    list: Option<&'static str>,
    at: When,
    is_soon: bool,
}

impl<'a> OverviewPage<'a> {
    /// The page as things are.
    pub(crate) fn new(desk: &'a Desk, overview: Overview) -> Self {
        let names = &overview.names;
        Self {
            desk,
            ill: overview.ill.iter().map(|ill| ill_row(desk, ill, &overview.servers)).collect(),
            draining: overview.draining.iter().map(|(id, name)| host_link(desk, *id, name)).collect(),
            expiring: overview.expiring.iter().map(|expiry| expiry_row(desk, expiry)).collect(),
            busy: SessionChart::new(&overview.usage),
            traffic: TrafficChart::new(&overview.usage, |host| names.get(&host).map(ToString::to_string)),
            overview,
        }
    }

    /// How the hosts are, in one word.
    fn health(&self) -> Chip {
        match (self.overview.hosts, self.ill.len()) {
            (0, _) => Chip::calm("No host yet"),
            (_, 0) if self.draining.is_empty() => Chip::good("All are well"),
            (_, 0) => Chip::new(Tone::Info, Icon::Next, "The others are out of service on purpose"),
            (_, 1) => Chip::new(Tone::Bad, Icon::Alert, "1 needs attention"),
            (_, ill) => Chip::new(Tone::Bad, Icon::Alert, format!("{ill} need attention")),
        }
    }

    fn hearing(&self) -> Chip {
        if self.overview.hears {
            Chip::good("Healthy")
        } else {
            Chip::new(Tone::Warn, Icon::Clock, "Changes arrive within seconds")
        }
    }
}

fn host_link(desk: &Desk, id: HostId, name: &HostName) -> HostLink {
    HostLink { link: desk.leads_to("/hosts").then(|| Link::to(&id)), name: name.to_string() }
}

fn ill_row(desk: &Desk, ill: &IllHost, servers: &HashMap<ServerId, Name>) -> IllRow {
    let shown = ill.problems.get(..SHOWN).unwrap_or(&ill.problems);
    IllRow {
        host: host_link(desk, ill.id, &ill.name),
        problems: ProblemLine::all(shown, desk.now, |server| servers.get(&server)),
        more: ill.problems.len().saturating_sub(SHOWN),
    }
}

fn expiry_row(desk: &Desk, expiry: &Expiry) -> ExpiryRow {
    let (what, list) = match &expiry.what {
        Expiring::Authority(AuthorityKind::Client) => ("The CA for profiles".to_owned(), "/authorities"),
        Expiring::Authority(AuthorityKind::Server) => ("The CA for VPN daemons".to_owned(), "/authorities"),
        Expiring::Certificate(host) => (format!("The certificate of {host}, which renews it by itself"), "/hosts"),
        Expiring::Token(name) => (format!("The API token {name}"), "/tokens"),
    };
    let is_soon = expiry.at.as_second() - desk.now.as_second() < SOON;
    ExpiryRow { what, list: Some(list).filter(|list| desk.leads_to(list)), at: When::new(expiry.at, desk.now), is_soon }
}

pub(crate) async fn show(Opened { services, mut desk }: Opened, _: NoQuery) -> Answer {
    desk.live = &[Topic::Policy, Topic::Hosts, Topic::Sessions];
    let overview = services.cluster().overview(&desk.act).await?;
    Ok(desk.show(&OverviewPage::new(&desk, overview)))
}
