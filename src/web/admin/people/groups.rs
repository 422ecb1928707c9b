//! Groups: the list, a new one, and the page of one with its people.

use std::collections::BTreeSet;

use askama::Template;
use serde::Deserialize;
use serde_json::json;

use crate::admin::commands::{Recipe, Recipes};
use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::evidence::history::{Change, history};
use crate::admin::lists::{ExportField, List, ListPage, Place, file};
use crate::admin::nouns::{New, Noun, made};
use crate::admin::people::users::list::person_columns;
use crate::api::extract::{At, Parameters};
use crate::http::problem::{Problem, found};
use crate::ui::export::FileKind;
use crate::ui::form::form;
use crate::ui::input::one;
use crate::ui::{Again, Cell, Column, Columns, Field, Flash, FormView, Link, Linked as _, RowButton, Table, Topic};
use domain::group::{Group, GroupId};
use domain::ids::UserId;
use domain::role::Permission;
use domain::search::{UserSearch, fold, quoted};
use domain::text::{Email, GroupName};
use domain::user::User;
use services::people::groups::Membership;
use services::people::views::UserRow;
use services::{InvalidReason, Page, PageRequest, ServiceError, Services, UserFilter};

/// So many people of a group are shown on its page; the list of users shows all.
const SHOWN: u32 = 50;

impl List for Group {
    type Id = GroupId;
    const TITLE: &'static str = "Groups";
    const MAKE: Option<(Permission, &'static str)> = Some((Permission::ManageUsers, "New group"));
    const EMPTY: [&'static str; 3] = [
        "There is no group yet",
        "There are no more groups",
        "A group is a name that users carry. A server can be open to some groups only, instead of to everybody in an \
         organization.",
    ];
    const FILE: &'static str = "groups";
    const FIELDS: &'static [ExportField<Self>] = &[
        ("name", |group| json!(group.name)),
        ("users", |group| json!(group.users)),
        ("servers", |group| json!(group.servers.len())),
    ];

    fn columns(_: &Desk) -> Vec<Column<'_, Self>> {
        vec![
            Column::name("Name", |group: &Self| Cell::link(Link::to(&group.id), &group.name)).ordered("name"),
            Column::number("Users", |group: &Self| group.users).latest("users"),
            Column::number("Servers open to it", |group: &Self| group.servers.len()).latest("servers"),
        ]
    }
}

/// In which order the list comes: `name`, `users` or `servers`, with `-` before it for the opposite direction.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GroupOrder {
    sort: Option<String>,
}

impl GroupOrder {
    /// The column, and whether the greatest comes first.
    fn column(&self) -> Result<(&'static str, bool), Problem> {
        let Some(text) = &self.sort else { return Ok(("name", false)) };
        let (word, is_descending) = text.strip_prefix('-').map_or((text.as_str(), false), |word| (word, true));
        let column = ["name", "users", "servers"].into_iter().find(|column| *column == word);
        let wrong =
            || Problem::parameter("sort", "must be `name`, `users` or `servers`, with `-` before it or without");
        Ok((column.ok_or_else(wrong)?, is_descending))
    }
}

/// The groups in an order; they come by name.
fn ordered(mut groups: Vec<Group>, (column, is_descending): (&str, bool)) -> Vec<Group> {
    match column {
        "users" => groups.sort_by_key(|group| group.users),
        "servers" => groups.sort_by_key(|group| group.servers.len()),
        _ => groups.sort_by_cached_key(|group| fold(group.name.as_str())),
    }
    if is_descending {
        groups.reverse();
    }
    groups
}

const PEOPLE: Field = Field::area("People", 3).missing("Name at least one person").hint_below(
    "E-mail addresses of users, one on each line or separated by commas. Machines are put into groups on their own page.",
);

form! {
    /// The form of a new group, which is there as soon as somebody is in it.
    GroupForm {
        name: Field::name("Name");
        emails: PEOPLE;
    } fields => (GroupName, BTreeSet<Email>) { Some((name, emails)) }
}

form! {
    /// The form of another name.
    RenameForm(name: GroupName) {
        name: Field::name("Name"), one(name);
    } fields => GroupName { Some(name) }
}

form! {
    /// The form of more people.
    PeopleForm {
        emails: PEOPLE;
    } fields => BTreeSet<Email> { Some(emails) }
}

/// The page of a group.
#[derive(Template)]
#[template(path = "admin/group.html")]
pub(crate) struct GroupPage<'a> {
    desk: &'a Desk,
    link: Link,
    name: GroupName,
    users: u64,
    servers: Vec<(Link, String)>,
    rows: Table,
    /// Where all people are listed, if they are more than are shown.
    all: Option<String>,
    /// The form of another name.
    pub(crate) form: FormView,
    /// The form of more people.
    pub(crate) people: FormView,
    history: Vec<Change>,
}

impl<'a> GroupPage<'a> {
    /// The page of one that is there, with the names of its servers.
    pub(crate) fn of(
        desk: &'a Desk,
        group: Group,
        servers: Vec<(Link, String)>,
        people: &Page<UserRow>,
        history: Vec<Change>,
    ) -> Self {
        let Group { id, name, users, servers: _ } = group;
        let search = format!("group:{}", quoted(name.as_str()));
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("q", &search).finish();
        let link = Link::to(&id);
        let remove = |row: &UserRow| {
            let User { id, name, .. } = &row.user.value;
            let text = Cell::text("Remove from group").then(Cell::text(format!(": {name}")).within("span", "unseen"));
            let to = format!("{link}/users/{id}/remove");
            RowButton { text, ..RowButton::slim(to, desk.chrome.form_token(), "") }.cell()
        };
        let mut columns = person_columns();
        columns.push(Column::act(remove).for_whom(desk.may(Permission::ManageUsers)));
        Self {
            desk,
            rows: Table::new(&columns, &people.items),
            all: people.next.is_some().then(|| format!("{}?{query}", Link::list::<UserId>())),
            form: FormView::fresh(&desk.chrome, RenameForm::FIELDS).typed(RenameForm::fill(&name)),
            people: FormView::fresh(&desk.chrome, PeopleForm::FIELDS),
            link: Link::to(&id),
            name,
            users,
            servers,
            history,
        }
    }

