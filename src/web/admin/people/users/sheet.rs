//! The sheet of one user, and what is done from it; and the page of a new one.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::admin::people::users::{
    form::{self, UserForm, described},
    list::state,
};
use crate::ui::topic::Topic;
use crate::{
    admin::{
        access::sessions::Chosen,
        commands::{Recipe, Recipes},
        context::Desk,
        evidence::history::{HistoryRow, history},
    },
    api::extract::At,
    http::problem::Problem,
    portal::profiles::chip,
    ui::{
        conflict::{Conflict, changed_by},
        fields::{FieldError, Fields, error_of},
        links::Link,
        page::Flash,
        parts::{Chip, When, bytes},
        table::{Cell, Column, RowButton, Table},
    },
};
use domain::{
    Revision,
    group::GroupId,
    ids::{ProfileId, SessionId, UserId},
    login::{Login, Surface},
    role::{Permission, Role},
};
use services::{
    ServiceError, Services,
    people::{
        self_service::{MyProfile, MyProfileStatus, MySession},
        users::UserPatch,
        views::UserSheet,
    },
};

/// The page of a new user.
#[derive(Template)]
#[template(path = "admin/user_new.html")]
pub(crate) struct NewUserPage<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) form: UserForm,
    pub(crate) errors: Vec<FieldError>,
}

impl NewUserPage<'_> {
    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn list() -> Link {
        Link::list::<UserId>()
    }
}

/// The sheet.
#[derive(Template)]
#[template(path = "admin/user.html")]
pub(crate) struct UserPage<'a> {
    pub(crate) desk: &'a Desk,
    facts: Facts,
    profiles: Table,
    sessions: Table,
    logins: Table,
    /// The servers for which there can be a profile: id and name.
    servers: Vec<(String, String)>,
    /// The name of the device in the form of a link.
    pub(crate) device: String,
    pub(crate) form: UserForm,
    /// What the form was filled from.
    revision: Revision,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) conflict: Option<Conflict>,
    history: Vec<HistoryRow>,
}

/// What is known of the user.
struct Facts {
    id: UserId,
    link: Link,
    name: String,
    chip: Chip,
    email: Option<String>,
    organization: Option<(Link, String)>,
    groups: Vec<(Link, String)>,
    role: &'static str,
    is_disabled: bool,
    has_account: bool,
    /// Whether who looks may change the user at all.
    is_within_reach: bool,
}

impl<'a> UserPage<'a> {
    /// The sheet as things are.
    pub(crate) fn of(desk: &'a Desk, sheet: UserSheet, form: UserForm, history: Vec<HistoryRow>) -> Self {
        let UserSheet { user, organization, servers, profiles, sessions, logins } = sheet;
        let (revision, user) = (user.rev, user.value);
        let reach = user.role == Role::User || desk.act.actor.may_change_role(user.role, user.role);
        let facts = Facts {
            id: user.id,
            link: Link::to(&user.id),
            name: user.name.to_string(),
            chip: state(user.disabled, !sessions.is_empty()),
            email: user.email.as_ref().map(ToString::to_string),
            organization: organization.map(|name| (Link::to(&user.organization_id), name.to_string())),
            groups: user.groups.iter().map(|name| (Link::to(&GroupId::from(name.clone())), name.to_string())).collect(),
            role: described(user.role),
            is_disabled: user.disabled,
            has_account: user.identity.is_some(),
            is_within_reach: reach,
        };
        Self {
            desk,
            profiles: profiles_of(desk, &facts, &profiles),
            sessions: sessions_of(desk, &facts, &sessions),
            logins: logins_of(desk, &logins),
            facts,
            servers: servers.into_iter().map(|(id, name)| (id.to_string(), name.to_string())).collect(),
            device: String::new(),
            form,
            revision,
            errors: Vec::new(),
            conflict: None,
            history,
        }
    }

    fn error(&self, field: &str) -> Option<&str> {
        error_of(&self.errors, field)
    }

    fn may_change(&self) -> bool {
        self.facts.is_within_reach && self.desk.may(Permission::ManageUsers)
    }

    /// Where the button leads that lets the user in or shuts the user out.
    fn switch(&self) -> Link {
        self.facts.link.and(if self.facts.is_disabled { "enable" } else { "disable" })
    }

    fn recipes(&self) -> Vec<Recipe> {
        Recipes::of_user(self.desk, self.facts.id, self.may_change().then_some(self.facts.is_disabled))
    }

    /// Where the user's sessions that are over are listed.
    fn ended(&self) -> String {
        Chosen::ended_of(self.facts.id).address()
    }

    fn may_end(&self) -> bool {
        self.desk.may(Permission::EndSessions)
    }

