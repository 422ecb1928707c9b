//! The pages of users in every state.

use crate::admin::context::Desk;
use crate::admin::lists::List as _;
use crate::admin::nouns::NewPage;
use crate::admin::people::users::form;
use crate::admin::people::users::import::ImportPage;
use crate::admin::people::users::link::LinkPage;
use crate::admin::people::users::list::UserList;
use crate::admin::people::users::sheet::UserPage;
use crate::samples::{SampleSet, ago, by_name, id, now, place, text, wrong};
use crate::ui::links::Link;
use crate::ui::page::Flash;
use crate::ui::parts::{Qr, When};
use crate::ui::topic::Topic;
use domain::ids::{OrganizationId, ServerId, UserId};
use domain::login::{Login, Surface, Who};
use domain::profile::{Profile, ProfileState};
use domain::role::Role;
use domain::text::Name;
use domain::user::{Identity, User};
use domain::user_list::Written;
use domain::{Revised, Revision, samples};
use services::InvalidReason;
use services::evidence::history::Change;
use services::people::import::{CellError, Imported, ImportedLine, Outcome};
use services::people::self_service::{MyProfile, MyProfileStatus, MySession};
use services::people::views::{UserRow, UserSheet};

/// Adds the samples to a set of samples.
pub(super) fn add(set: &mut SampleSet) {
    lists(set);
    forms(set);
    imports(set);
    sheets(set);
}

fn user(number: u128, name: &str, email: Option<&str>, groups: &[&str], role: Role, disabled: bool) -> User {
    User {
        email: email.map(text),
        groups: groups.iter().map(|group| text(group)).collect(),
        role,
        disabled,
        identity: email.map(|_| Identity { iss: "https://accounts.google.com".to_owned(), sub: "1".to_owned() }),
        ..samples::user(number, name)
    }
}

fn organizations(name: &str) -> Vec<(OrganizationId, Name)> {
    vec![(id::<OrganizationId>(1), text(name)), (id::<OrganizationId>(2), text("Contractors"))]
}

fn listed<'a>(desk: &'a Desk, q: &str) -> UserList<'a> {
    UserList::new(desk, q, by_name(&UserRow::link()))
}

fn lists(set: &mut SampleSet) {
    let name = set.name;
    let row = |user: User, sessions| UserRow {
        user: Revised { rev: Revision(7), value: user },
        organization: Some(text(if name == "Bo Lind" { "Acme" } else { name })),
        sessions,
    };
    let rows = || {
        vec![
            row(user(1, "Ana Silva", Some("ana@example.com"), &["dev", "ops"], Role::User, false), 2),
            row(user(2, name, Some("bo@example.com"), &["VPN users"], Role::Owner, false), 0),
            row(user(3, "Build machine", None, &[], Role::User, false), 1),
            row(user(4, "Cy Young", Some("cy.young@example.com"), &["sales", name], Role::Helpdesk, true), 0),
        ]
    };
    let list = UserRow::link();
    let only = || place(&list, true, None);
    let mut desk = set.desk("/users");
    desk.live = &[Topic::Policy, Topic::Sessions];
    let next = place(&list, true, Some("/users?limit=50&cursor=x"));
    set.add("users", &listed(&desk, "").with(&rows(), next));
    set.add("users-found", &listed(&desk, "group:dev state:enabled").with(&rows(), only()));
    set.add("users-none-found", &listed(&desk, &format!("group:\"{name}\"")).with(&[], only()));
    set.add(
        "users-search-refused",
        &listed(&desk, "grup:ops").refused("has no key “grup”; there are group, role, state and org"),
    );
    desk.chrome.flash = Some(Flash::UserDeleted);
    set.add("users-empty", &listed(&desk, "").with(&[], only()));
    let auditor = set.desk_of(Role::Auditor, "/users");
    set.add("users-auditor", &listed(&auditor, "").with(&rows(), only()));
}

fn forms(set: &mut SampleSet) {
    let desk = set.desk("/users/new");
    let new = || form::fresh(&desk, &organizations(set.name));
    set.add("user-new", &NewPage::of::<UserId>(&desk, new()));
    let errors = wrong(&[
        ("name", "The name must not be empty."),
        ("email", "Another user has this email."),
        ("organization_id", "Choose an organization."),
        ("groups", "“\u{202e}x” must not contain control characters, line breaks or direction marks."),
        ("role", "The role must be one of owner, admin, operator, helpdesk, auditor, user."),
    ]);
    set.add("user-new-refused", &NewPage::of::<UserId>(&desk, new().typed(errors.with("role", ""))));
    let link = LinkPage {
        desk: &desk,
        back: Link::to(&id::<UserId>(1)),
        user: set.name.to_owned(),
        name: "Laptop".to_owned(),
        url: format!("https://vpn.example.com/p/{}", "k3Zx9".repeat(9)),
        qr: Qr::new("https://vpn.example.com/p/k3Zx9"),
        until: When::new(ago(-1), now()),
    };
    set.add("user-profile-link", &link);
}

