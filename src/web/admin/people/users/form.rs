//! The form of a user.

use crate::admin::context::Desk;
use crate::ui::form::form;
use crate::ui::input::{joined, one, optional};
use crate::ui::{Choice, Field, FormView};
use domain::ids::OrganizationId;
use domain::role::Role;
use domain::text::Name;
use domain::user::User;
use services::people::users::NewUser;

form! {
    /// The form of a user.
    UserForm(user: User) {
        name: Field::name("Name"), one(&user.name);
        email: Field::text("E-mail address")
            .subject("The e-mail address")
            .with(r#"inputmode="email" maxlength="254" autocomplete="off" spellcheck="false""#)
            .hint_below("The one that the person signs in with. Leave it empty for a machine."),
            optional(user.email.as_ref());
        organization_id: Field::select("Organization")
            .subject("The organization is")
            .missing("Choose an organization")
            .with("required"),
            one(user.organization_id);
        groups: Field::area("Groups", 3)
            .any_order()
            .hint_below("One on each line. Servers can be open to some groups only."),
            joined(&user.groups, "\n");
        role: Field::select("Role").subject("The role").initial("user"), one(user.role.as_str());
    } fields => NewUser { Some(NewUser { organization_id, name, email, groups, role, disabled: false }) }
}

/// The form of a new user.
pub(crate) fn fresh(desk: &Desk, organizations: &[(OrganizationId, Name)]) -> FormView {
    with_choices(FormView::fresh(&desk.chrome, UserForm::FIELDS), desk, organizations, Role::User)
}

/// What can be chosen in a form. `from` is the role that the user has so far: who looks may not give every role.
pub(crate) fn with_choices(
    form: FormView,
    desk: &Desk,
    organizations: &[(OrganizationId, Name)],
    from: Role,
) -> FormView {
    let may_give = |to: &Role| *to == from || desk.act.actor.may_change_role(from, *to);
    let roles = Role::ALL.into_iter().filter(may_give).map(|role| (role.as_str(), described(role)));
    form.choices_or_only("organization_id", organization_choices(organizations)).choices("role", Choice::all(roles))
}

/// The organizations that somebody can be put into.
pub(crate) fn organization_choices(organizations: &[(OrganizationId, Name)]) -> Vec<Choice> {
    let all = organizations.iter().map(|(id, name)| Choice::new(id, name));
    [Choice::new("", "Choose…")].into_iter().chain(all).collect()
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
