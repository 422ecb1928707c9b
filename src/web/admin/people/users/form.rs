//! The form of a user: what stands in it, and what is read from it.

use std::collections::BTreeSet;

use crate::{admin::context::Desk, http::problem::Problem, ui::fields::Fields};
use domain::{
    ids::OrganizationId,
    organization::Organization,
    role::Role,
    text::{Email, GroupName, Name},
    user::User,
};
use services::{
    PageRequest, Removable, Services,
    people::users::{NewUser, UserPatch},
};

/// So many organizations can be chosen from.
const CHOICES: u32 = 200;

/// What stands in the form, and what can be chosen in it.
#[derive(Debug, Clone)]
pub(crate) struct UserForm {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) groups: String,
    organization: String,
    role: String,
    organizations: Vec<Organization>,
    roles: Vec<Role>,
}

/// One line of a list to choose from.
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) is_chosen: bool,
}

impl UserForm {
    /// An empty form. `from` is the role that the user has so far: who looks may not give every role.
    pub(crate) fn empty(desk: &Desk, organizations: Vec<Organization>, from: Role) -> Self {
        let may_give = |to: &Role| *to == from || desk.act.actor.may_change_role(from, *to);
        let only = match organizations.as_slice() {
            [only] => only.id.to_string(),
            _ => String::new(),
        };
        Self {
            name: String::new(),
            email: String::new(),
            groups: String::new(),
            organization: only,
            role: from.as_str().to_owned(),
            organizations,
            roles: Role::ALL.into_iter().filter(may_give).collect(),
        }
    }

    /// The form as a user is.
    pub(crate) fn of(desk: &Desk, organizations: Vec<Organization>, user: &User) -> Self {
        Self {
            name: user.name.to_string(),
            email: user.email.as_ref().map_or_else(String::new, ToString::to_string),
            groups: shown(&user.groups),
            organization: user.organization_id.to_string(),
            ..Self::empty(desk, organizations, user.role)
        }
    }

    /// The same with what was typed.
    pub(crate) fn typed(self, form: &Fields) -> Self {
        let text = |field| form.text(field).to_owned();
        let (name, email, groups) = (text("name"), text("email"), text("groups"));
        Self { name, email, groups, organization: text("organization_id"), role: text("role"), ..self }
    }

    pub(crate) fn organizations(&self) -> Vec<Choice> {
        let choice = |organization: &Organization| {
            let value = organization.id.to_string();
            Choice { is_chosen: value == self.organization, value, label: organization.name.to_string() }
        };
        self.organizations.iter().map(choice).collect()
    }

    pub(crate) fn roles(&self) -> Vec<Choice> {
        let choice = |role: &Role| {
            let value = role.as_str().to_owned();
            Choice { is_chosen: value == self.role, value, label: described(*role).to_owned() }
        };
        self.roles.iter().map(choice).collect()
    }

    /// What differs between two forms, as people read it: label, this one, the other one.
    pub(crate) fn compared(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let chosen = |choices: Vec<Choice>| {
            choices.into_iter().find(|choice| choice.is_chosen).map_or_else(String::new, |choice| choice.label)
        };
        vec![
            ("Name", self.name.clone(), other.name.clone()),
            ("E-mail address", self.email.clone(), other.email.clone()),
            ("Organization", chosen(self.organizations()), chosen(other.organizations())),
            ("Groups", listed(&self.groups), listed(&other.groups)),
            ("Role", chosen(self.roles()), chosen(other.roles())),
        ]
    }
}

/// Groups as the form shows them: one on each line.
fn shown(groups: &BTreeSet<GroupName>) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join("\n")
}

/// Lines as one line, in an order of their own.
fn listed(lines: &str) -> String {
    let parts: BTreeSet<&str> = lines.split(['\n', ',']).map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.into_iter().collect::<Vec<_>>().join(", ")
}

/// What a role is, on one line.
pub(crate) fn described(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner: everything",
        Role::Admin => "Admin: everything but owners and admins",
        Role::Operator => "Operator: servers, hosts and sessions",
        Role::Helpdesk => "Helpdesk: users, profiles and sessions",
        Role::Auditor => "Auditor: reads everything, changes nothing",
        Role::User => "User: no administration",
    }
}

/// What a form says of a user.
struct Read {
    organization: Option<OrganizationId>,
    name: Option<Name>,
    email: Option<Email>,
    groups: BTreeSet<GroupName>,
    role: Option<Role>,
}

fn read(form: &mut Fields) -> Option<Read> {
    let read = Read {
        name: form.parse("name", "The name"),
        email: form.parse_optional("email", "The e-mail address"),
        organization: if form.text("organization_id").is_empty() {
            form.wrong("organization_id", "Choose an organization");
            None
        } else {
            form.parse("organization_id", "The organization is")
        },
        groups: form.parse_list("groups").into_iter().collect(),
        role: form.parse("role", "The role"),
    };
    form.errors.is_empty().then_some(read)
}

/// The user that a form asks for; nothing, and the errors in the form, if it does not say enough.
pub(crate) fn new_user(form: &mut Fields) -> Option<NewUser> {
    let Read { organization, name, email, groups, role } = read(form)?;
    Some(NewUser { organization_id: organization?, name: name?, email, groups, role: role?, disabled: false })
}

/// The change that a form asks for: all that stands in it.
pub(crate) fn patch(form: &mut Fields) -> Option<UserPatch> {
    let Read { organization, name, email, groups, role } = read(form)?;
    let email = email.map_or(Removable::Removed, Removable::Set);
    Some(UserPatch { organization_id: organization, name, email, groups: Some(groups), role, ..UserPatch::default() })
}

/// The organizations to choose from, by their names.
pub(crate) async fn organizations(services: &Services, desk: &Desk) -> Result<Vec<Organization>, Problem> {
    let page = services.people().organizations(&desk.act, &PageRequest::first(CHOICES)).await?;
    let mut organizations: Vec<Organization> = page.items.into_iter().map(|found| found.value).collect();
    organizations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(organizations)
}
