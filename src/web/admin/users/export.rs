//! The list of users as a file for spreadsheets: everybody whom the search of the page finds.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use super::list::Searched;
use crate::{
    domain::{search::UserSearch, text::GroupName},
    services::{PageRequest, Services, UserFilter, people::UserRow},
    web::{
        admin::desk::Desk,
        extract::Query,
        problem::{Code, Problem},
    },
};

/// So many users are read at a time.
const AT_ONCE: u32 = 1_000;

pub(in crate::web::admin) async fn export(
    State(services): State<Services>,
    desk: Desk,
    query: Query<Searched>,
) -> Result<Response, Problem> {
    let search: UserSearch =
        query.filter.text().parse().map_err(|error| Problem::parameter("q", format!("{error}")))?;
    let filter = UserFilter { search, ..UserFilter::default() };
    let mut file = csv::Writer::from_writer(Vec::new());
    let unwritable = |_error: csv::Error| Problem::new(Code::Internal, "the list could not be written");
    file.write_record(["name", "email", "groups", "role", "organization", "state"]).map_err(unwritable)?;
    let mut page = PageRequest { limit: AT_ONCE, after: None, count: false };
    loop {
        let rows = services.user_rows(&desk.act, &filter, &page).await?;
        for row in rows.items {
            file.write_record(record(row)).map_err(unwritable)?;
        }
        let Some(next) = rows.next else { break };
        page.after = Some(next);
    }
    let bytes = file.into_inner().map_err(|_error| Problem::new(Code::Internal, "the list could not be written"))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"users.csv\"")),
    ];
    Ok((headers, bytes).into_response())
}

fn record(row: UserRow) -> [String; 6] {
    let user = row.user.value;
    let groups: Vec<&str> = user.groups.iter().map(GroupName::as_str).collect();
    [
        user.name.to_string(),
        user.email.as_ref().map_or_else(String::new, ToString::to_string),
        groups.join(";"),
        user.role.as_str().to_owned(),
        row.organization.map_or_else(String::new, |name| name.to_string()),
        if user.disabled { "disabled" } else { "enabled" }.to_owned(),
    ]
    .map(crate::domain::text::harmless)
}
