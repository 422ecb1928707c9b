//! Live VPN sessions over all hosts.

use std::net::Ipv4Addr;

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{desk::Desk, fields::Fields, links::Link, live::Topic, samples::Book};
use crate::{
    domain::{
        ids::{HostId, ProfileId, ServerId, SessionId, UserId},
        role::{Permission, Role},
        session::Session,
    },
    services::{
        Page, PageRequest, ServiceError, Services, SessionFilter,
        people::{SessionRow, SessionSurroundings},
    },
    web::{
        extract::{At, Filter, Query},
        page::{Flash, go},
        portal::{
            parts::{When, bytes},
            samples::{ago, id, text},
        },
        problem::Problem,
    },
};

/// So many servers and hosts can be chosen from.
const CHOICES: u32 = 200;

/// Which sessions, as the form of the page sends it: what is not chosen is empty.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "these are the names of the parameters")]
pub(super) struct Chosen {
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    server_id: String,
    #[serde(default)]
    host_id: String,
}

impl Filter for Chosen {
    type Id = SessionId;
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<Option<T>, Problem> {
    let read = || text.parse().map_err(|error| Problem::parameter(name, format!("is {error}")));
    if text.is_empty() { Ok(None) } else { read().map(Some) }
}

impl Chosen {
    fn filter(&self) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter {
            user_id: parsed::<UserId>("user_id", &self.user_id)?,
            server_id: parsed::<ServerId>("server_id", &self.server_id)?,
            host_id: parsed::<HostId>("host_id", &self.host_id)?,
        })
    }
}

/// The address of the page for a choice.
fn address(filter: &SessionFilter) -> String {
    let SessionFilter { user_id, server_id, host_id } = filter;
    let mut query = form_urlencoded::Serializer::new(String::new());
    let chosen = [
        ("user_id", user_id.as_ref().map(ToString::to_string)),
        ("server_id", server_id.as_ref().map(ToString::to_string)),
        ("host_id", host_id.as_ref().map(ToString::to_string)),
    ];
    query.extend_pairs(chosen.iter().filter_map(|(name, id)| Some((*name, id.as_ref()?))));
    let (list, query) = (Link::list::<SessionId>(), query.finish());
    if query.is_empty() { list.to_string() } else { format!("{list}?{query}") }
}

/// The list.
#[derive(Template)]
#[template(path = "admin/sessions.html")]
pub(super) struct Sessions<'a> {
    desk: &'a Desk,
    rows: Vec<Row>,
    filter: SessionFilter,
    /// Whose sessions, where those of one user are shown.
    user: Option<(Link, String)>,
    servers: Vec<Choice>,
    hosts: Vec<Choice>,
    is_first: bool,
    first: String,
    next: Option<String>,
}

struct Choice {
    id: String,
    name: String,
    is_chosen: bool,
}

struct Row {
    id: SessionId,
    user: (Link, String),
    device: String,
    server: (Link, String),
    host: (Link, String),
    address: String,
    from: String,
    since: When,
    received: String,
    sent: String,
}

impl<'a> Sessions<'a> {
    /// The list of a choice.
    pub(super) fn new(
        desk: &'a Desk,
        filter: SessionFilter,
        page: Page<SessionRow>,
        around: SessionSurroundings,
    ) -> Self {
        let SessionSurroundings { user, servers, hosts } = around;
        let choice = |id: String, name: String, chosen: Option<String>| {
            let is_chosen = chosen.as_ref() == Some(&id);
            Choice { id, name, is_chosen }
        };
        let chosen_server = filter.server_id.map(|id| id.to_string());
        let chosen_host = filter.host_id.map(|id| id.to_string());
        let server =
            |(id, name): (ServerId, _)| choice(id.to_string(), ToString::to_string(&name), chosen_server.clone());
        let servers = servers.into_iter().map(server).collect();
        let hosts = hosts.into_iter().map(|(id, name)| choice(id.to_string(), name.to_string(), chosen_host.clone()));
        Self {
            desk,
            rows: page.items.into_iter().map(|row| Row::new(row, desk)).collect(),
            user: user.map(|(id, name)| (Link::to(&id), name.to_string())),
            servers,
            hosts: hosts.collect(),
            is_first: true,
            first: address(&filter),
            filter,
            next: None,
        }
    }

    fn may_end(&self) -> bool {
        self.desk.may(Permission::EndSessions)
    }

    fn is_narrowed(&self) -> bool {
        let SessionFilter { user_id, server_id, host_id } = self.filter;
        user_id.is_some() || server_id.is_some() || host_id.is_some()
    }

