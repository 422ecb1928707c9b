//! Servers: the list, one with its hosts, and what is done to them. What a change does to people is shown before it is done.

pub(crate) mod edit;
pub(crate) mod form;

use askama::Template;
use serde_json::json;

use crate::admin::commands::{Recipe, Recipes};
use crate::admin::context::Desk;
use crate::admin::evidence::history::{Change, history};
use crate::admin::lists::{ExportField, List, PageOf, Paged};
use crate::admin::network::attach_forms::HostChoice;
pub(crate) use crate::admin::network::servers::edit::{create, delete, edit, new, update};
pub(crate) use crate::admin::network::servers::form::first as first_server;
use crate::admin::nouns::Noun;
use crate::api::extract::ByName;
use crate::http::problem::Problem;
use crate::ui::{
    Again, Cell, Chip, Choice, Column, FormView, Icon, Link, Linked as _, RowButton, Table, Tone, Topic, counted,
};
use domain::Revised;
use domain::ids::ServerId;
use domain::network::Route;
use domain::role::Permission;
use domain::server::{DaemonState, Server};
use services::network::server_view::{ServerHost, ServerRow, ServerView};
use services::{PageRequest, Services};

/// What the pages of servers depend on.
const TOPICS: &[Topic] = &[Topic::Policy, Topic::Hosts, Topic::Sessions];

impl List for ServerRow {
    type Id = ServerId;
    const TITLE: &'static str = "Servers";
    const MAKE: Option<(Permission, &'static str)> = Some((Permission::ManageServers, "New server"));
    const EMPTY: [&'static str; 3] = [
        "There is no server yet",
        "There are no more servers",
        "A server is what people connect to: a network, what can be reached from it, and who may. It runs on as many \
         hosts as you attach.",
    ];
    const FILE: &'static str = "servers";
    const FIELDS: &'static [ExportField<Self>] = &[
        ("name", |row| json!(row.server.value.name)),
        ("enabled", |row| json!(row.server.value.enabled)),
        ("network", |row| json!(row.server.value.network)),
        ("protocol", |row| json!(row.server.value.protocol)),
        ("port", |row| json!(row.server.value.port)),
        ("hosts", |row| json!(row.attached)),
        ("hosts_running", |row| json!(row.running)),
        ("sessions", |row| json!(row.sessions)),
    ];

    fn columns(_: &Desk) -> Vec<Column<'_, Self>> {
        let server = |row: &Self| Cell::link(Link::to(&row.server.value.id), &row.server.value.name);
        vec![
            Column::name("Name", server).ordered("name"),
            Column::new("State", |row| Cell::part(state_of(row))),
            Column::new("Network", |row: &Self| Cell::mono(row.server.value.network.net())),
            Column::new("Listens on", |row: &Self| Cell::text(listens(&row.server.value))),
            Column::number("Connected now", |row: &Self| row.sessions),
        ]
    }
}

impl Paged for ServerRow {
    type Filter = ByName<ServerId>;
    const TOPICS: &'static [Topic] = TOPICS;

    async fn page(services: &Services, desk: &Desk, _: &Self::Filter, request: &PageRequest) -> PageOf<Self> {
        Ok(services.network().server_rows(&desk.act, request).await?)
    }
}

fn listens(server: &Server) -> String {
    format!("{} {}", server.protocol.as_str().to_uppercase(), server.port.get())
}

/// Whether people can connect.
fn state_of(row: &ServerRow) -> Chip {
    let ServerRow { server, attached, running, .. } = row;
    match (server.value.enabled, attached, running) {
        (false, ..) => Chip::calm("Switched off"),
        (true, 0, _) => Chip::warn("No host attached"),
        (true, all, 0) => Chip::bad(format!("Runs on none of {}", counted(*all, "host"))),
        (true, all, running) if running == all => Chip::good(format!("Runs on {}", counted(*all, "host"))),
        (true, all, running) => Chip::warn(format!("Runs on {running} of {}", counted(*all, "host"))),
    }
}

