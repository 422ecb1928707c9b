//! Servers: the list, one with its hosts, and what is done to them. What a change does to people is shown before it is done.

pub(crate) mod edit;
pub(crate) mod form;
mod hosts;

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::json;

pub(crate) use crate::admin::network::servers::form::first as first_server;
pub(crate) use crate::admin::network::servers::{
    edit::{create, delete, edit, new, update},
    hosts::{attach, detach},
};
use crate::ui::topic::Topic;
use crate::{
    admin::{
        commands::{Recipe, Recipes},
        context::Desk,
        evidence::history::{HistoryRow, history},
    },
    ui::{columns::Columns, fields::FieldError, links::Link},
};
use crate::{
    api::extract::{At, ByName, Query},
    http::problem::Problem,
    ui::{
        export::{AllRows, FileKind, Sheet},
        parts::{Chip, Icon, Tone},
    },
};
use domain::{
    Revision,
    ids::ServerId,
    role::Permission,
    server::{DaemonState, Server},
};
use services::{
    Page, Services,
    network::server_view::{ServerHost, ServerRow, ServerView},
};

/// The list.
#[derive(Template)]
#[template(path = "admin/servers.html")]
pub(crate) struct Servers<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Vec<Row>,
    pub(crate) columns: Columns,
    pub(crate) is_first: bool,
    pub(crate) next: Option<String>,
}

/// One of the list.
pub(crate) struct Row {
    link: Link,
    name: String,
    network: String,
    listens: String,
    state: Chip,
    sessions: u64,
}

impl<'a> Servers<'a> {
    /// A page of the list.
    pub(crate) fn new(desk: &'a Desk, page: Page<ServerRow>, is_first: bool, next: Option<String>) -> Self {
        let row = |row: ServerRow| Row {
            state: state_of(&row),
            link: Link::to(&row.server.value.id),
            name: row.server.value.name.to_string(),
            network: row.server.value.network.net().to_string(),
            listens: listens(&row.server.value),
            sessions: row.sessions,
        };
        let columns = Columns::at("/servers", "name", false);
        Self { desk, rows: page.items.into_iter().map(row).collect(), columns, is_first, next }
    }

    fn may_make(&self) -> bool {
        self.desk.may(Permission::ManageServers)
    }

    fn list() -> Link {
        Link::list::<ServerId>()
    }
}

fn listens(server: &Server) -> String {
    format!("{} {}", server.protocol.as_str().to_uppercase(), server.port.get())
}

/// Whether people can connect.
fn state_of(row: &ServerRow) -> Chip {
    let ServerRow { server, attached, running, .. } = row;
    match (server.value.enabled, attached, running) {
        (false, ..) => Chip::new(Tone::Calm, Icon::Ring, "Switched off"),
        (true, 0, _) => Chip::new(Tone::Warn, Icon::Alert, "No host attached"),
        (true, all, 0) => Chip::new(Tone::Bad, Icon::Cross, format!("Runs on none of {}", hosts_in_words(*all))),
        (true, all, running) if running == all => {
            Chip::new(Tone::Good, Icon::Check, format!("Runs on {}", hosts_in_words(*all)))
        }
        (true, all, running) => {
            Chip::new(Tone::Warn, Icon::Alert, format!("Runs on {running} of {}", hosts_in_words(*all)))
        }
    }
}

fn hosts_in_words(count: usize) -> String {
    format!("{count} host{}", if count == 1 { "" } else { "s" })
}

pub(crate) async fn list(
    State(services): State<Services>,
    mut desk: Desk,
    query: Query<ByName<ServerId>>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Policy, Topic::Hosts, Topic::Sessions];
    let page = services.network().server_rows(&desk.act, &query.page).await?;
    let next = query.next(&page);
    let list = Servers::new(&desk, page, query.is_first(), next);
    Ok(desk.show(&Servers { columns: Columns::of(&query, None), ..list }))
}

/// The list as a file.
pub(crate) async fn export<K: FileKind>(
    State(services): State<Services>,
    desk: Desk,
    query: Query<ByName<ServerId>>,
) -> Result<Response, Problem> {
    let mut all = AllRows::new(query.page.order);
    while let Some(page) = all.next() {
        all.take(services.network().server_rows(&desk.act, &page).await?, &page);
    }
    let row = |ServerRow { server, attached, running, sessions }: ServerRow| {
        let server = server.value;
        [
            json!(server.name),
            json!(server.enabled),
            json!(server.network),
            json!(server.protocol),
            json!(server.port),
            json!(attached),
            json!(running),
            json!(sessions),
        ]
    };
    let columns = ["name", "enabled", "network", "protocol", "port", "hosts", "hosts_running", "sessions"];
    Sheet { name: "servers", columns, rows: all.found.into_iter().map(row).collect() }.file::<K>()
}