    /// The choice as hidden fields, so that an end leads back to it.
    fn chosen(&self) -> Vec<(&'static str, String)> {
        let SessionFilter { user_id, server_id, host_id } = self.filter;
        let pairs = [
            ("user_id", user_id.map(|id| id.to_string())),
            ("server_id", server_id.map(|id| id.to_string())),
            ("host_id", host_id.map(|id| id.to_string())),
        ];
        pairs.into_iter().filter_map(|(name, id)| Some((name, id?))).collect()
    }

    fn list() -> Link {
        Link::list::<SessionId>()
    }
}

impl Row {
    fn new(row: SessionRow, desk: &Desk) -> Self {
        let SessionRow { session, user, profile, server, host } = row;
        // What was deleted a moment ago has no name any more.
        let named = |name: Option<String>| name.unwrap_or_else(|| "Deleted".to_owned());
        Self {
            id: session.id,
            user: (Link::to(&session.user_id), named(user.map(|name| name.to_string()))),
            device: named(profile.map(|name| name.to_string())),
            server: (Link::to(&session.server_id), named(server.map(|name| name.to_string()))),
            host: (Link::to(&session.host_id), named(host.map(|name| name.to_string()))),
            address: session.address.to_string(),
            from: session.remote_address.ip().to_string(),
            since: When::new(session.connected_at, desk.now),
            received: bytes(session.bytes_received),
            sent: bytes(session.bytes_sent),
        }
    }
}

pub(super) async fn list(
    State(services): State<Services>,
    mut desk: Desk,
    query: Query<Chosen>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Sessions, Topic::Hosts];
    let filter = query.filter.filter()?;
    let page = services.session_rows(&desk.act, &filter, &query.page).await?;
    let choices = PageRequest { limit: CHOICES, after: None, count: false };
    let around = services.session_surroundings(&desk.act, &filter, &choices).await?;
    let next = query.next(&page);
    let list = Sessions { is_first: query.is_first(), next, ..Sessions::new(&desk, filter, page, around) };
    Ok(desk.show(&list))
}

pub(super) async fn end(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<SessionId>,
    form: Fields,
) -> Result<Response, Problem> {
    let text = |field| form.text(field).to_owned();
    let back = Chosen { user_id: text("user_id"), server_id: text("server_id"), host_id: text("host_id") }.filter()?;
    match services.end_session(&desk.act, id).await {
        // It ended by itself meanwhile: what was wanted.
        Ok(()) | Err(ServiceError::NotFound(_)) => Ok(go(&desk.site, &address(&back), Some(Flash::SessionEnded))),
        Err(error) => Err(error.into()),
    }
}

/// The page in every state.
pub(super) fn samples(book: &mut Book) {
    let name = book.name;
    let row = |number: u128, device: &str, is_named: bool| {
        let named = |name: &str| is_named.then(|| text(name));
        SessionRow {
            session: Session {
                id: id::<SessionId>(number),
                user_id: id::<UserId>(number),
                profile_id: id::<ProfileId>(number),
                server_id: id::<ServerId>(1),
                host_id: id::<HostId>(1),
                address: Ipv4Addr::new(10, 200, 14, 7),
                remote_address: (Ipv4Addr::new(198, 51, 100, 7), 50123).into(),
                connected_at: ago(3),
                bytes_received: 48_200_000,
                bytes_sent: 1_412_000_000,
                client_version: None,
                client_protocol: None,
            },
            user: named(name),
            profile: named(device),
            server: named("Office"),
            host: is_named.then(|| text("vpn-2")),
        }
    };
    let around = |user: bool| SessionSurroundings {
        user: user.then(|| (id::<UserId>(1), text(name))),
        servers: vec![(id::<ServerId>(1), text("Office")), (id::<ServerId>(2), text(name))],
        hosts: vec![(id::<HostId>(1), text("vpn-1")), (id::<HostId>(2), text("vpn-2"))],
    };
    let page =
        || Page { items: vec![row(1, "Laptop", true), row(2, name, true), row(3, "", false)], next: None, count: None };
    let nobody = || Page { items: Vec::new(), next: None, count: None };
    let all = SessionFilter::default;
    let mut desk = book.desk("/sessions");
    desk.live = &[Topic::Sessions];
    let next = Some("/sessions?limit=50&cursor=x".to_owned());
    book.add("sessions", &Sessions { next, ..Sessions::new(&desk, all(), page(), around(false)) });
    book.add("sessions-empty", &Sessions::new(&desk, all(), nobody(), around(false)));
    let narrowed = SessionFilter { user_id: Some(id(1)), server_id: Some(id(1)), host_id: None };
    desk.chrome.flash = Some(Flash::SessionEnded);
    book.add("sessions-of-one", &Sessions::new(&desk, narrowed, page(), around(true)));
    book.add("sessions-none", &Sessions::new(&desk, narrowed, nobody(), around(true)));
    let auditor = book.desk_of(Role::Auditor, "/sessions");
    book.add("sessions-auditor", &Sessions::new(&auditor, all(), page(), around(false)));
}