    fn may_read_trail(&self) -> bool {
        self.desk.may(Permission::ReadAudit)
    }

    fn list() -> Link {
        Link::list::<UserId>()
    }
}

fn profiles_of(desk: &Desk, user: &Facts, profiles: &[MyProfile]) -> Table {
    let last = |mine: &MyProfile| mine.profile.value.last_connected_at.map(|at| When::new(at, desk.now));
    let mut columns = vec![
        Column::name("Device", |mine: &MyProfile| Cell::text(&mine.profile.value.name)),
        Column::new("State", |mine| Cell::part(chip(mine, desk.now))),
        Column::broken("Server", |mine: &MyProfile| Cell::text(&mine.server_name)),
        Column::new("Last connected", |mine| Cell::part_or(last(mine), "Never")),
        Column::new("Works until", |mine: &MyProfile| Cell::part(When::new(mine.profile.value.expires_at, desk.now))),
    ];
    if user.is_within_reach && desk.may(Permission::ManageUsers) {
        columns.push(Column::act(|mine: &MyProfile| {
            if matches!(mine.status, MyProfileStatus::Revoked { .. } | MyProfileStatus::Expired) {
                return Cell::default();
            }
            let profile = &mine.profile.value;
            let to = format!("{}/profiles/{}/revoke", user.link, profile.id);
            let label = Some(format!("Revoke {} for good", profile.name));
            let button = RowButton::slim(to, desk.form_token(), "Revoke for good");
            RowButton { label, class: "button slim danger", ..button }.behind(&Cell::text("Revoke…"), None)
        }));
    }
    Table::new(&columns, profiles)
}

fn sessions_of(desk: &Desk, user: &Facts, sessions: &[MySession]) -> Table {
    let mut columns = vec![
        Column::name("Profile", |mine: &MySession| Cell::text(&mine.profile_name)),
        Column::new("Host", |mine: &MySession| Cell::text(&mine.host_name)),
        Column::new("Since", |mine: &MySession| Cell::part(When::new(mine.session.connected_at, desk.now))),
        Column::new("From", |mine: &MySession| Cell::mono(mine.session.remote_address.ip())),
        Column::number("Up", |mine: &MySession| bytes(mine.session.bytes_received)),
        Column::number("Down", |mine: &MySession| bytes(mine.session.bytes_sent)),
    ];
    if desk.may(Permission::EndSessions) {
        columns.push(Column::act(|mine: &MySession| {
            let to = format!("{}/sessions/{}/end", user.link, mine.session.id);
            let label = Some(format!("End the session of {}", mine.profile_name));
            RowButton { label, ..RowButton::slim(to, desk.form_token(), "End") }.cell()
        }));
    }
    Table::new(&columns, sessions)
}

fn logins_of(desk: &Desk, logins: &[Login]) -> Table {
    let surface = |login: &Login| match login.surface {
        Surface::Portal => "Portal",
        Surface::Console => "Console",
    };
    let columns = [
        Column::name("Browser", |login: &Login| Cell::text(&login.label)),
        Column::new("Where", |login| Cell::text(surface(login))),
        Column::new("Signed in", |login: &Login| Cell::part(When::new(login.since, desk.now))),
        Column::new("Last seen", |login: &Login| Cell::part(When::new(login.seen_at, desk.now))),
    ];
    Table::new(&columns, logins)
}

/// The sheet of a user, as it is now.
pub(crate) async fn page_of<'a>(services: &Services, desk: &'a Desk, id: UserId) -> Result<UserPage<'a>, Problem> {
    // It asks for much at once, and whoever waits for it need not hold all of that.
    let sheet = Box::pin(services.people().user_sheet(&desk.act, id)).await?;
    let organizations = form::organizations(services, desk).await?;
    let form = UserForm::of(desk, organizations, &sheet.user.value);
    Ok(UserPage::of(desk, sheet, form, history(services, desk, &id).await?))
}

pub(crate) async fn new(State(services): State<Services>, desk: Desk) -> Result<Response, Problem> {
    let form = UserForm::empty(&desk, form::organizations(&services, &desk).await?, Role::User);
    Ok(desk.show(&NewUserPage { desk: &desk, form, errors: Vec::new() }))
}

pub(crate) async fn create(
    State(services): State<Services>,
    desk: Desk,
    mut form: Fields,
) -> Result<Response, Problem> {
    let mut status = StatusCode::UNPROCESSABLE_ENTITY;
    if let Some(new) = form::new_user(&mut form) {
        match services.people().create_user(&desk.act, new).await {
            Ok(made) => return Ok(desk.go(&Link::to(&made.value.id), Flash::UserCreated)),
            Err(error) => status = form.refused(error)?,
        }
    }
    let empty = UserForm::empty(&desk, form::organizations(&services, &desk).await?, Role::User);
    let page = NewUserPage { desk: &desk, form: empty.typed(&form), errors: form.errors };
    Ok(desk.show_as(status, &page))
}

