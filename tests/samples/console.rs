//! Every page of the console in every state, from sample data.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use crate::admin::context::{Desk, account};
use crate::admin::people::organizations::OrganizationPage;
use crate::admin::trouble::TroublePage;
use crate::auth::owner_link::OwnerLinkPage;
use crate::auth::refused::Refused;
use crate::auth::sign_in::{SignInPage, SignInState};
use crate::auth::trouble::Words;
use crate::http::problem::{Code, Problem};
use crate::samples::{
    SampleSet, ago, explain, facts, groups, hosts, id, listed, now, request_id, sessions, text, users, wrong,
};
use crate::ui::links::Link;
use crate::ui::page::{Chrome, Flash};
use crate::ui::parts::When;
use crate::ui::site::Site;
use crate::ui::topic::Topic;
use domain::command_line::CommandLine;
use domain::ids::{LoginId, OrganizationId};
use domain::login::Surface;
use domain::role::Role;
use domain::user::User;
use domain::{Revised, Revision, samples};
use services::cluster::health::{ClusterHealth, HostCount};
use services::evidence::history::Change;
use services::identity::logins::{Admin, FormToken};
use services::identity::outcome::SignInRefusal;
use services::people::organizations::OrganizationRow;

impl SampleSet {
    pub(super) fn outside(&self) -> Chrome {
        Chrome::on(Surface::Console, &facts(self.company), None, None)
    }

    fn admin(&self, role: Role) -> Admin {
        let user = User { email: Some(text("bo@example.com")), role, ..samples::user(1, self.name) };
        let form_token = FormToken("sample-form-token".to_owned());
        Admin { user: Some(user), role, login: id::<LoginId>(1), form_token, request_id: None }
    }

    /// A desk of somebody with a role, at a page.
    pub(super) fn desk_of(&self, role: Role, path: &str) -> Desk {
        let site = Site::new(Surface::Console, None, (Ipv4Addr::LOCALHOST, 9443).into(), false);
        let admin = self.admin(role);
        let chrome = Chrome::on(Surface::Console, &facts(self.company), Some(account(&admin)), None);
        let health = ClusterHealth { hosts: Some(HostCount { well: 3, ..HostCount::default() }), database: true };
        Desk::new(Arc::new(site), admin, chrome, path, now()).with_health(health)
    }

    /// A desk of an owner, at a page.
    pub(super) fn desk(&self, path: &str) -> Desk {
        self.desk_of(Role::Owner, path)
    }

    fn outer(&mut self) {
        let page = |chrome: Chrome, state| SignInPage {
            chrome,
            state,
            is_google: true,
            provider: "Google",
            return_to: "/".to_owned(),
            command_line: CommandLine::new(
                Path::new("/usr/bin/postern"),
                Some(Path::new("/etc/postern/web.toml")),
                true,
            ),
        };
        self.add("sign-in", &page(self.outside(), SignInState::Open(None)));
        self.add("sign-in-not-set-up", &page(self.outside(), SignInState::NotSetUp));
        let left = Chrome { flash: Some(Flash::ConsoleLeft), ..self.outside() };
        self.add("sign-in-left", &page(left, SignInState::Open(None)));
        let account = Some(text("ana@example.com"));
        if let Ok(page) = Refused::new(self.outside(), "Google", SignInRefusal::NoRole { account }, request_id()) {
            self.add("refused-no-role", &page);
        }
        let link = Some(("k3Zx9".repeat(9), When::new(ago(-1), now())));
        self.add("owner-link", &OwnerLinkPage { chrome: self.outside(), link, command_line: CommandLine::default() });
        self.add(
            "owner-link-used",
            &OwnerLinkPage { chrome: self.outside(), link: None, command_line: CommandLine::default() },
        );
        for (name, code) in
            [("forbidden", Code::Forbidden), ("not-found", Code::NotFound), ("away", Code::DatabaseAway)]
        {
            let problem = Problem::new(code, "this needs a role that may manage organizations");
            let desk = &self.desk_of(Role::Auditor, "/organizations");
            self.add(
                &format!("trouble-{name}"),
                &TroublePage { desk, words: Words::of(&problem, Surface::Console), request_id: request_id() },
            );
        }
    }

    /// Who was quicker where two edit the same, and when.
    pub(crate) fn quicker(&self, desk: &Desk) -> Option<(String, When)> {
        self.changes().first().map(|change| (change.by.clone(), When::new(change.at, desk.now)))
    }

    /// What happened to a thing.
    pub(super) fn changes(&self) -> Vec<Change> {
        let change = |hours, action: &str, fields: &[&str], success| Change {
            at: ago(hours),
            by: self.name.to_owned(),
            action: action.to_owned(),
            success,
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        };
        vec![
            change(2, "organization.update", &["name"], true),
            change(30, "organization.delete", &[], false),
            change(24 * 12, "organization.create", &["name"], true),
        ]
    }

    fn organizations(&mut self) {
        let row = |number: u128, name: &str, users, servers| {
            let value = samples::organization(number, name);
            OrganizationRow { organization: Revised { rev: Revision(7), value }, users, servers }
        };
        let mut desk = self.desk("/organizations");
        desk.live = &[Topic::Policy];
        let rows = || vec![row(1, self.name, 214, 3), row(2, "Contractors", 12, 1), row(3, "Build machines", 1, 0)];
        let next = "/organizations?limit=50&cursor=x";
        let list = listed(&desk, &rows(), false, Some(next));
        self.add("organizations", &list);
        desk.chrome.flash = Some(Flash::OrganizationDeleted);
        self.add("organizations-empty", &listed::<OrganizationRow>(&desk, &[], true, None));
        let since = When::new(ago(2), now());
        let paused = Desk { pause: Some((since, Some("postern pause".to_owned()))), ..self.desk("/organizations") };
        self.add("organizations-paused", &listed(&paused, &rows(), true, None));
        let auditor = self.desk_of(Role::Auditor, "/organizations");
        self.add("organizations-auditor", &listed(&auditor, &rows(), true, None));

        let desk = self.desk("/organizations/new");
        self.add("organization-new", &OrganizationPage::empty(&desk));
        let with = |page: OrganizationPage<'_>, typed| page.form.typed(typed);
        let empty = || OrganizationPage::empty(&desk);
        let form = with(empty(), wrong(&[("name", "The name must not be empty.")]));
        self.add("organization-new-refused", &OrganizationPage { form, ..empty() });
        let changes = self.changes();
        let of = |desk| OrganizationPage::of(desk, row(1, self.name, 214, 3), changes.clone());
        self.add("organization", &of(&desk));
        let form = with(of(&desk), wrong(&[("", "The organization still has users; delete or move them first.")]));
        self.add("organization-in-use", &OrganizationPage { form, ..of(&desk) });
        let typed = of(&desk).form.fields.with("name", "Contractors of ours");
        let form = of(&desk).form.with_conflict(typed, self.quicker(&desk), Link::to(&id::<OrganizationId>(1)));
        self.add("organization-conflict", &OrganizationPage { form, ..of(&desk) });
        let auditor = self.desk_of(Role::Auditor, "/organizations");
        self.add("organization-auditor", &of(&auditor));
    }
}

/// Adds every page of the console in every state.
pub(super) fn add(set: &mut SampleSet) {
    set.outer();
    set.organizations();
    set.audit();
    set.jobs();
    set.system();
    hosts::add(set);
    set.servers();
    set.settings();
    set.overview();
    set.setup();
    users::add(set);
    groups::add(set);
    sessions::add(set);
    explain::add(set);
}
