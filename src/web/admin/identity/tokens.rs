//! API tokens: the list, a new one, one to revoke. The text of a token is in the answer that made it and nowhere else, so
//! that answer is a page of its own and no redirect.

use askama::Template;
use axum::http::StatusCode;
use jiff::SignedDuration;

use crate::admin::context::{Answer, Desk, Sent};
use crate::admin::lists::{List, PageOf, Paged};
use crate::admin::nouns::{New, made};
use crate::api::extract::{All, At};
use crate::http::problem::{Problem, found};
use crate::ui::form::form;
use crate::ui::input::Line;
use crate::ui::{
    Cell, Chip, Choice, Column, Field, Flash, FormView, Icon, Link, Linked as _, RowButton, Tone, Topic, When,
};
use domain::ids::TokenId;
use domain::role::{Permission, Role};
use domain::token::{ApiToken, TokenLifetime};
use services::identity::tokens::{IssuedToken, NewToken, TokenPeople};
use services::{Page, PageRequest, Services};

/// A token of the list, and its people.
pub(crate) struct TokenRow {
    /// The token.
    pub(crate) token: ApiToken,
    /// Who made it, and whom it belongs to.
    pub(crate) people: TokenPeople,
}

/// Who makes no new token in this time may find a program without one.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

impl List for TokenRow {
    type Id = TokenId;
    const TITLE: &'static str = "API tokens";
    const LEAD: &'static str =
        "A program shows its token to use the API or the command line. Only a hash of it is stored.";
    const MAKE: Option<(Permission, &'static str)> = Some((Permission::ManageTokens, "New token"));
    const EMPTY: [&'static str; 3] = [
        "There is no API token",
        "There are no more API tokens",
        "Make one for each program that is to use the API, with the weakest role that does for it.",
    ];

    fn columns(desk: &Desk) -> Vec<Column<'_, Self>> {
        let used = |row: &Self| Cell::part_or(row.token.last_used_at.map(|at| When::new(at, desk.now)), "Never");
        let ends = |row: &Self| {
            let soon = row.token.expires_at < desk.now + SOON;
            let soon = soon.then(|| Cell::part(Chip::new(Tone::Warn, Icon::Clock, "Expires soon")));
            Cell::part(When::new(row.token.expires_at, desk.now)).and(soon)
        };
        let revoke = |row: &Self| {
            if !desk.may(Permission::ManageTokens) || !desk.act.actor.may_grant(row.token.role) {
                return Cell::default();
            }
            let name = Cell::text(format!(" “{}”", row.token.name)).within("span", "unseen");
            let summary = Cell::text("Revoke").then(name).then(Cell::text("…"));
            let to = Link::to(&row.token.id).and("revoke").to_string();
            RowButton { class: "button danger slim", ..RowButton::slim(to, desk.chrome.form_token(), "Revoke token") }
                .behind(&summary, Some("The next request with it is refused."))
        };
        vec![
            Column::name("Name", |row: &Self| Cell::strong(&row.token.name)),
            Column::new("Role", |row: &Self| Cell::word(row.token.role.as_str())),
            Column::broken("Belongs to", |row: &Self| {
                Cell::text(row.people.owner.as_deref().unwrap_or("Nobody (service)"))
            }),
            Column::broken("Made by", |row: &Self| Cell::text(row.people.maker.as_deref().unwrap_or("Not recorded"))),
            Column::new("Last used", used),
            Column::new("Ends", ends),
            Column::act(revoke),
        ]
    }
}

impl Paged for TokenRow {
    type Filter = All<TokenId>;
    const TOPICS: &'static [Topic] = &[Topic::Tokens];

    async fn page(services: &Services, desk: &Desk, _: &Self::Filter, request: &PageRequest) -> PageOf<Self> {
        let Page { items, next, count } = services.identity().tokens(&desk.act, request).await?;
        let people = services.identity().people_of(&items).await?;
        let items = items.into_iter().zip(people).map(|(token, people)| Self { token, people }).collect();
        Ok(Page { items, next, count })
    }
}

/// How long a new token may be good: days, and the words for them.
const LIVES: [(u32, &str); 4] = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "One year")];

form! {
    /// The form of a new token.
    NewTokenForm {
        name: Field::name("Name").hint_below("Which program it is for, such as “Terraform” or “Nightly backup”.");
        role: Field::radios("What may the program do?").subject("The role").initial("auditor");
        days: Field::select("How long is it good?").subject("The life").initial("30");
        owner: Field::select("Whom does it belong to?").subject("The owner").initial("maker");
    } fields => NewToken {
        let (Life(expires_in_seconds), owner): (Life, Option<Service>) = (days, owner);
        let service = owner.is_some_and(|Service(service)| service);
        Some(NewToken { name, role, expires_in_seconds, service })
    }
}

/// A life in whole days.
struct Life(TokenLifetime);

impl Line for Life {
    fn line(text: &str) -> Result<Self, String> {
        let seconds = u32::line(text)?.checked_mul(24 * 60 * 60);
        let life = seconds.and_then(|seconds| TokenLifetime::try_from(seconds).ok());
        life.map(Self).ok_or_else(|| "must be between 1 and 366 days".to_owned())
    }
}

/// Whom a token belongs to, and whether that is nobody.
const OWNERS: [(&str, &str); 2] =
    [("maker", "You: it ends with your rights"), ("nobody", "Nobody: a service token, which stays when you leave")];

/// Whether a token belongs to nobody.
struct Service(bool);

impl Line for Service {
    fn line(text: &str) -> Result<Self, String> {
        let at = OWNERS.iter().position(|(owner, _)| *owner == text);
        at.map(|at| Self(at > 0)).ok_or_else(|| "must be one of those below".to_owned())
    }
}

impl New for TokenId {
    const TITLE: &'static str = "New API token";
    const BUTTON: &'static str = "Create token";
    const BACK: (&'static str, &'static str) = (Self::LIST, TokenRow::TITLE);

    async fn form(_: &Services, desk: &Desk) -> Result<FormView, Problem> {
        Ok(form(desk))
    }
}

/// A form that nobody has touched. The roles are those that the one who looks may hand out, the weakest first; a token
/// without any right is of no use.
pub(crate) fn form(desk: &Desk) -> FormView {
    let useful = Role::ALL.into_iter().rev().filter(|role| *role != Role::User);
    let roles = useful.filter(|role| desk.act.actor.may_grant(*role));
    let roles = roles.map(|role| Choice::new(role.as_str(), role.as_str()).about(about(role)));
    let form = FormView::fresh(&desk.chrome, NewTokenForm::FIELDS);
    let owners = OWNERS.into_iter().take(if desk.act.actor.may_grant(Role::Owner) { 2 } else { 1 });
    form.choices("role", roles.collect()).choices("days", Choice::all(LIVES)).choices("owner", Choice::all(owners))
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
}

pub(crate) async fn create(Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = NewTokenForm::read(&mut form).map(|new| services.identity().create_token(&desk.act, new));
    let submitted = form.submit(doing).await?;
    let shown = |desk: Desk, issued| desk.show_as(StatusCode::CREATED, &TokenMade::new(&desk, &issued));
    made::<TokenId, _>(submitted, &services, desk, shown).await
}

pub(crate) async fn revoke(At(id): At<TokenId>, Sent { services, desk, .. }: Sent) -> Answer {
    // It is gone, whoever was quicker.
    found(services.identity().revoke_token(&desk.act, id).await)?;
    Ok(desk.go(&TokenRow::link(), Flash::TokenRevoked))
}
