//! The list of users. The state of the search is in the address of the page.

use askama::Template;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::admin::context::{Answer, Desk, Opened};
use crate::admin::lists::{ExportField, List, PageOf, Paged, Place, Rows};
use crate::api::extract::{Filter, Query, Sort};
use crate::http::problem::Problem;
use crate::ui::{Cell, Chip, Column, Columns, Icon, Link, Linked as _, Table, Tone, Topic, sentence};
use domain::ids::UserId;
use domain::search::UserSearch;
use domain::text::GroupName;
use services::people::views::UserRow;
use services::{Order, OrderBy, PageRequest, Services, UserFilter};

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
    columns: Columns,
    rows: Option<Rows>,
}

impl<'a> UserList<'a> {
    /// A list before anything is found.
    pub(crate) fn new(desk: &'a Desk, q: &str, columns: Columns) -> Self {
        Self { desk, q: q.to_owned(), error: None, columns, rows: None }
    }

    /// The same with rows.
    pub(crate) fn with(self, rows: &[UserRow], place: Place) -> Self {
        let (is_first, q) = (place.is_first, &self.q);
        let rows = if q.is_empty() || !is_first {
            Rows::of(self.desk, rows, &self.columns, place)
        } else {
            let table = Table::in_order(&UserRow::columns(self.desk), Some(&self.columns), rows);
            let nobody = format!("Nobody fits all parts of “{q}”.");
            Rows::new(table, place).or("No user matches", nobody).or_go(Link::list::<UserId>(), "Show all users")
        };
        let lead = if q.is_empty() { "Download all users" } else { "Download all that match" };
        let rows = rows.with_files(lead, |file| self.export(file));
        Self { rows: Some(rows), ..self }
    }

    /// The same with what is wrong with the search.
    pub(crate) fn refused(self, reason: &str) -> Self {
        Self { error: Some(sentence(&format!("The search {reason}"))), ..self }
    }

    /// Where the files of the same users are.
    fn export(&self, file: &'static str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &self.q).extend_pairs(self.columns.word().map(|word| ("sort", word)));
        format!("{}?{}", Link::list::<UserId>().and(file), query.finish())
    }
}

impl List for UserRow {
    type Id = UserId;
    const TITLE: &'static str = "Users";
    const EMPTY: [&'static str; 3] = [
        "There is no user yet",
        "There are no more users",
        "A user is a person, or a machine that connects on its own. Whoever signs in for the first time is added here, \
         if you let newcomers in.",
    ];
    const FILE: &'static str = "users";
    const FIELDS: &'static [ExportField<Self>] = &[
        ("name", |row| json!(row.user.value.name)),
        ("email", |row| json!(row.user.value.email)),
        ("groups", |row| json!(row.user.value.groups)),
        ("role", |row| json!(row.user.value.role)),
        ("organization", |row| json!(row.organization)),
        ("state", |row| json!(if row.user.value.disabled { "disabled" } else { "enabled" })),
    ];

    fn columns(_: &Desk) -> Vec<Column<'_, Self>> {
        let groups = |row: &Self| row.user.value.groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(", ");
        let mut columns = person_columns();
        let organization = columns.pop();
        columns
            .insert(1, Column::new("State", |row: &Self| Cell::part(state(row.user.value.disabled, row.sessions > 0))));
        columns.push(Column::broken("Groups", move |row| Cell::or_dash(&groups(row))));
        columns.push(Column::new("Role", |row: &Self| Cell::word(row.user.value.role.as_str())));
        columns.extend(organization);
        columns
    }
}

impl Paged for UserRow {
    type Filter = Searched;
    const TOPICS: &'static [Topic] = &[Topic::Policy, Topic::Sessions];

    async fn page(services: &Services, desk: &Desk, filter: &Self::Filter, request: &PageRequest) -> PageOf<Self> {
        let search = filter.text().parse::<UserSearch>().map_err(|error| Problem::parameter("q", error.to_string()))?;
        let filter = UserFilter { search, ..UserFilter::default() };
        Ok(services.people().user_rows(&desk.act, &filter, request).await?)
    }
}

/// Who somebody is: name, address, organization.
pub(crate) fn person_columns<'a>() -> Vec<Column<'a, UserRow>> {
    let user = |row: &UserRow| Cell::link(Link::to(&row.user.value.id), &row.user.value.name);
    let organization = |row: &UserRow| row.organization.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![
        Column::name("Name", user).ordered("name"),
        Column::broken("E-mail address", |row: &UserRow| Cell::given(row.user.value.email.as_ref())).ordered("email"),
        Column::broken("Organization", move |row| Cell::text(organization(row))),
    ]
}

/// How a user stands.
pub(crate) fn state(is_disabled: bool, is_connected: bool) -> Chip {
    match (is_disabled, is_connected) {
        (true, _) => Chip::bad("Disabled"),
        (false, true) => Chip::new(Tone::Good, Icon::Link, "Connected"),
        (false, false) => Chip::calm("Not connected"),
    }
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, query: Query<Searched>) -> Answer {
    desk.live = UserRow::TOPICS;
    let list = UserList::new(&desk, query.filter.text(), Columns::of(&query, None));
    if let Err(error) = query.filter.text().parse::<UserSearch>() {
        return Ok(desk.show_as(StatusCode::UNPROCESSABLE_ENTITY, &list.refused(&error.to_string())));
    }
    let page = UserRow::page(&services, &desk, &query.filter, &query.page).await?;
    let place = Place::of(&query, &page);
    Ok(desk.show(&list.with(&page.items, place)))
}