fn imports(set: &mut SampleSet) {
    let name = set.name;
    let desk = set.desk("/users/import");
    let page = || ImportPage::new(&desk, &organizations(name));
    set.add("users-import", &page());
    let errors = [("csv", "Has a column “surname”; known are name, email, groups, role and organization.")];
    set.add("users-import-refused", &ImportPage { form: page().form.typed(wrong(&errors)), ..page() });
    let line = |line, name: &str, email: Option<&str>, outcome, errors| ImportedLine {
        written: Written {
            line,
            name: name.to_owned(),
            email: email.map(str::to_owned),
            groups: vec!["dev".to_owned(), "ops".to_owned()],
            role: None,
            organization: None,
        },
        outcome,
        user_id: (outcome == Outcome::Existing).then(|| id::<UserId>(1)),
        errors,
    };
    let wrong = |column, reason| CellError::new(column, &reason);
    let malformed = |expected: &str| InvalidReason::Malformed { expected: expected.to_owned() };
    let imported = |dry_run, refused| {
        let mut lines = vec![
            line(2, name, Some("bo@example.com"), Outcome::New, Vec::new()),
            line(3, "Build machine", None, Outcome::New, Vec::new()),
            line(4, "Cy Young", Some("cy@example.com"), Outcome::Existing, Vec::new()),
        ];
        if refused {
            let email = wrong("email", malformed("must be an e-mail address in lower case, such as ana@example.com"));
            lines.push(line(
                5,
                "",
                Some("Nonsense"),
                Outcome::Refused,
                vec![wrong("name", malformed("must not be empty")), email],
            ));
            lines.push(line(
                6,
                name,
                None,
                Outcome::Refused,
                vec![wrong("", InvalidReason::CellCount { found: 7, expected: 3 })],
            ));
        }
        Imported { dry_run, new: 2, existing: 1, refused: lines.len() - 3, lines }
    };
    set.add("users-import-preview", &page().with(imported(true, true)));
    set.add("users-import-nothing", &page().with(Imported { new: 0, lines: Vec::new(), ..imported(true, false) }));
    set.add("users-import-done", &page().with(imported(false, false)));
    set.add("users-import-partly", &page().with(imported(false, true)));
}

fn profile(number: u128, name: &str, status: MyProfileStatus) -> MyProfile {
    let is_revoked = matches!(status, MyProfileStatus::Revoked { .. });
    let profile = Profile {
        state: if is_revoked { ProfileState::Revoked } else { ProfileState::Active },
        last_connected_at: (status != MyProfileStatus::NeverUsed).then(|| ago(2)),
        ..samples::profile(number, name)
    };
    MyProfile { profile: Revised { rev: Revision(1), value: profile }, server_name: text("Office"), status, note: None }
}

fn session(number: u128, profile_name: &str) -> MySession {
    MySession { session: samples::session(number), profile_name: text(profile_name), host_name: text("vpn-2") }
}

fn sheet(of: User, is_connected: bool) -> UserSheet {
    let name = of.name.to_string();
    let connected = || MyProfileStatus::Connected { host: text("vpn-2"), since: ago(3) };
    let login = |number, label: &str, surface| Login {
        who: Who::User(of.id),
        surface,
        label: label.to_owned(),
        ..samples::login(number)
    };
    UserSheet {
        organization: Some(text("Acme")),
        servers: vec![(id::<ServerId>(1), text("Office")), (id::<ServerId>(2), text(&name))],
        profiles: vec![
            profile(1, &format!("{name}’s laptop"), if is_connected { connected() } else { MyProfileStatus::Ready }),
            profile(2, "Phone", if is_connected { connected() } else { MyProfileStatus::NeverUsed }),
            profile(3, "Old laptop", MyProfileStatus::Revoked { at: ago(24 * 20) }),
        ],
        sessions: if is_connected {
            vec![session(1, &format!("{name}’s laptop")), session(2, "Phone")]
        } else {
            Vec::new()
        },
        logins: if is_connected {
            vec![login(1, "Firefox 140", Surface::Portal), login(2, "Chrome 142", Surface::Console)]
        } else {
            Vec::new()
        },
        user: Revised { rev: Revision(12), value: of },
    }
}

fn page<'a>(desk: &'a Desk, sheet: UserSheet, changes: &[Change]) -> UserPage<'a> {
    UserPage::of(desk, sheet, &organizations("Acme"), changes.to_vec())
}

fn sheets(set: &mut SampleSet) {
    let name = set.name;
    let changes = set.changes();
    let ana = || user(1, name, Some("ana@example.com"), &["dev", name], Role::User, false);
    let mut desk = set.desk("/users/usr_1");
    set.add("user-conflict", &{
        let mut page = page(&desk, sheet(ana(), false), &changes);
        let filled = page.form.fields.clone();
        let typed = filled.clone().with("name", "Ana Maria").with("base", &filled.as_base());
        page.form.fields = filled.with("groups", "dev\nops");
        page.form = page.form.with_conflict(typed, set.quicker(&desk), Link::to(&id::<UserId>(1)));
        page
    });
    set.add("user-refused", &{
        let mut page = page(&desk, sheet(ana(), false), &changes);
        page.form = page.form.typed(wrong(&[("email", "Another user has this email.")]));
        page.link = page.link.typed(wrong(&[("device", "The name of the device must not be empty.")]));
        page
    });
    desk.live = &[Topic::Policy, Topic::Sessions];
    set.add("user", &page(&desk, sheet(ana(), true), &changes));
    desk.chrome.flash = Some(Flash::UserDisabled);
    set.add("user-disabled", &page(&desk, sheet(User { disabled: true, ..ana() }, false), &changes));
    let mut machine = sheet(user(3, name, None, &[], Role::User, false), false);
    (machine.servers, machine.profiles) = (Vec::new(), Vec::new());
    desk.chrome.flash = Some(Flash::UserCreated);
    set.add("user-machine", &page(&desk, machine, &changes));
    let helpdesk = set.desk_of(Role::Helpdesk, "/users/usr_1");
    set.add("user-out-of-reach", &page(&helpdesk, sheet(User { role: Role::Owner, ..ana() }, true), &changes));
    let auditor = set.desk_of(Role::Auditor, "/users/usr_1");
    set.add("user-auditor", &page(&auditor, sheet(ana(), true), &changes));
}
