//! The pages of groups in every state.

use crate::admin::context::Desk;
use crate::admin::lists::{List as _, ListPage, Place};
use crate::admin::nouns::NewPage;
use crate::admin::people::groups::{GroupForm, GroupPage};
use crate::samples::{SampleSet, id, text, with, wrong};
use crate::ui::columns::Columns;
use crate::ui::form::FormView;
use crate::ui::links::Link;
use crate::ui::page::Flash;
use crate::ui::topic::Topic;
use domain::group::{Group, GroupId};
use domain::ids::ServerId;
use domain::role::Role;
use domain::text::GroupName;
use domain::user::User;
use domain::{Revised, Revision, samples};
use services::Page;
use services::people::views::UserRow;

fn groups<'a>(desk: &'a Desk, all: &[Group], (word, is_descending): (&'static str, bool)) -> ListPage<'a> {
    let list = Group::link();
    ListPage::new(desk, all, &Columns::at(list.as_str(), word, is_descending), Place::only(&list))
}

/// Adds the samples to a set of samples.
pub(super) fn add(set: &mut SampleSet) {
    let name = set.name;
    let group = |group: &str, users, servers: Vec<ServerId>| {
        let name: GroupName = text(group);
        Group { id: name.clone().into(), name, users, servers }
    };
    let server = || vec![id::<ServerId>(1)];
    let mut desk = set.desk("/groups");
    desk.live = &[Topic::Policy];
    let all = vec![group("dev", 48, server()), group(name, 1, Vec::new()), group("VPN users", 0, server())];
    set.add("groups", &groups(&desk, &all, ("users", true)));
    desk.chrome.flash = Some(Flash::GroupDeleted);
    set.add("groups-empty", &groups(&desk, &[], ("name", false)));
    let auditor = set.desk_of(Role::Auditor, "/groups");
    set.add("groups-auditor", &groups(&auditor, &all, ("name", false)));

    let desk = set.desk("/groups/new");
    let new = || FormView::fresh(&desk.chrome, GroupForm::FIELDS);
    set.add("group-new", &NewPage::of::<GroupId>(&desk, new()));
    let errors = [("name", "The name must not be empty."), ("emails", "No user has the address x@example.com.")];
    let typed = wrong(&errors).with("emails", "x@example.com");
    set.add("group-new-refused", &NewPage::of::<GroupId>(&desk, new().typed(typed)));
    let changes = set.changes();
    let row = |number, email: Option<&str>| UserRow {
        user: Revised { rev: Revision(1), value: User { email: email.map(text), ..samples::user(number, name) } },
        organization: Some(text("Acme")),
        sessions: 0,
    };
    let people = |next: Option<&str>| Page {
        items: vec![row(1, Some("bo@example.com")), row(2, None)],
        next: next.map(str::to_owned),
        count: None,
    };
    let servers = || vec![(Link::to(&id::<ServerId>(1)), name.to_owned())];
    let page = |desk, next| GroupPage::of(desk, group(name, 214, server()), servers(), &people(next), changes.clone());
    set.add("group", &page(&desk, Some("more")));
    let used = wrong(&[("", "The server Office is open to this group; take the group off it first.")]);
    set.add("group-in-use", &with(page(&desk, None), |page| page.form = page.form.clone().typed(used)));
    let nobody = Page { items: Vec::new(), next: None, count: None };
    set.add("group-nobody", &GroupPage::of(&desk, group("VPN users", 0, server()), servers(), &nobody, Vec::new()));
    set.add("group-auditor", &page(&auditor, None));
}
