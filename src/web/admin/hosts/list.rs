//! Hosts: the list, and one of them with what it runs, how it leaves service, and how it is removed.

use askama::Template;
use serde_json::json;

use crate::admin::access::sessions::{Chosen, live_columns};
use crate::admin::commands::{Recipe, Recipes};
use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::evidence::history::{Change, history};
use crate::admin::hosts::problems::{ProblemLine, problem_chip};
use crate::admin::lists::{ExportField, List, PageOf, Paged, Place, Rows};
use crate::admin::network::attach_forms;
use crate::admin::nouns::Noun;
use crate::api::extract::{At, ByName, Query, USUAL};
use crate::http::problem::Problem;
use crate::ui::form::form;
use crate::ui::input::one;
use crate::ui::preview::CutOffList;
use crate::ui::{
    Again, Cell, Chip, Choice, Column, Columns, Field, Flash, FormView, Icon, Link, Linked as _, RowButton, Table,
    Tone, Topic, When, counted, span,
};
use domain::host::HostState;
use domain::ids::HostId;
use domain::problem::{Problem as HostProblem, ProblemCode};
use domain::role::Permission;
use domain::server::DaemonState;
use domain::text::HostName;
use services::hosts::drain::DrainOrder;
use services::hosts::joining::JoinTokenView;
use services::hosts::registry::HostPatch;
use services::hosts::removal::RemovalView;
use services::hosts::rows::{HostDaemon, HostRow, Releases, ServerChoice};
use services::hosts::view::{DrainState, DrainView};
use services::network::probes::Reached;
use services::people::views::SessionRow;
use services::{Page, PageRequest, Services};

/// What the pages of hosts depend on.
const TOPICS: &[Topic] = &[Topic::Policy, Topic::Hosts, Topic::Sessions];

/// So many of the sessions that a host carries are shown on its page.
const SHOWN: u32 = 20;

/// The budgets that are offered, in seconds.
const BUDGETS: [u32; 4] = [30, 60, 300, 1800];

/// How a host is, for people.
fn state_chip(state: HostState) -> Chip {
    match state {
        HostState::Online => Chip::good("Online"),
        HostState::Draining => Chip::new(Tone::Info, Icon::Next, "Draining"),
        HostState::Offline => Chip::bad("Offline"),
    }
}

/// How a daemon is, for people.
fn daemon_chip(daemon: &HostDaemon) -> Chip {
    if !daemon.enabled {
        return Chip::calm("Disabled");
    }
    match daemon.state {
        DaemonState::Pending => Chip::new(Tone::Info, Icon::Clock, "Pending"),
        DaemonState::Starting => Chip::new(Tone::Info, Icon::Clock, "Starting"),
        DaemonState::Running => Chip::good("Running"),
        DaemonState::Draining => Chip::new(Tone::Info, Icon::Next, "Draining"),
        DaemonState::Stopped => Chip::calm("Stopped"),
        DaemonState::Failed => Chip::bad("Failed"),
    }
}

/// The list.
#[derive(Template)]
#[template(path = "admin/hosts.html")]
pub(crate) struct Hosts<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Rows,
    pub(crate) invitations: Table,
    /// "0.1.0 on 2 hosts", where more than one release runs.
    pub(crate) releases: Vec<String>,
}

/// The kinds of things that are wrong with a host that is heard of, each once.
fn kinds(problems: &[HostProblem]) -> String {
    let mut titles: Vec<&str> = Vec::new();
    for problem in problems.iter().filter(|problem| problem.code != ProblemCode::Offline) {
        if !titles.contains(&problem.code.title()) {
            titles.push(problem.code.title());
        }
    }
    titles.join(", ")
}

impl<'a> Hosts<'a> {
    /// A page of the list.
    pub(crate) fn new(
        desk: &'a Desk,
        rows: &[HostRow],
        invitations: &[JoinTokenView],
        releases: &Releases,
        order: &Columns,
        place: Place,
    ) -> Self {
        let newest = releases.last().filter(|_| releases.len() > 1).map(|(version, _)| version.as_str());
        let counted = |(version, hosts): &(String, usize)| format!("{version} on {}", counted(*hosts, "host"));
        let columns = [
            Column::name("Host", |token: &JoinTokenView| Cell::link(Link::to(&token.id), &token.host_name)),
            Column::new("Ends", |token: &JoinTokenView| Cell::part(When::new(token.expires_at, desk.now))),
        ];
        let table = Table::in_order(&host_columns(desk, newest), Some(order), rows);
        Self {
            desk,
            rows: Rows::listed::<HostRow>(table, place),
            invitations: Table::new(&columns, invitations),
            releases: newest.map(|_| releases.iter().map(counted).collect()).unwrap_or_default(),
        }
    }
}

