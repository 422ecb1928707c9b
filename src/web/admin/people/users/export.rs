//! The list of users as a file: everybody whom the search of the page finds, in the order of the page.

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use crate::admin::people::users::list::Searched;
use crate::{
    admin::context::Desk,
    api::extract::Query,
    http::problem::Problem,
    ui::export::{AllRows, FileKind, Sheet},
};
use domain::search::UserSearch;
use services::{Services, UserFilter, people::views::UserRow};

pub(crate) async fn export<K: FileKind>(
    State(services): State<Services>,
    desk: Desk,
    query: Query<Searched>,
) -> Result<Response, Problem> {
    let search: UserSearch =
        query.filter.text().parse().map_err(|error| Problem::parameter("q", format!("{error}")))?;
    let filter = UserFilter { search, ..UserFilter::default() };
    let mut all = AllRows::new(query.page.order);
    while let Some(page) = all.next() {
        all.take(services.people().user_rows(&desk.act, &filter, &page).await?, &page);
    }
    let rows = all.found.into_iter().map(record).collect();
    let columns = ["name", "email", "groups", "role", "organization", "state"];
    Sheet { name: "users", columns, rows }.file::<K>()
}

fn record(row: UserRow) -> [Value; 6] {
    let user = row.user.value;
    let state = if user.disabled { "disabled" } else { "enabled" };
    [json!(user.name), json!(user.email), json!(user.groups), json!(user.role), json!(row.organization), json!(state)]
}
