//! Groups: the list, a new one, and the page of one with its people.

use std::collections::BTreeSet;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::admin::commands::{Recipe, Recipes};
use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::evidence::history::{HistoryRow, history};
use crate::admin::lists::{ExportField, List, ListPage, Place, file};
use crate::admin::people::users::list::person_columns;
use crate::api::extract::{At, Parameters};
use crate::http::problem::Problem;
use crate::ui::columns::Columns;
use crate::ui::export::FileKind;
use crate::ui::form::{Again, Field, FormView, form};
use crate::ui::input::one;
use crate::ui::links::{Link, Linked as _};
use crate::ui::page::Flash;
use crate::ui::table::{Cell, Column, RowButton, Table};
use crate::ui::topic::Topic;
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

/// The page of a group, or of a new one.
#[derive(Template)]
#[template(path = "admin/group.html")]
pub(crate) struct GroupPage<'a> {
    desk: &'a Desk,
    /// The one that is there.
    found: Option<Facts>,
    /// The form of a new one, or of another name.
    pub(crate) form: FormView,
    /// The form of more people.
    pub(crate) people: FormView,
}

/// What is known of a group that is there.
struct Facts {
    link: Link,
    name: GroupName,
    users: u64,
    servers: Vec<(Link, String)>,
    people: Table,
    /// Where all people are listed, if they are more than are shown.
    all: Option<String>,
    history: Vec<HistoryRow>,
}

impl Facts {
    fn recipes(&self, desk: &Desk) -> Vec<Recipe> {
        Recipes::of_group(desk, &self.name)
    }
}

impl<'a> GroupPage<'a> {
    /// The page of a new one.
    pub(crate) fn empty(desk: &'a Desk) -> Self {
        let [form, people] = [GroupForm::FIELDS, PeopleForm::FIELDS].map(|table| FormView::fresh(&desk.chrome, table));
        Self { desk, found: None, form, people }
    }

    /// The page of one that is there, with the names of its servers.
    pub(crate) fn of(
        desk: &'a Desk,
        group: Group,
        servers: Vec<(Link, String)>,
        people: &Page<UserRow>,
        history: Vec<HistoryRow>,
    ) -> Self {
        let Group { id, name, users, servers: _ } = group;
        let search = format!("group:{}", quoted(name.as_str()));
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("q", &search).finish();
        let link = Link::to(&id);
        let mut columns = person_columns();
        if desk.may(Permission::ManageUsers) {
            columns.push(Column::act(|row: &UserRow| {
                let User { id, name, .. } = &row.user.value;
                let text =
                    Cell::text("Remove from group").then(Cell::text(format!(": {name}")).within("span", "unseen"));
                let to = format!("{link}/users/{id}/remove");
                RowButton { text, ..RowButton::slim(to, desk.chrome.form_token(), "") }.cell()
            }));
        }
        let table = Table::new(&columns, &people.items);
        drop(columns);
        let all = people.next.is_some().then(|| format!("{}?{query}", Link::list::<UserId>()));
        let facts = Facts { link, name, users, servers, people: table, all, history };
        let form = FormView::fresh(&desk.chrome, RenameForm::FIELDS).typed(RenameForm::fill(&facts.name));
        Self { form, found: Some(facts), ..Self::empty(desk) }
    }

    /// The title of the page.
    fn title(&self) -> &str {
        self.found.as_ref().map_or("New group", |found| found.name.as_str())
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

pub(crate) async fn new(desk: Desk) -> Response {
    desk.show(&GroupPage::empty(&desk))
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
    match form.submit(doing).await? {
        Ok(id) => Ok(desk.go(&Link::to(&id), Flash::GroupSaved)),
        Err(again) => {
            let page = GroupPage::empty(&desk);
            Ok(desk.show_as(again.status, &GroupPage { form: page.form.typed(again.fields), ..page }))
        }
    }
}

async fn found<'a>(services: &Services, desk: &'a Desk, id: &GroupId) -> Result<GroupPage<'a>, Problem> {
    let group = services.people().group(&desk.act, id.name()).await?;
    let filter = UserFilter { search: UserSearch::of_group(group.name.clone()), ..UserFilter::default() };
    let page = PageRequest::first(SHOWN);
    let people = services.people().user_rows(&desk.act, &filter, &page).await?;
    let names = services.people().server_names(&desk.act, &group.servers).await?;
    let servers = group.servers.iter().filter_map(|id| Some((Link::to(id), names.get(id)?.to_string()))).collect();
    Ok(GroupPage::of(desk, group, servers, &people, history(services, desk, id).await?))
}

pub(crate) async fn show(Opened { services, mut desk }: Opened, At(id): At<GroupId>) -> Answer {
    desk.live = &[Topic::Policy];
    Ok(desk.show(&found(&services, &desk, &id).await?))
}

/// The page with what was typed into one of its forms.
async fn again(services: &Services, desk: &Desk, id: &GroupId, again: Again) -> Answer {
    let (status, mut page) = (again.status, found(services, desk, id).await?);
    if again.is_of(PeopleForm::FIELDS) {
        page.people = page.people.typed(again.fields);
    } else {
        page.form = page.form.typed(again.fields);
    }
    Ok(desk.show_as(status, &page))
}

pub(crate) async fn add(At(id): At<GroupId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = PeopleForm::read(&mut form).map(|emails| put(&services, &desk, (id.name().clone(), emails)));
    match form.submit(doing).await? {
        Ok(id) => Ok(desk.go(&Link::to(&id), Flash::GroupSaved)),
        Err(again) => self::again(&services, &desk, &id, again).await,
    }
}

pub(crate) async fn remove(At((id, user)): At<(GroupId, UserId)>, Sent { services, desk, .. }: Sent) -> Answer {
    let change = Membership { add: Vec::new(), remove: vec![user] };
    services.people().change_members(&desk.act, id.name(), &change).await?;
    let is_there = match services.people().group(&desk.act, id.name()).await {
        Ok(_) => true,
        Err(ServiceError::NotFound(_)) => false,
        Err(error) => return Err(error.into()),
    };
    // Without anybody in it, and without a server, there is no group any more.
    let to = if is_there { Link::to(&id) } else { Link::list::<GroupId>() };
    Ok(desk.go(&to, Flash::GroupSaved))
}

pub(crate) async fn rename(At(id): At<GroupId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = RenameForm::read(&mut form).map(|name| async {
        services.people().rename_group(&desk.act, id.name(), &name).await?;
        Ok(GroupId::from(name))
    });
    match form.submit(doing).await? {
        Ok(renamed) => Ok(desk.go(&Link::to(&renamed), Flash::GroupSaved)),
        Err(again) => self::again(&services, &desk, &id, again).await,
    }
}

pub(crate) async fn delete(At(id): At<GroupId>, Sent { services, desk, form }: Sent) -> Answer {
    match form.submit(Some(services.people().delete_group(&desk.act, id.name()))).await? {
        Ok(()) => Ok(desk.go(&Link::list::<GroupId>(), Flash::GroupDeleted)),
        Err(again) => self::again(&services, &desk, &id, again).await,
    }
}