/// What is shown of a host, some of which may be on a release that is not the newest.
fn host_columns<'a>(desk: &'a Desk, newest: Option<&'a str>) -> Vec<Column<'a, HostRow>> {
    let state = |row: &HostRow| {
        let host = &row.host.value;
        let problems = problem_chip(&host.problems);
        let kinds = problems.as_ref().map(|_| Cell::text(kinds(&host.problems)));
        Cell::part(state_chip(host.state)).and(problems.map(Cell::part)).hint(kinds)
    };
    let servers =
        |row: &HostRow| row.daemons.iter().map(|daemon| daemon.name.to_string()).collect::<Vec<_>>().join(", ");
    let release = move |row: &HostRow| {
        let host = &row.host.value;
        let version = host.version.as_deref().unwrap_or_default();
        let is_behind = host.state != HostState::Offline && newest.is_some_and(|newest| newest != version);
        let older = is_behind.then(|| Cell::part(Chip::new(Tone::Warn, Icon::Up, "older")));
        Cell::or_soft(version, "unknown").and(older)
    };
    let seen = |row: &HostRow| match row.host.value.last_seen_at {
        Some(at) => Cell::part(When::new(at, desk.now)),
        None => Cell::soft("not heard of"),
    };
    vec![
        Column::name("Name", |row: &HostRow| Cell::link(Link::to(&row.host.value.id), &row.host.value.name))
            .ordered("name"),
        Column::new("State", state),
        Column::new("Servers", move |row| Cell::or_soft(&servers(row), "none")),
        Column::number("Sessions", |row: &HostRow| row.host.value.sessions),
        Column::new("Release", release),
        Column::new("Last seen", seen),
    ]
}

impl List for HostRow {
    type Id = HostId;
    const TITLE: &'static str = "Hosts";
    const EMPTY: [&'static str; 3] = [
        "There is no host yet",
        "There are no more hosts",
        "A host is a machine that runs Postern. People's VPN connections go through hosts.",
    ];
    const FILE: &'static str = "hosts";
    const FIELDS: &'static [ExportField<Self>] = &[
        ("name", |row| json!(row.host.value.name)),
        ("state", |row| json!(row.host.value.state)),
        ("addresses", |row| json!(row.host.value.public_addresses)),
        ("servers", |row| json!(row.daemons.iter().map(|daemon| &daemon.name).collect::<Vec<_>>())),
        ("sessions", |row| json!(row.host.value.sessions)),
        ("release", |row| json!(row.host.value.version)),
        ("last_seen_at", |row| json!(row.host.value.last_seen_at)),
        ("problems", |row| json!(row.host.value.problems.iter().map(|problem| problem.code).collect::<Vec<_>>())),
    ];

    fn columns(desk: &Desk) -> Vec<Column<'_, Self>> {
        host_columns(desk, None)
    }
}

impl Paged for HostRow {
    type Filter = ByName<HostId>;
    const TOPICS: &'static [Topic] = TOPICS;

    async fn page(services: &Services, desk: &Desk, _: &Self::Filter, request: &PageRequest) -> PageOf<Self> {
        Ok(services.hosts().host_rows(&desk.act, request).await?)
    }
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, query: Query<ByName<HostId>>) -> Answer {
    desk.live = TOPICS;
    let page = HostRow::page(&services, &desk, &query.filter, &query.page).await?;
    let first = PageRequest::first(USUAL);
    let (waiting, releases) =
        tokio::try_join!(services.hosts().join_tokens(&desk.act, &first), services.hosts().releases(&desk.act))?;
    let (order, place) = (Columns::of(&query, None), Place::of(&query, &page));
    Ok(desk.show(&Hosts::new(&desk, &page.items, &waiting.items, &releases, &order, place)))
}

