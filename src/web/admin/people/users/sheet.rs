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
    profiles: Vec<ProfileRow>,
    sessions: Vec<SessionRow>,
    logins: Vec<LoginRow>,
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

struct ProfileRow {
    id: ProfileId,
    name: String,
    chip: Chip,
    server: String,
    used: Option<When>,
    expires: When,
    is_live: bool,
}

struct SessionRow {
    id: SessionId,
    profile: String,
    host: String,
    from: String,
    since: When,
    received: String,
    sent: String,
}

struct LoginRow {
    label: String,
    where_to: &'static str,
    since: When,
    seen: When,
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
            facts,
            profiles: profiles.iter().map(|mine| ProfileRow::new(mine, desk)).collect(),
            sessions: sessions.into_iter().map(|mine| SessionRow::new(mine, desk)).collect(),
            logins: logins.into_iter().map(|login| LoginRow::new(login, desk)).collect(),
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

impl ProfileRow {
    fn new(mine: &MyProfile, desk: &Desk) -> Self {
        let profile = &mine.profile.value;
        Self {
            id: profile.id,
            name: profile.name.to_string(),
            chip: chip(mine, desk.now),
            server: mine.server_name.to_string(),
            used: profile.last_connected_at.map(|at| When::new(at, desk.now)),
            expires: When::new(profile.expires_at, desk.now),
            is_live: !matches!(mine.status, MyProfileStatus::Revoked { .. } | MyProfileStatus::Expired),
        }
    }
}

impl SessionRow {
    fn new(mine: MySession, desk: &Desk) -> Self {
        let MySession { session, profile_name, host_name } = mine;
        Self {
            id: session.id,
            profile: profile_name.to_string(),
            host: host_name.to_string(),
            from: session.remote_address.ip().to_string(),
            since: When::new(session.connected_at, desk.now),
            received: bytes(session.bytes_received),
            sent: bytes(session.bytes_sent),
        }
    }
}

impl LoginRow {
    fn new(login: Login, desk: &Desk) -> Self {
        let where_to = match login.surface {
            Surface::Portal => "Portal",
            Surface::Console => "Console",
        };
        let (since, seen) = (When::new(login.since, desk.now), When::new(login.seen_at, desk.now));
        Self { label: login.label, where_to, since, seen }
    }
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
