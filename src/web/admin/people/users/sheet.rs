//! The sheet of one user, and what is done from it; and the page of a new one.

use askama::Template;

use crate::admin::access::sessions::Chosen;
use crate::admin::commands::{Recipe, Recipes};
use crate::admin::context::{Answer, Desk, Sent};
use crate::admin::evidence::history::{Change, history};
use crate::admin::nouns::{New, Noun, made};
use crate::admin::people::users::form;
use crate::admin::people::users::form::{UserForm, described};
use crate::admin::people::users::link_form::LinkForm;
use crate::admin::people::users::list::state;
use crate::api::extract::At;
use crate::http::problem::{Problem, found};
use crate::portal::profiles::chip;
use crate::ui::{
    Again, Cell, Chip, Choice, Column, Fields, Flash, FormView, Link, Linked as _, RowButton, Table, Topic, When, bytes,
};
use domain::group::GroupId;
use domain::ids::{OrganizationId, ProfileId, SessionId, UserId};
use domain::login::{Login, Surface};
use domain::role::Permission;
use domain::text::{GroupName, Name};
use domain::user::User;
use domain::{Revised, Revision};
use services::Services;
use services::people::self_service::{MyProfile, MyProfileStatus, MySession};
use services::people::users::UserPatch;
use services::people::views::UserSheet;

impl New for UserId {
    const TITLE: &'static str = "New user";
    const BUTTON: &'static str = "Create user";
    const BACK: (&'static str, &'static str) = (Self::LIST, "Users");

    async fn form(services: &Services, desk: &Desk) -> Result<FormView, Problem> {
        let organizations = services.network().organization_choices(&desk.act).await?;
        Ok(form::fresh(desk, &organizations))
    }
}

/// The sheet.
#[derive(Template)]
#[template(path = "admin/user.html")]
pub(crate) struct UserPage<'a> {
    pub(crate) desk: &'a Desk,
    user: User,
    chip: Chip,
    organization: Option<Name>,
    profiles: Table,
    sessions: Table,
    logins: Table,
    /// The servers for which there can be a profile.
    servers: Vec<Choice>,
    pub(crate) form: FormView,
    /// The form of a one-time link.
    pub(crate) link: FormView,
    revision: Revision,
    history: Vec<Change>,
}

impl<'a> UserPage<'a> {
    /// The sheet as things are.
    pub(crate) fn of(
        desk: &'a Desk,
        sheet: UserSheet,
        organizations: &[(OrganizationId, Name)],
        history: Vec<Change>,
    ) -> Self {
        let UserSheet { user, organization, servers, profiles, sessions, logins } = sheet;
        let (revision, user) = (user.rev, user.value);
        let form =
            FormView::filled(&desk.chrome, UserForm::FIELDS, UserForm::fill(&user), (revision, Link::to(&user.id)));
        let servers = Choice::all(servers);
        Self {
            desk,
            chip: state(user.disabled, !sessions.is_empty()),
            organization,
            profiles: profiles_of(desk, &user, &profiles),
            sessions: sessions_of(desk, &user, &sessions),
            logins: logins_of(desk, &logins),
            form: form::with_choices(form, desk, organizations, user.role),
            link: FormView::fresh(&desk.chrome, LinkForm::FIELDS).choices("server_id", servers.clone()),
            user,
            servers,
            revision,
            history,
        }
    }

    fn group(name: &GroupName) -> Link {
        Link::to(&GroupId::from(name.clone()))
    }

    fn may_change(&self) -> bool {
        may_change(self.desk, &self.user)
    }

    /// Where the button leads that lets the user in or shuts the user out.
    fn switch(&self) -> Link {
        Link::to(&self.user.id).and(if self.user.disabled { "enable" } else { "disable" })
    }

    fn recipes(&self) -> Vec<Recipe> {
        Recipes::of_user(self.desk, self.user.id, self.may_change().then_some(self.user.disabled))
    }

    /// Where the user's sessions that are over are listed.
    fn ended(&self) -> String {
        Chosen::ended_of(self.user.id).address()
    }
}

/// Whether who looks may change a user and the user's profiles: not every role may be given or taken by everybody.
fn may_change(desk: &Desk, user: &User) -> bool {
    desk.act.actor.may_manage(user.role) && desk.may(Permission::ManageUsers)
}

fn profiles_of(desk: &Desk, user: &User, profiles: &[MyProfile]) -> Table {
    let last = |mine: &MyProfile| mine.profile.value.last_connected_at.map(|at| When::new(at, desk.now));
    let revoke = |mine: &MyProfile| {
        if matches!(mine.status, MyProfileStatus::Revoked { .. } | MyProfileStatus::Expired) {
            return Cell::default();
        }
        let profile = &mine.profile.value;
        let to = format!("{}/profiles/{}/revoke", Link::to(&user.id), profile.id);
        let label = Some(format!("Revoke {} for good", profile.name));
        let button = RowButton::slim(to, desk.chrome.form_token(), "Revoke for good");
        RowButton { label, class: "button slim danger", ..button }.behind(&Cell::text("Revoke…"), None)
    };
    let columns = [
        Column::name("Device", |mine: &MyProfile| Cell::text(&mine.profile.value.name)),
        Column::new("State", |mine| Cell::part(chip(mine, desk.now))),
        Column::broken("Server", |mine: &MyProfile| Cell::text(&mine.server_name)),
        Column::new("Last connected", |mine| Cell::part_or(last(mine), "Never")),
        Column::new("Works until", |mine: &MyProfile| Cell::part(When::new(mine.profile.value.expires_at, desk.now))),
        Column::act(revoke).for_whom(may_change(desk, user)),
    ];
    Table::new(&columns, profiles)
}