form! {
    /// The form of another name.
    NameForm(name: HostName) {
        name: Field::text("Name of the host").subject("The name")
            .with(r#"required maxlength="63" autocomplete="off" spellcheck="false""#)
            .hint("The machine\'s own configuration, host.name, must follow before its next start."),
            one(name);
    } fields => HostPatch { Some(HostPatch { name: Some(name) }) }
}

form! {
    /// The form of a drain.
    DrainForm {
        budget: Field::select("Move its sessions within").subject("The time").initial("60");
        force: Field::tick("End sessions too that no other host can take over");
    } fields => DrainOrder { Some(DrainOrder { budget_seconds: budget, force }) }
}

/// One host.
#[derive(Template)]
#[template(path = "admin/host.html")]
pub(crate) struct HostPage<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) row: HostRow,
    pub(crate) link: Link,
    /// The form of another name.
    pub(crate) form: FormView,
    /// The form of a drain.
    pub(crate) draining: FormView,
    /// The form that attaches another server.
    pub(crate) attach: FormView,
    pub(crate) chip: Chip,
    /// What is wrong with it, while it is heard of.
    pub(crate) problems: Vec<ProblemLine>,
    /// Other releases that run, while it is heard of.
    pub(crate) others: Vec<String>,
    pub(crate) daemons: Table,
    /// Whether there are other servers that it could run.
    pub(crate) has_free: bool,
    /// Who goes nowhere when it leaves: how many sessions, and whose.
    pub(crate) stranded: (u64, CutOffList),
    /// Some of the sessions that it carries, the newest, and whether there are more.
    pub(crate) carried: (Table, bool),
    pub(crate) removal: RemovalView,
    pub(crate) history: Vec<Change>,
}

/// The servers that a host is to run.
fn daemons_of(desk: &Desk, link: &Link, daemons: &[HostDaemon]) -> Table {
    let state = |daemon: &HostDaemon| {
        Cell::part(daemon_chip(daemon)).hint(daemon.detail.as_ref().filter(|it| !it.is_empty()).map(Cell::text))
    };
    let outside = |daemon: &HostDaemon| match &daemon.reached {
        Some(reached) => outside(reached, desk),
        None if daemon.serves() => Cell::soft("not probed lately"),
        None => Cell::soft("accepts no new sessions"),
    };
    let detach = |daemon: &HostDaemon| {
        let text = Cell::text("Detach").then(Cell::text(format!(" server {}", daemon.name)).within("span", "unseen"));
        let fields = vec![("server_id", daemon.server_id.to_string())];
        let to = link.and("detach").to_string();
        RowButton { text, fields, class: "link", ..RowButton::slim(to, desk.chrome.form_token(), "") }.cell()
    };
    let columns = [
        Column::name("Server", |daemon: &HostDaemon| Cell::link(Link::to(&daemon.server_id), &daemon.name)),
        Column::new("State", state),
        Column::new("Reachability", outside),
        Column::act(detach).for_whom(desk.may(Permission::ManageServers)),
    ];
    Table::new(&columns, daemons)
}

/// Whether a daemon can be reached from outside, and what was seen instead of an answer.
fn outside(reached: &Reached, desk: &Desk) -> Cell {
    let Reached { name, at, ok, detail, protocol, port, .. } = reached;
    let chip = if *ok {
        Chip::good(format!("Reached from {name}"))
    } else {
        Chip::bad(format!("No answer to {name} ({} {})", protocol.as_str(), port.get()))
    };
    let detail = detail.as_ref().map(|detail| Cell::text(format!("{detail}, "))).unwrap_or_default();
    Cell::part(chip).hint(Some(detail.then(Cell::part(When::new(*at, desk.now)))))
}

/// How far a host has come with leaving service.
fn drain_chip(state: DrainState) -> Chip {
    match state {
        DrainState::Waiting => Chip::new(Tone::Info, Icon::Clock, "Waiting"),
        DrainState::Moving => Chip::new(Tone::Info, Icon::Next, "Moving"),
        DrainState::Held => Chip::warn("Held"),
        DrainState::Drained => Chip::good("Drained"),
    }
}

/// "40 seconds", and from two minutes on "2 minutes".
fn short(seconds: i64) -> String {
    if seconds < 120 { format!("{seconds} seconds") } else { span(seconds) }
}

