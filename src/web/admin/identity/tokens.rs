//! API tokens: the list, a new one, one to revoke. The text of a token is in the answer that made it and nowhere else, so
//! that answer is a page of its own and no redirect.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use jiff::SignedDuration;

use crate::ui::topic::Topic;
use crate::{
    admin::context::Desk,
    ui::{
        fields::{FieldError, Fields, error_of},
        links::Link,
    },
};
use crate::{
    api::extract::{All, At, Query},
    http::problem::Problem,
    ui::{
        page::Flash,
        parts::{Chip, Icon, Tone, When},
    },
};
use domain::{
    ids::TokenId,
    role::{Permission, Role},
    text::Name,
    token::{ApiToken, TokenLifetime},
};
use services::{
    Page, ServiceError, Services,
    identity::tokens::{IssuedToken, NewToken},
};

/// The list.
#[derive(Template)]
#[template(path = "admin/tokens.html")]
pub(crate) struct Tokens<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Vec<Row>,
    pub(crate) is_first: bool,
    pub(crate) next: Option<String>,
}

/// One of the list.
pub(crate) struct Row {
    link: Link,
    name: String,
    role: Role,
    maker: String,
    expires: When,
    ends_soon: Option<Chip>,
    used: Option<When>,
    may_revoke: bool,
}

/// Who makes no new token in this time may find a program without one.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

impl<'a> Tokens<'a> {
    /// A page of the list; `makers` says who made each.
    pub(crate) fn new(
        desk: &'a Desk,
        page: Page<ApiToken>,
        makers: Vec<Option<String>>,
        is_first: bool,
        next: Option<String>,
    ) -> Self {
        let row = |(token, maker): (ApiToken, Option<String>)| Row {
            link: Link::to(&token.id),
            name: token.name.to_string(),
            role: token.role,
            maker: maker.unwrap_or_else(|| "Not recorded".to_owned()),
            expires: When::new(token.expires_at, desk.now),
            ends_soon: (token.expires_at < desk.now + SOON).then(|| Chip::new(Tone::Warn, Icon::Clock, "Ends soon")),
            used: token.last_used_at.map(|at| When::new(at, desk.now)),
            may_revoke: desk.may(Permission::ManageTokens) && desk.act.actor.may_grant(token.role),
        };
        Self { desk, rows: page.items.into_iter().zip(makers).map(row).collect(), is_first, next }
    }

    fn may_make(&self) -> bool {
        self.desk.may(Permission::ManageTokens)
    }

    /// Where the list is.
    fn list() -> Link {
        Link::list::<TokenId>()
    }
}

pub(crate) async fn list(
    State(services): State<Services>,
    mut desk: Desk,
    query: Query<All<TokenId>>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Tokens];
    let page = services.identity().tokens(&desk.act, &query.page).await?;
    let makers = services.identity().makers(&page.items).await?;
    let next = query.next(&page);
    Ok(desk.show(&Tokens::new(&desk, page, makers, query.is_first(), next)))
}

/// How long a new token may be good: days, and the words for them.
const LIVES: [(u32, &str); 4] = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "One year")];

/// A form for a new token.
#[derive(Template)]
#[template(path = "admin/token_new.html")]
pub(crate) struct TokenForm<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) days: String,
    pub(crate) errors: Vec<FieldError>,
}

/// A role that a token may have, and what it can do.
struct Choice {
    role: &'static str,
    about: &'static str,
    is_chosen: bool,
}

/// How long a token may be good.
struct Life {
    days: u32,
    words: &'static str,
    is_chosen: bool,
}

impl<'a> TokenForm<'a> {
    /// A form that nobody has touched.
    pub(crate) fn empty(desk: &'a Desk) -> Self {
        let role = Role::Auditor.as_str().to_owned();
        Self { desk, name: String::new(), role, days: "30".to_owned(), errors: Vec::new() }
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn lives(&self) -> Vec<Life> {
        let life = |(days, words): (u32, _)| Life { days, words, is_chosen: self.days == days.to_string() };
        LIVES.map(life).into()
    }

    /// Where the list is.
    fn list() -> Link {
        Link::list::<TokenId>()
    }

    /// The roles that the one who looks may hand out, the weakest first. A token without any right is of no use.
    fn choices(&self) -> Vec<Choice> {
        let useful = Role::ALL.into_iter().rev().filter(|role| *role != Role::User);
        let choice =
            |role: Role| Choice { role: role.as_str(), about: about(role), is_chosen: role.as_str() == self.role };
        useful.filter(|role| self.desk.act.actor.may_grant(*role)).map(choice).collect()
    }
}

fn about(role: Role) -> &'static str {
    match role {
        Role::Owner => "Everything, owners and admins included",
        Role::Admin => "Everything but owners and admins",
        Role::Operator => "Servers, hosts and sessions",
        Role::Helpdesk => "People, their profiles and sessions",
        Role::Auditor => "Reads everything, changes nothing",
        Role::User => "Nothing",
    }
}

pub(crate) async fn new(desk: Desk) -> Response {
    desk.show(&TokenForm::empty(&desk))
}

/// A token that was just made.
#[derive(Template)]
#[template(path = "admin/token_made.html")]
pub(crate) struct TokenMade<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) expires: When,
    pub(crate) text: String,
}

impl<'a> TokenMade<'a> {
    /// The page that shows it, once.
    pub(crate) fn new(desk: &'a Desk, issued: &IssuedToken) -> Self {
        let ApiToken { name, role, expires_at, .. } = &issued.token;
        let text = issued.text.expose().clone();
        Self { desk, name: name.to_string(), role: *role, expires: When::new(*expires_at, desk.now), text }
    }

    fn list() -> Link {
        Link::list::<TokenId>()
    }
}

pub(crate) async fn create(
    State(services): State<Services>,
    desk: Desk,
    mut form: Fields,
) -> Result<Response, Problem> {
    let mut status = StatusCode::UNPROCESSABLE_ENTITY;
    if let Some(new) = new_token(&mut form) {
        match services.identity().create_token(&desk.act, new).await {
            Ok(issued) => return Ok(desk.show_as(StatusCode::CREATED, &TokenMade::new(&desk, &issued))),
            Err(error) => status = form.refused(error)?,
        }
    }
    let text = |field| form.text(field).to_owned();
    let (name, role, days) = (text("name"), text("role"), text("days"));
    Ok(desk.show_as(status, &TokenForm { desk: &desk, name, role, days, errors: form.errors }))
}

fn new_token(form: &mut Fields) -> Option<NewToken> {
    let name: Option<Name> = form.parse("name", "The name");
    let role: Option<Role> = form.parse("role", "The role");
    let days: Option<u32> = form.parse("days", "The life");
    let life = days.and_then(|days| TokenLifetime::try_from(days.checked_mul(24 * 60 * 60)?).ok());
    if days.is_some() && life.is_none() {
        form.wrong("days", "The life must be between 1 and 366 days");
    }
    Some(NewToken { name: name?, role: role?, expires_in_seconds: life? })
}

pub(crate) async fn revoke(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<TokenId>,
    _: Fields,
) -> Result<Response, Problem> {
    match services.identity().revoke_token(&desk.act, id).await {
        // It is gone, whoever was quicker.
        Ok(()) | Err(ServiceError::NotFound(_)) => Ok(desk.go(&Link::list::<TokenId>(), Flash::TokenRevoked)),
        Err(error) => Err(error.into()),
    }
}