/// One server.
#[derive(Template)]
#[template(path = "admin/server.html")]
pub(crate) struct ServerPage<'a> {
    pub(crate) desk: &'a Desk,
    server: Revised<Server>,
    state: Chip,
    facts: Vec<(&'static str, String)>,
    routes: Table,
    hosts: Table,
    /// Whether there are other hosts that could run it.
    has_others: bool,
    /// The form that attaches another host.
    pub(crate) form: FormView,
    history: Vec<Change>,
}

impl<'a> ServerPage<'a> {
    /// The page as things are.
    pub(crate) fn new(desk: &'a Desk, view: ServerView, history: Vec<Change>) -> Self {
        let state = state_of(&view.row);
        let facts = facts(&view);
        let ServerView { row: ServerRow { server, .. }, hosts, others, .. } = view;
        let link = Link::to(&server.value.id);
        let name = |host: &ServerHost| {
            let link = desk.leads_to("/hosts").then(|| Cell::link(Link::to(&host.id), &host.name));
            link.unwrap_or_else(|| Cell::text(&host.name))
        };
        let detach = |host: &ServerHost| {
            let to = link.within("hosts", &host.id).and("detach").to_string();
            let label = Some(format!("Detach host {}", host.name));
            RowButton { label, ..RowButton::slim(to, desk.chrome.form_token(), "Detach host") }.cell()
        };
        let columns = [
            Column::name("Host", name),
            Column::new("State", |host| Cell::part(host_state(host))),
            Column::new("Detail", |host| Cell::or_dash(&detail_of(host))),
            Column::act(detach).for_whom(desk.may(Permission::ManageServers)),
        ];
        let source = |route: &Route| if route.nat { "NAT (host’s address)" } else { "Client’s address" };
        let comment = |route: &Route| route.comment.as_ref().map(ToString::to_string).unwrap_or_default();
        let routes = [
            Column::name("Network", |route: &Route| Cell::mono(route.network.net())),
            Column::new("What it is", |route| Cell::or_soft(&comment(route), "No comment")),
            Column::new("Source address", |route| Cell::text(source(route))),
        ];
        let hosts = Table::new(&columns, &hosts);
        drop(columns);
        Self {
            desk,
            state,
            facts,
            routes: Table::new(&routes, &server.value.routes),
            hosts,
            has_others: !others.is_empty(),
            form: FormView::fresh(&desk.chrome, HostChoice::FIELDS).choices("host_id", Choice::all(others)),
            history,
            server,
        }
    }

    fn recipes(&self) -> Vec<Recipe> {
        let server = &self.server.value;
        Recipes::of_server(self.desk, server.id, self.desk.may(Permission::ManageServers).then_some(server.enabled))
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
        ("DNS servers", or_none(listed(&server.dns_servers))),
        ("Search domains", or_none(listed(&server.search_domains))),
        ("Keepalive timeout", format!("{} seconds", keepalive.timeout())),
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
        return Chip::bad("Host is silent");
    }
    match host.state {
        DaemonState::Pending => Chip::new(Tone::Info, Icon::Clock, "Waiting for its host"),
        DaemonState::Starting => Chip::new(Tone::Info, Icon::Clock, "Starting"),
        DaemonState::Running => Chip::good("Running"),
        DaemonState::Draining => Chip::warn("Draining"),
        DaemonState::Stopped => Chip::calm("Stopped"),
        DaemonState::Failed => Chip::bad("Failed"),
    }
}

fn detail_of(host: &ServerHost) -> String {
    host.detail.as_deref().map(crate::ui::text::sentence).unwrap_or_default()
}

impl Noun for ServerId {
    type Page<'a> = ServerPage<'a>;
    const TOPICS: &'static [Topic] = TOPICS;

    async fn page<'a>(&self, services: &Services, desk: &'a Desk) -> Result<ServerPage<'a>, Problem> {
        let view = services.network().server_view(&desk.act, *self).await?;
        Ok(ServerPage::new(desk, view, history(services, desk, self).await?))
    }

    fn form<'p>(page: &'p mut ServerPage<'_>, _: &Again) -> &'p mut FormView {
        &mut page.form
    }
}