/// What a host's page is made of.
pub(crate) struct Found {
    pub(crate) row: HostRow,
    pub(crate) carried: Page<SessionRow>,
    pub(crate) removal: RemovalView,
    pub(crate) releases: Releases,
    pub(crate) free: Vec<ServerChoice>,
    pub(crate) history: Vec<Change>,
}

impl<'a> HostPage<'a> {
    /// The page of a host.
    pub(crate) fn new(desk: &'a Desk, found: Found) -> Self {
        let Found { row, carried, removal, releases, free, history } = found;
        let host = &row.host.value;
        let name = |server| row.daemons.iter().find(|daemon| daemon.server_id == server).map(|daemon| &daemon.name);
        let known: Vec<HostProblem> =
            host.problems.iter().filter(|problem| problem.code != ProblemCode::Offline).cloned().collect();
        let problems = ProblemLine::all(&known, desk.now, name);
        let link = Link::to(&host.id);
        let (has_more, mut columns) = (carried.next.is_some(), live_columns(desk));
        columns.retain(|column| column.label != "Host");
        let others = releases.into_iter().map(|(other, _)| other);
        let others = others.filter(|other| row.is_heard() && host.version.as_ref() != Some(other));
        Self {
            desk,
            daemons: daemons_of(desk, &link, &row.daemons),
            form: FormView::filled(
                &desk.chrome,
                NameForm::FIELDS,
                NameForm::fill(&host.name),
                (row.host.rev, link.clone()),
            ),
            draining: FormView::fresh(&desk.chrome, DrainForm::FIELDS)
                .choices("budget", Choice::all(BUDGETS.map(|seconds| (seconds, short(i64::from(seconds)))))),
            attach: FormView::fresh(&desk.chrome, attach_forms::ServerChoice::FIELDS)
                .choices("server_id", Choice::all(free.iter().map(|server| (server.id, &server.name)))),
            chip: state_chip(host.state),
            problems,
            others: others.collect(),
            has_free: !free.is_empty(),
            stranded: (removal.sessions_cut_off, CutOffList::new(removal.sessions_cut_off, &removal.cut_off)),
            carried: (Table::new(&columns, &carried.items), has_more),
            removal,
            history,
            link,
            row,
        }
    }

    fn recipes(&self) -> Vec<Recipe> {
        let can_drain = self.desk.may(Permission::ManageHosts) && self.row.runs_servers();
        Recipes::of_host(self.desk, self.row.host.value.id, can_drain.then_some(self.row.host.value.drain.is_some()))
    }

    /// How long its drain has still to go.
    fn left(&self, drain: &DrainView) -> String {
        match drain.ends_at.as_second() - self.desk.now.as_second() {
            left @ 1.. => format!("about {} left", short(left)),
            _ => "past its time, as fast as it goes".to_owned(),
        }
    }

    /// Where all sessions that it carries are listed.
    fn all_sessions(&self) -> String {
        Chosen::of_host(self.row.host.value.id).address()
    }
}

impl Noun for HostId {
    type Page<'a> = HostPage<'a>;
    const TOPICS: &'static [Topic] = TOPICS;

    async fn page<'a>(&self, services: &Services, desk: &'a Desk) -> Result<HostPage<'a>, Problem> {
        let row = services.hosts().host_row(&desk.act, *self).await?;
        let some = PageRequest::first(SHOWN);
        let (carried, removal, releases, free) = tokio::try_join!(
            services.people().sessions_through(&desk.act, &row, &some),
            services.hosts().removal_of(&desk.act, &row.host.value),
            services.hosts().releases(&desk.act),
            services.hosts().server_choices(&desk.act, Some(&row)),
        )?;
        let history = history(services, desk, self).await?;
        Ok(HostPage::new(desk, Found { row, carried, removal, releases, free, history }))
    }

    /// What is wrong with any of its forms is said at the head of the page, as that of the first.
    fn form<'p>(page: &'p mut HostPage<'_>, again: &Again) -> &'p mut FormView {
        if again.is_of(DrainForm::FIELDS) {
            page.draining = page.draining.clone().typed(again.fields.clone());
        }
        &mut page.form
    }
}

pub(crate) async fn update(At(id): At<HostId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let doing = NameForm::read(&mut form).map(|patch| services.hosts().update_host(&desk.act, id, patch, revision));
    let renamed = form.submit(doing).await?;
    id.after(renamed, &services, desk, |desk, _| desk.go(&Link::to(&id), Flash::HostRenamed)).await
}
