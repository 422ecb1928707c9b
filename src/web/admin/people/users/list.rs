//! The list of users. The state of the search is in the address of the page.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::ui::topic::Topic;
use crate::{
    admin::context::Desk,
    api::extract::{Filter, Query, Sort},
    http::problem::Problem,
    portal::sentence,
    ui::{
        columns::Columns,
        links::Link,
        parts::{Chip, Icon, Tone},
    },
};
use domain::{
    ids::UserId,
    role::{Permission, Role},
    search::UserSearch,
};
use services::{Order, OrderBy, Page, Services, UserFilter, people::views::UserRow};

/// What was searched for, as it was typed: a mistake in it is shown on the page.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Searched {
    #[serde(default)]
    q: String,
}

impl Searched {
    /// The search, as it was typed.
    pub(crate) fn text(&self) -> &str {
        self.q.trim()
    }
}

impl Filter for Searched {
    type Id = UserId;
    const SORTS: &'static [Sort] = &[("name", OrderBy::Name), ("email", OrderBy::Email), ("created", OrderBy::Created)];
    const USUAL: Option<Order> = Some(Order::NAME);
}

/// The list.
#[derive(Template)]
#[template(path = "admin/users.html")]
pub(crate) struct UserList<'a> {
    desk: &'a Desk,
    /// What stands in the search field.
    q: String,
    /// What is wrong with it.
    error: Option<String>,
    rows: Vec<Row>,
    columns: Columns,
    is_first: bool,
    /// Where the first page is.
    first: String,
    next: Option<String>,
}

struct Row {
    link: Link,
    name: String,
    chip: Chip,
    email: Option<String>,
    groups: String,
    role: Role,
    organization: String,
}

impl<'a> UserList<'a> {
    /// A list that found nothing yet.
    pub(crate) fn new(desk: &'a Desk, q: &str) -> Self {
        let first = Link::list::<UserId>().as_str().to_owned();
        let columns = Columns::at(&first, "name", false);
        Self { desk, q: q.to_owned(), error: None, rows: Vec::new(), columns, is_first: true, first, next: None }
    }

    /// The same with a page of rows.
    pub(crate) fn with(self, page: Page<UserRow>, next: Option<String>) -> Self {
        Self { rows: page.items.into_iter().map(Row::new).collect(), next, ..self }
    }

    /// The same with what is wrong with the search.
    pub(crate) fn refused(self, reason: &str) -> Self {
        Self { error: Some(sentence(&format!("The search {reason}"))), ..self }
    }

    fn may_make(&self) -> bool {
        self.desk.may(Permission::ManageUsers)
    }

    fn list() -> Link {
        Link::list::<UserId>()
    }

    /// Where the files of the same users are.
    fn export(&self, file: &'static str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &self.q).extend_pairs(self.columns.word().map(|word| ("sort", word)));
        format!("{}?{}", Self::list().and(file), query.finish())
    }
}

impl Row {
    fn new(row: UserRow) -> Self {
        let UserRow { user, organization, sessions } = row;
        let user = user.value;
        let groups: Vec<&str> = user.groups.iter().map(domain::text::GroupName::as_str).collect();
        Self {
            link: Link::to(&user.id),
            name: user.name.to_string(),
            chip: state(user.disabled, sessions > 0),
            email: user.email.as_ref().map(ToString::to_string),
            groups: groups.join(", "),
            role: user.role,
            organization: organization.map_or_else(String::new, |name| name.to_string()),
        }
    }
}

/// How a user stands.
pub(crate) fn state(is_disabled: bool, is_connected: bool) -> Chip {
    match (is_disabled, is_connected) {
        (true, _) => Chip::new(Tone::Bad, Icon::Cross, "Disabled"),
        (false, true) => Chip::new(Tone::Good, Icon::Link, "Connected"),
        (false, false) => Chip::new(Tone::Calm, Icon::Ring, "Not connected"),
    }
}

pub(crate) async fn list(
    State(services): State<Services>,
    mut desk: Desk,
    query: Query<Searched>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Policy, Topic::Sessions];
    let q = query.filter.text();
    let search = match q.parse::<UserSearch>() {
        Ok(search) => search,
        Err(error) => {
            let page = UserList::new(&desk, q).refused(&error.to_string());
            return Ok(desk.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page));
        }
    };
    let page =
        services.people().user_rows(&desk.act, &UserFilter { search, ..UserFilter::default() }, &query.page).await?;
    let next = query.next(&page);
    let list = UserList {
        columns: Columns::of(&query, None),
        is_first: query.is_first(),
        first: query.first().to_owned(),
        ..UserList::new(&desk, q)
    };
    Ok(desk.show(&list.with(page, next)))
}