    fn recipes(&self) -> Vec<Recipe> {
        Recipes::of_group(self.desk, &self.name)
    }
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, Parameters(order): Parameters<GroupOrder>) -> Answer {
    desk.live = &[Topic::Policy];
    let (word, is_descending) = order.column()?;
    let groups = ordered(services.people().groups(&desk.act).await?, (word, is_descending));
    let (list, columns) = (Group::link(), Columns::at("/groups", word, is_descending));
    Ok(desk.show(&ListPage::new(&desk, &groups, &columns, Place::only(&list))))
}

/// The list as a file.
pub(crate) async fn export<K: FileKind>(
    Opened { services, desk }: Opened,
    Parameters(order): Parameters<GroupOrder>,
) -> Answer {
    file::<Group, K>(&ordered(services.people().groups(&desk.act).await?, order.column()?))
}

impl New for GroupId {
    const TITLE: &'static str = "New group";
    const BUTTON: &'static str = "Create group";
    const BACK: (&'static str, &'static str) = (Self::LIST, "Groups");

    async fn form(_: &Services, desk: &Desk) -> Result<FormView, Problem> {
        Ok(FormView::fresh(&desk.chrome, GroupForm::FIELDS))
    }
}

/// Puts the users with these addresses into a group.
async fn put(
    services: &Services,
    desk: &Desk,
    (name, emails): (GroupName, BTreeSet<Email>),
) -> Result<GroupId, ServiceError> {
    let found = services.people().users_by_email(&desk.act, &emails).await?;
    let is_unknown = |email: &&Email| found.iter().all(|user| user.email.as_ref() != Some(*email));
    let unknown: Vec<Email> = emails.iter().filter(is_unknown).cloned().collect();
    if !unknown.is_empty() {
        return Err(ServiceError::invalid("emails", InvalidReason::NoSuchEmails { emails: unknown }));
    }
    let change = Membership { add: found.into_iter().map(|user| user.id).collect(), remove: Vec::new() };
    services.people().change_members(&desk.act, &name, &change).await?;
    Ok(name.into())
}

pub(crate) async fn create(Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = GroupForm::read(&mut form).map(|new| put(&services, &desk, new));
    let saved = form.submit(doing).await?;
    made::<GroupId, _>(saved, &services, desk, |desk, id| desk.go(&Link::to(&id), Flash::GroupSaved)).await
}

impl Noun for GroupId {
    type Page<'a> = GroupPage<'a>;
    const TOPICS: &'static [Topic] = &[Topic::Policy];

    async fn page<'a>(&self, services: &Services, desk: &'a Desk) -> Result<GroupPage<'a>, Problem> {
        let group = services.people().group(&desk.act, self.name()).await?;
        let filter = UserFilter { search: UserSearch::of_group(group.name.clone()), ..UserFilter::default() };
        let people = services.people().user_rows(&desk.act, &filter, &PageRequest::first(SHOWN)).await?;
        let names = services.people().server_names(&desk.act, &group.servers).await?;
        let servers = group.servers.iter().filter_map(|id| Some((Link::to(id), names.get(id)?.to_string()))).collect();
        Ok(GroupPage::of(desk, group, servers, &people, history(services, desk, self).await?))
    }

    fn form<'p>(page: &'p mut GroupPage<'_>, again: &Again) -> &'p mut FormView {
        if again.is_of(PeopleForm::FIELDS) { &mut page.people } else { &mut page.form }
    }
}

pub(crate) async fn add(At(id): At<GroupId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = PeopleForm::read(&mut form).map(|emails| put(&services, &desk, (id.name().clone(), emails)));
    let saved = form.submit(doing).await?;
    id.after(saved, &services, desk, |desk, id| desk.go(&Link::to(&id), Flash::GroupSaved)).await
}

pub(crate) async fn remove(At((id, user)): At<(GroupId, UserId)>, Sent { services, desk, .. }: Sent) -> Answer {
    let change = Membership { add: Vec::new(), remove: vec![user] };
    services.people().change_members(&desk.act, id.name(), &change).await?;
    // Without anybody in it, and without a server, there is no group any more.
    let is_there = found(services.people().group(&desk.act, id.name()).await)?.is_some();
    let to = if is_there { Link::to(&id) } else { Group::link() };
    Ok(desk.go(&to, Flash::GroupSaved))
}

pub(crate) async fn rename(At(id): At<GroupId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = RenameForm::read(&mut form).map(|name| async {
        services.people().rename_group(&desk.act, id.name(), &name).await?;
        Ok(GroupId::from(name))
    });
    let saved = form.submit(doing).await?;
    id.after(saved, &services, desk, |desk, renamed| desk.go(&Link::to(&renamed), Flash::GroupSaved)).await
}

pub(crate) async fn delete(At(id): At<GroupId>, Sent { services, desk, form }: Sent) -> Answer {
    let deleted = form.submit(Some(services.people().delete_group(&desk.act, id.name()))).await?;
    id.after(deleted, &services, desk, |desk, ()| desk.go(&Group::link(), Flash::GroupDeleted)).await
}
