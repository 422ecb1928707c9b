//! The page of the settings in every state.

use std::collections::BTreeSet;

use crate::admin::cluster::settings::test::TestPage;
use crate::admin::cluster::settings::{Around, SettingsPage};
use crate::admin::context::Desk;
use crate::samples::{SampleSet, id, text, with, wrong};
use crate::ui::links::Link;
use domain::ids::OrganizationId;
use domain::oidc::{Oidc, SealedSecret};
use domain::role::Role;
use domain::settings::Settings;
use domain::text::Name;
use domain::{Revised, Revision};
use services::identity::outcome::{SignInRefusal, SignInTest, Welcome};

fn settings(name: &str) -> Revised<Settings> {
    let oidc = Oidc {
        client_id: Some(text("1234567890-abcdef.apps.googleusercontent.com")),
        client_secret: Some(SealedSecret(Vec::new())),
        allowed_domains: BTreeSet::from([text("example.com"), text("example.org")]),
        default_organization_id: Some(id::<OrganizationId>(1)),
        ..Oidc::default()
    };
    let contact = Some(text("the IT desk, it@example.com"));
    Revised {
        rev: Revision(9),
        value: Settings { company_name: Some(text(name)), contact, oidc, ..Settings::default() },
    }
}

impl SampleSet {
    fn settings_page<'a>(&self, desk: &'a Desk, found: &Revised<Settings>, is_known: bool) -> SettingsPage<'a> {
        let url = |url: &str| is_known.then(|| url.to_owned());
        let around = Around {
            organizations: self.choices(),
            redirects: vec![
                ("Public pages", "public.url", url("https://vpn.example.com/oauth/callback")),
                ("Console", "admin.url", url("https://vpn-admin.example.com/oauth/callback")),
            ],
            history: self.changes(),
        };
        SettingsPage::new(desk, found, around)
    }

    fn choices(&self) -> Vec<(OrganizationId, Name)> {
        vec![(id::<OrganizationId>(1), text(self.name)), (id::<OrganizationId>(2), text("Contractors"))]
    }

    /// The page, and what a test of sign-in says.
    pub(super) fn settings(&mut self) {
        let desk = self.desk("/settings");
        let there = settings(self.name);
        self.add("settings", &self.settings_page(&desk, &there, true));
        let fresh = Revised { rev: Revision(0), value: Settings::default() };
        self.add("settings-fresh", &self.settings_page(&desk, &fresh, false));

        let page = || self.settings_page(&desk, &there, true);
        let errors = wrong(&[
            ("client_secret", "The secret must have 1 to 1000 characters."),
            ("profile_lifetime_days", "The number of days must be between 1 and 397 days."),
        ]);
        let refused = with(page(), |page| page.form = page.form.clone().typed(errors));
        let mut conflict = page();
        let base = conflict.form.fields.clone();
        let mine = base.clone().with("contact", "help@example.com").with("base", &base.as_base());
        conflict.form.fields = base.with("contact", "").with("company_name", "");
        conflict.form = conflict.form.with_conflict(mine, self.quicker(&desk), Link::settings());
        self.add("settings-refused", &refused);
        self.add("settings-conflict", &conflict);

        let account = || Some(text("ana@example.com"));
        let test = SignInTest {
            account: account(),
            portal: Ok(Welcome::New { organization: text(self.name) }),
            console: Err(SignInRefusal::NotInvited { account: account() }),
        };
        self.add("sign-in-test", &TestPage::new(self.outside(), test));
        let known = || Welcome::Known { name: text(self.name), role: Role::Owner };
        let test = SignInTest { account: account(), portal: Ok(known()), console: Ok(known()) };
        self.add("sign-in-test-known", &TestPage::new(self.outside(), test));
    }
}