fn sessions_of(desk: &Desk, user: &User, sessions: &[MySession]) -> Table {
    let end = |mine: &MySession| {
        let to = format!("{}/sessions/{}/end", Link::to(&user.id), mine.session.id);
        let label = Some(format!("End the session of {}", mine.profile_name));
        RowButton { label, ..RowButton::slim(to, desk.chrome.form_token(), "End") }.cell()
    };
    let columns = [
        Column::name("Profile", |mine: &MySession| Cell::text(&mine.profile_name)),
        Column::new("Host", |mine: &MySession| Cell::text(&mine.host_name)),
        Column::new("Since", |mine: &MySession| Cell::part(When::new(mine.session.connected_at, desk.now))),
        Column::new("From", |mine: &MySession| Cell::mono(mine.session.remote_address.ip())),
        Column::number("Received", |mine: &MySession| bytes(mine.session.bytes_received)),
        Column::number("Sent", |mine: &MySession| bytes(mine.session.bytes_sent)),
        Column::act(end).for_whom(desk.may(Permission::EndSessions)),
    ];
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

impl Noun for UserId {
    type Page<'a> = UserPage<'a>;
    const TOPICS: &'static [Topic] = &[Topic::Policy, Topic::Sessions];

    async fn page<'a>(&self, services: &Services, desk: &'a Desk) -> Result<UserPage<'a>, Problem> {
        // It asks for much at once, and whoever waits for it need not hold all of that.
        let sheet = Box::pin(services.people().user_sheet(&desk.act, *self)).await?;
        let organizations = services.network().organization_choices(&desk.act).await?;
        Ok(UserPage::of(desk, sheet, &organizations, history(services, desk, self).await?))
    }

    fn form<'p>(page: &'p mut UserPage<'_>, again: &Again) -> &'p mut FormView {
        if again.is_of(LinkForm::FIELDS) { &mut page.link } else { &mut page.form }
    }
}

pub(crate) async fn create(Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = UserForm::read(&mut form).map(|new| services.people().create_user(&desk.act, new));
    let submitted = form.submit(doing).await?;
    let to = |desk: Desk, made: Revised<User>| desk.go(&Link::to(&made.value.id), Flash::UserCreated);
    made::<UserId, _>(submitted, &services, desk, to).await
}

pub(crate) async fn update(At(id): At<UserId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let patch = UserForm::read(&mut form).map(|new| UserPatch { disabled: None, ..UserPatch::from(new) });
    let doing = patch.map(|patch| services.people().update_user(&desk.act, id, patch, revision));
    let saved = form.submit(doing).await?;
    id.after(saved, &services, desk, |desk, _| desk.go(&Link::to(&id), Flash::UserSaved)).await
}

pub(crate) async fn disable(At(id): At<UserId>, Sent { services, desk, form }: Sent) -> Answer {
    switched(&services, desk, id, form, true).await
}

pub(crate) async fn enable(At(id): At<UserId>, Sent { services, desk, form }: Sent) -> Answer {
    switched(&services, desk, id, form, false).await
}

async fn switched(services: &Services, desk: Desk, id: UserId, form: Fields, disabled: bool) -> Answer {
    let patch = UserPatch { disabled: Some(disabled), ..UserPatch::default() };
    let switched = form.submit(Some(services.people().update_user(&desk.act, id, patch, None))).await?;
    let flash = if disabled { Flash::UserDisabled } else { Flash::UserEnabled };
    id.after(switched, services, desk, |desk, _| desk.go(&Link::to(&id), flash)).await
}

pub(crate) async fn delete(At(id): At<UserId>, Sent { services, desk, form }: Sent) -> Answer {
    let revision = Some(form.revision()?);
    let deleted = form.submit(Some(services.people().delete_user(&desk.act, id, revision))).await?;
    id.after(deleted, &services, desk, |desk, ()| desk.go(&Link::list::<UserId>(), Flash::UserDeleted)).await
}

pub(crate) async fn revoke(At((user, profile)): At<(UserId, ProfileId)>, Sent { services, desk, .. }: Sent) -> Answer {
    services.access().revoke_profile(&desk.act, profile, None).await?;
    Ok(desk.go(&Link::to(&user), Flash::ProfileRevoked))
}

pub(crate) async fn end_session(
    At((user, session)): At<(UserId, SessionId)>,
    Sent { services, desk, .. }: Sent,
) -> Answer {
    // It may have ended by itself meanwhile: what was wanted.
    found(services.access().end_session(&desk.act, session).await)?;
    Ok(desk.go(&Link::to(&user), Flash::SessionEnded))
}

pub(crate) async fn end_sessions(At(id): At<UserId>, Sent { services, desk, .. }: Sent) -> Answer {
    services.access().end_sessions_of(&desk.act, id).await?;
    Ok(desk.go(&Link::to(&id), Flash::SessionsEnded))
}

pub(crate) async fn end_logins(At(id): At<UserId>, Sent { services, desk, .. }: Sent) -> Answer {
    services.identity().end_logins_of(&desk.act, id).await?;
    Ok(desk.go(&Link::to(&id), Flash::UserSignedOut))
}
