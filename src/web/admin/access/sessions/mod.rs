//! VPN sessions over all hosts: those that go on, and those that are over.

mod chosen;
mod row;

use askama::Template;
use axum::http::StatusCode;

pub(crate) use crate::admin::access::sessions::chosen::Chosen;
pub(crate) use crate::admin::access::sessions::row::live_columns;
use crate::admin::access::sessions::row::{ended_columns, who_with};
use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::lists::{Paged as _, Place, Rows};
use crate::api::extract::{At, Query};
use crate::http::problem::{Problem, found};
use crate::ui::page::go;
use crate::ui::{Column, Columns, Flash, Link, Linked as _, RowButton, Table, sentence};
use domain::ids::SessionId;
use domain::role::Permission;
use domain::session::SessionState;
use domain::session_search::SessionSearch;
use services::people::views::{EndedSessionRow, SessionRow, SessionSurroundings};
use services::{Order, Page, PageRequest, ServiceError, Services, SessionFilter};

/// So many servers and hosts can be chosen from.
const CHOICES: u32 = 200;

/// What introduces the files.
const ENDS_ALL: &str = "A session that is ended may come back by itself. To shut somebody out, disable the user or revoke \
                        the profile. Download all sessions";
const ENDS_THAT_MATCH: &str = "A session that is ended may come back by itself. To shut somebody out, disable the user or \
                               revoke the profile. Download all that match";

/// The list.
#[derive(Template)]
#[template(path = "admin/sessions.html")]
pub(crate) struct Sessions<'a> {
    desk: &'a Desk,
    chosen: Chosen,
    /// What is wrong with the search.
    error: Option<String>,
    /// Nothing where the search could not be read.
    rows: Option<Rows>,
    columns: Columns,
    /// Whose sessions, where those of one user are shown.
    around: SessionSurroundings,
}

impl<'a> Sessions<'a> {
    /// The page of a choice, on which nothing is shown yet.
    pub(crate) fn new(desk: &'a Desk, chosen: Chosen, around: SessionSurroundings) -> Self {
        let column = if chosen.is_ended() { "ended" } else { "since" };
        let columns = Columns::at(&chosen.address(), column, true);
        Self { desk, chosen, error: None, rows: None, columns, around }
    }

    /// The same with live sessions.
    pub(crate) fn live(self, rows: &[SessionRow], place: Place) -> Self {
        let (desk, chosen, is_first) = (self.desk, &self.chosen, place.is_first);
        let end = |row: &SessionRow| {
            let fields = chosen.fields().into_iter().map(|(name, value)| (name, value.to_owned())).collect();
            let to = format!("{}/{}/end", Link::list::<SessionId>(), row.session.id);
            let label = Some(format!("End the session of {}", who_with(row)));
            RowButton { fields, label, ..RowButton::slim(to, desk.chrome.form_token(), "End") }.cell()
        };
        let mut columns = live_columns(desk);
        columns.push(Column::act(end).for_whom(desk.may(Permission::EndSessions)));
        let table = Table::in_order(&columns, Some(&self.columns), rows);
        let rows = if is_first && chosen.is_narrowed() {
            Rows::new(table, place)
                .or("Nobody is connected that way", "")
                .or_go(Link::list::<SessionId>(), "Show all sessions")
        } else {
            Rows::listed::<SessionRow>(table, place)
        };
        let lead = if chosen.is_narrowed() { ENDS_THAT_MATCH } else { ENDS_ALL };
        let rows = rows.with_files(lead, |file| chosen.under(Link::list::<SessionId>().and(file).as_str()));
        drop(columns);
        Self { rows: Some(rows), ..self }
    }

    /// The same with sessions that are over.
    pub(crate) fn ended(self, rows: &[EndedSessionRow], place: Place) -> Self {
        let table = Table::in_order(&ended_columns(self.desk), Some(&self.columns), rows);
        let (title, text) = match (place.is_first, self.chosen.is_narrowed()) {
            (false, _) => ("There are no more sessions", ""),
            (true, true) => {
                ("No such session is known", "Sessions are deleted when they have become old; the settings say when.")
            }
            (true, false) => {
                ("No session has ended yet", "What was a live session is shown here, until it is deleted at its age.")
            }
        };
        Self { rows: Some(Rows::new(table, place).or(title, text)), ..self }
    }

    /// The same with what is wrong with the search.
    pub(crate) fn refused(self, reason: &str) -> Self {
        Self { error: Some(sentence(&format!("The search {reason}"))), ..self }
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
        Err(ServiceError::Invalid { reason, .. }) => Ok(Wanted::Refused(reason.to_string())),
        Err(error) => Err(error.into()),
    }
}

enum Wanted {
    These(SessionFilter),
    /// What was named is not there.
    Nothing,
    Refused(String),
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, query: Query<Chosen>) -> Answer {
    let chosen = query.filter.clone();
    // What is over does not change, and each look at it is recorded: that page does not look by itself.
    if chosen.state == SessionState::Live {
        desk.live = SessionRow::TOPICS;
    }
    let wanted = wanted(&services, &desk, &chosen).await?;
    let around =
        services.people().session_surroundings(&desk.act, &chosen.filter()?, &PageRequest::first(CHOICES)).await?;
    let (state, request) = (chosen.state, query.page.clone());
    let usual = if state == SessionState::Live { Order::NEWEST } else { Order::ENDED };
    let columns = Columns::of(&query, Some(usual));
    let page = Sessions { columns, ..Sessions::new(&desk, chosen, around) };
    let page = match (wanted, state) {
        (Wanted::Refused(reason), _) => {
            return Ok(desk.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page.refused(&reason)));
        }
        (Wanted::Nothing, SessionState::Live) => page.live(&[], Place::of(&query, &Page::<SessionRow>::empty())),
        (Wanted::Nothing, SessionState::Ended) => page.ended(&[], Place::of(&query, &Page::<SessionRow>::empty())),
        (Wanted::These(filter), SessionState::Live) => {
            let request = PageRequest { order: request.order.or(Some(usual)), ..request };
            let found = services.people().session_rows(&desk.act, &filter, &request).await?;
            page.live(&found.items, Place::of(&query, &found))
        }
        (Wanted::These(filter), SessionState::Ended) => {
            let found = services.people().ended_session_rows(&desk.act, &filter, &request).await?;
            page.ended(&found.items, Place::of(&query, &found))
        }
    };
    Ok(desk.show(&page))
}

pub(crate) async fn end(At(id): At<SessionId>, Sent { services, desk, form }: Sent) -> Answer {
    let back = Chosen::of_form(&form);
    back.filter()?;
    // It may have ended by itself meanwhile: what was wanted.
    found(services.access().end_session(&desk.act, id).await)?;
    Ok(go(&desk.site, &back.address(), Some(Flash::SessionEnded)))
}