pub(crate) async fn show(
    State(services): State<Services>,
    mut desk: Desk,
    At(id): At<UserId>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Policy, Topic::Sessions];
    Ok(desk.show(&page_of(&services, &desk, id).await?))
}

pub(crate) async fn update(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = form.revision()?;
    let (mut status, mut is_stale) = (StatusCode::UNPROCESSABLE_ENTITY, false);
    if let Some(patch) = form::patch(&mut form) {
        match services.people().update_user(&desk.act, id, patch, Some(revision)).await {
            Ok(_) => return Ok(desk.go(&Link::to(&id), Flash::UserSaved)),
            Err(ServiceError::Stale { .. }) => (status, is_stale) = (StatusCode::CONFLICT, true),
            Err(error) => status = form.refused(error)?,
        }
    }
    let mut page = page_of(&services, &desk, id).await?;
    let there = page.form.clone();
    page.form = page.form.typed(&form);
    if is_stale {
        let by = changed_by(&services, &desk, &id).await?;
        page.conflict = Some(Conflict::of(by.as_ref(), &page.form.compared(&there), &desk));
    } else {
        // The form goes on from what it was filled from, so that a change in between is still noticed.
        page.revision = revision;
    }
    page.errors = form.errors;
    Ok(desk.show_as(status, &page))
}

pub(crate) async fn disable(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    form: Fields,
) -> Result<Response, Problem> {
    switched(&services, &desk, id, form, true).await
}

pub(crate) async fn enable(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    form: Fields,
) -> Result<Response, Problem> {
    switched(&services, &desk, id, form, false).await
}

async fn switched(
    services: &Services,
    desk: &Desk,
    id: UserId,
    mut form: Fields,
    disabled: bool,
) -> Result<Response, Problem> {
    let patch = UserPatch { disabled: Some(disabled), ..UserPatch::default() };
    match services.people().update_user(&desk.act, id, patch, None).await {
        Ok(_) => Ok(desk.go(&Link::to(&id), if disabled { Flash::UserDisabled } else { Flash::UserEnabled })),
        Err(error) => {
            let status = form.refused(error)?;
            let page = UserPage { errors: form.errors, ..page_of(services, desk, id).await? };
            Ok(desk.show_as(status, &page))
        }
    }
}

pub(crate) async fn delete(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    mut form: Fields,
) -> Result<Response, Problem> {
    let revision = form.revision()?;
    let status = match services.people().delete_user(&desk.act, id, Some(revision)).await {
        Ok(()) => return Ok(desk.go(&Link::list::<UserId>(), Flash::UserDeleted)),
        Err(ServiceError::Stale { .. }) => {
            let text = "The user was changed since you opened this page. Look again before you delete.";
            form.errors.push(FieldError::whole(text));
            StatusCode::CONFLICT
        }
        Err(error) => form.refused(error)?,
    };
    let page = UserPage { errors: form.errors, ..page_of(&services, &desk, id).await? };
    Ok(desk.show_as(status, &page))
}

pub(crate) async fn revoke(
    State(services): State<Services>,
    desk: Desk,
    At((user, profile)): At<(UserId, ProfileId)>,
    _form: Fields,
) -> Result<Response, Problem> {
    services.access().revoke_profile(&desk.act, profile, None).await?;
    Ok(desk.go(&Link::to(&user), Flash::ProfileRevoked))
}

pub(crate) async fn end_session(
    State(services): State<Services>,
    desk: Desk,
    At((user, session)): At<(UserId, SessionId)>,
    _form: Fields,
) -> Result<Response, Problem> {
    match services.access().end_session(&desk.act, session).await {
        // It ended by itself meanwhile: what was wanted.
        Ok(()) | Err(ServiceError::NotFound(_)) => Ok(desk.go(&Link::to(&user), Flash::SessionEnded)),
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn end_sessions(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    _form: Fields,
) -> Result<Response, Problem> {
    services.access().end_sessions_of(&desk.act, id).await?;
    Ok(desk.go(&Link::to(&id), Flash::SessionsEnded))
}

pub(crate) async fn end_logins(
    State(services): State<Services>,
    desk: Desk,
    At(id): At<UserId>,
    _form: Fields,
) -> Result<Response, Problem> {
    services.identity().end_logins_of(&desk.act, id).await?;
    Ok(desk.go(&Link::to(&id), Flash::UserSignedOut))
}