/// One server.
#[derive(Template)]
#[template(path = "admin/server.html")]
pub(crate) struct ServerPage<'a> {
    pub(crate) desk: &'a Desk,
    id: ServerId,
    is_enabled: bool,
    link: Link,
    name: String,
    revision: Revision,
    state: Chip,
    facts: Vec<(&'static str, String)>,
    routes: Vec<RouteRow>,
    hosts: Vec<HostRow>,
    others: Vec<(String, String)>,
    history: Vec<HistoryRow>,
    pub(crate) errors: Vec<FieldError>,
}

/// A private network behind a server.
struct RouteRow {
    network: String,
    comment: String,
    nat: bool,
}

/// A host that is attached to it.
struct HostRow {
    link: Option<Link>,
    detach: Link,
    name: String,
    state: Chip,
    detail: String,
}

impl<'a> ServerPage<'a> {
    /// The page as things are.
    pub(crate) fn new(desk: &'a Desk, view: ServerView, history: Vec<HistoryRow>) -> Self {
        let state = state_of(&view.row);
        let facts = facts(&view);
        let ServerView { row: ServerRow { server, .. }, hosts, others, .. } = view;
        let link = Link::to(&server.value.id);
        let row = |host: ServerHost| HostRow {
            link: desk.leads_to("/hosts").then(|| Link::to(&host.id)),
            detach: link.within("hosts", &host.id).and("detach"),
            state: host_state(&host),
            detail: detail_of(&host),
            name: host.name.to_string(),
        };
        let route = |route: &domain::network::Route| RouteRow {
            network: route.network.net().to_string(),
            comment: route.comment.as_ref().map(ToString::to_string).unwrap_or_default(),
            nat: route.nat,
        };
        Self {
            desk,
            id: server.value.id,
            is_enabled: server.value.enabled,
            name: server.value.name.to_string(),
            revision: server.rev,
            state,
            facts,
            routes: server.value.routes.iter().map(route).collect(),
            hosts: hosts.into_iter().map(row).collect(),
            others: others.into_iter().map(|(id, name)| (id.to_string(), name.to_string())).collect(),
            history,
            errors: Vec::new(),
            link,
        }
    }

    fn may_change(&self) -> bool {
        self.desk.may(Permission::ManageServers)
    }

    fn recipes(&self) -> Vec<Recipe> {
        Recipes::of_server(self.desk, self.id, self.may_change().then_some(self.is_enabled))
    }

    fn list() -> Link {
        Link::list::<ServerId>()
    }
}

fn facts(view: &ServerView) -> Vec<(&'static str, String)> {
    let server = &view.row.server.value;
    let open_to = match view.organizations.as_slice() {
        [] => "No organization: nobody may connect".to_owned(),
        names => names.iter().map(|(_, name)| name.to_string()).collect::<Vec<_>>().join(", "),
    };
    let groups =
        if server.groups.is_empty() { "Everybody of these organizations".to_owned() } else { listed(&server.groups) };
    let profiles = match (view.profiles, view.outdated) {
        (all, 0) => all.to_string(),
        (all, outdated) => format!("{all}, {outdated} of them outdated"),
    };
    let keepalive = server.keepalive;
    vec![
        ("Connected now", view.row.sessions.to_string()),
        ("Profiles in use", profiles),
        ("Open to", open_to),
        ("Groups", groups),
        ("Network", server.network.net().to_string()),
        ("Listens on", listens(server)),
        ("Resolvers", or_none(listed(&server.dns_servers))),
        ("Search domains", or_none(listed(&server.search_domains))),
        ("Lost host noticed", format!("after {} seconds", keepalive.timeout())),
    ]
}

fn or_none(text: String) -> String {
    if text.is_empty() { "None".to_owned() } else { text }
}

/// Things, with commas between them.
fn listed<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}

fn host_state(host: &ServerHost) -> Chip {
    if !host.is_online {
        return Chip::new(Tone::Bad, Icon::Cross, "Host is silent");
    }
    match host.state {
        DaemonState::Pending => Chip::new(Tone::Info, Icon::Clock, "Waiting for its host"),
        DaemonState::Starting => Chip::new(Tone::Info, Icon::Clock, "Starting"),
        DaemonState::Running => Chip::new(Tone::Good, Icon::Check, "Running"),
        DaemonState::Draining => Chip::new(Tone::Warn, Icon::Alert, "Draining"),
        DaemonState::Stopped => Chip::new(Tone::Calm, Icon::Ring, "Stopped"),
        DaemonState::Failed => Chip::new(Tone::Bad, Icon::Cross, "Failed"),
    }
}

fn detail_of(host: &ServerHost) -> String {
    host.detail.as_deref().map(crate::portal::sentence).unwrap_or_default()
}

/// The page of a server that is there, as it is now.
async fn found<'a>(services: &Services, desk: &'a Desk, id: ServerId) -> Result<ServerPage<'a>, Problem> {
    let view = services.network().server_view(&desk.act, id).await?;
    Ok(ServerPage::new(desk, view, history(services, desk, &id).await?))
}

pub(crate) async fn show(
    State(services): State<Services>,
    mut desk: Desk,
    At(id): At<ServerId>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Policy, Topic::Hosts, Topic::Sessions];
    Ok(desk.show(&found(&services, &desk, id).await?))
}
