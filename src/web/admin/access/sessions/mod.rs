//! VPN sessions over all hosts: those that go on, and those that are over.

mod chosen;
mod export;
mod row;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::access::sessions::row::EndedRow;
pub(crate) use crate::admin::access::sessions::{chosen::Chosen, export::export, row::Row};
use crate::ui::topic::Topic;
use crate::{
    admin::context::Desk,
    ui::{columns::Columns, fields::Fields, links::Link},
};
use crate::{
    api::extract::{At, Query},
    http::problem::Problem,
    portal::sentence,
    ui::page::{Flash, go},
};
use domain::{ids::SessionId, role::Permission, session::SessionState, session_search::SessionSearch};
use services::{
    Order, Page, PageRequest, ServiceError, Services, SessionFilter,
    people::views::{EndedSessionRow, SessionRow, SessionSurroundings},
};

/// So many servers and hosts can be chosen from.
const CHOICES: u32 = 200;

/// The list.
#[derive(Template)]
#[template(path = "admin/sessions.html")]
pub(crate) struct Sessions<'a> {
    desk: &'a Desk,
    chosen: Chosen,
    /// What is wrong with the search.
    error: Option<String>,
    rows: Rows,
    columns: Columns,
    /// Whose sessions, where those of one user are shown.
    user: Option<(Link, String)>,
    servers: Vec<Choice>,
    hosts: Vec<Choice>,
    is_first: bool,
    first: String,
    pub(crate) next: Option<String>,
}

/// What is shown.
enum Rows {
    Live(Vec<Row>),
    Ended(Vec<EndedRow>),
}

struct Choice {
    id: String,
    name: String,
    is_chosen: bool,
}

impl<'a> Sessions<'a> {
    /// The page of a choice, on which nothing is shown yet.
    pub(crate) fn new(desk: &'a Desk, chosen: Chosen, around: SessionSurroundings) -> Self {
        let SessionSurroundings { user, servers, hosts } = around;
        let choice = |id: String, name: String, chosen: &str| Choice { is_chosen: chosen == id, id, name };
        let servers = servers.iter().map(|(id, name)| choice(id.to_string(), name.to_string(), &chosen.server_id));
        let hosts = hosts.iter().map(|(id, name)| choice(id.to_string(), name.to_string(), &chosen.host_id));
        let (rows, column) = match chosen.state {
            SessionState::Live => (Rows::Live(Vec::new()), "since"),
            SessionState::Ended => (Rows::Ended(Vec::new()), "ended"),
        };
        let first = chosen.address();
        Self {
            desk,
            error: None,
            rows,
            columns: Columns::at(&first, column, true),
            user: user.map(|(id, name)| (Link::to(&id), name.to_string())),
            servers: servers.collect(),
            hosts: hosts.collect(),
            is_first: true,
            first,
            next: None,
            chosen,
        }
    }

    /// The same with live sessions.
    pub(crate) fn live(self, page: Page<SessionRow>) -> Self {
        let desk = self.desk;
        Self { rows: Rows::Live(page.items.into_iter().map(|row| Row::new(row, desk)).collect()), ..self }
    }

    /// The same with sessions that are over.
    pub(crate) fn ended(self, page: Page<EndedSessionRow>) -> Self {
        let desk = self.desk;
        Self { rows: Rows::Ended(page.items.into_iter().map(|row| EndedRow::new(row, desk)).collect()), ..self }
    }

    /// The same with what is wrong with the search.
    pub(crate) fn refused(self, reason: &str) -> Self {
        Self { error: Some(sentence(&format!("The search {reason}"))), ..self }
    }

    fn may_end(&self) -> bool {
        self.desk.may(Permission::EndSessions)
    }

    fn list() -> Link {
        Link::list::<SessionId>()
    }
}

/// What the database is asked for; or, in the words of people, why it is not.
async fn wanted(services: &Services, desk: &Desk, chosen: &Chosen) -> Result<Wanted, Problem> {
    let search = match chosen.q.parse::<SessionSearch>() {
        Ok(search) => search,
        Err(error) => return Ok(Wanted::Refused(error.to_string())),
    };
    match services.access().searched_sessions(&desk.act, &search, chosen.filter()?).await {
        Ok(Some(filter)) => Ok(Wanted::These(filter)),
        Ok(None) => Ok(Wanted::Nothing),
        Err(ServiceError::Invalid { reason, .. }) => Ok(Wanted::Refused(reason)),
        Err(error) => Err(error.into()),
    }
}

enum Wanted {
    These(SessionFilter),
    /// What was named is not there.
    Nothing,
    Refused(String),
}

pub(crate) async fn list(
    State(services): State<Services>,
    mut desk: Desk,
    query: Query<Chosen>,
) -> Result<Response, Problem> {
    let chosen = query.filter.clone();
    // What is over does not change, and each look at it is recorded: that page does not look by itself.
    if chosen.state == SessionState::Live {
        desk.live = &[Topic::Sessions, Topic::Hosts];
    }
    let wanted = wanted(&services, &desk, &chosen).await?;
    let around =
        services.people().session_surroundings(&desk.act, &chosen.filter()?, &PageRequest::first(CHOICES)).await?;
    let (state, request) = (chosen.state, query.page.clone());
    let usual = if state == SessionState::Live { Order::NEWEST } else { Order::ENDED };
    let columns = Columns::of(&query, Some(usual));
    let page = Sessions {
        columns,
        is_first: query.is_first(),
        first: query.first().to_owned(),
        ..Sessions::new(&desk, chosen, around)
    };
    let page = match (wanted, state) {
        (Wanted::Refused(reason), _) => {
            return Ok(desk.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page.refused(&reason)));
        }
        (Wanted::Nothing, _) => page,
        (Wanted::These(filter), SessionState::Live) => {
            let request = PageRequest { order: request.order.or(Some(usual)), ..request };
            let found = services.people().session_rows(&desk.act, &filter, &request).await?;
            Sessions { next: query.next(&found), ..page }.live(found)
        }
        (Wanted::These(filter), SessionState::Ended) => {
            let found = services.people().ended_session_rows(&desk.act, &filter, &request).await?;
            Sessions { next: query.next(&found), ..page }.ended(found)
        }
    };
    Ok(desk.show(&page))
}

pub(crate) async fn end(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<SessionId>,
    form: Fields,
) -> Result<Response, Problem> {
    let back = Chosen::of_form(&form);
    back.filter()?;
    match services.access().end_session(&desk.act, id).await {
        // It ended by itself meanwhile: what was wanted.
        Ok(()) | Err(ServiceError::NotFound(_)) => Ok(go(&desk.site, &back.address(), Some(Flash::SessionEnded))),
        Err(error) => Err(error.into()),
    }
}
