//! The page of the settings in every state.

use std::collections::BTreeSet;

use crate::admin::cluster::settings::{Around, SettingsPage, form::SettingsForm, test::TestPage};
use crate::samples::{SampleSet, id, text, with};
use crate::{
    admin::{context::Desk, evidence::history},
    ui::{conflict::Conflict, fields::FieldError},
};
use domain::{
    Revised, Revision,
    ids::OrganizationId,
    oidc::{Oidc, SealedSecret},
    role::Role,
    settings::Settings,
    text::Name,
};
use services::identity::logins::{SignInRefusal, SignInTest, Welcome};

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
            history: history::rows(&self.changes(), desk),
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

        let wrong = |field: &str, text: &str| FieldError { field: field.to_owned(), text: text.to_owned() };
        let errors = vec![
            wrong("client_secret", "The secret must have 1 to 1000 characters."),
            wrong("profile_lifetime_days", "The number of days must be between 1 and 397 days."),
        ];
        self.add("settings-refused", &with(self.settings_page(&desk, &there, true), |page| page.errors = errors));

        let changes = self.changes();
        let filled = SettingsForm::of(&there.value);
        let mine = SettingsForm::of(&Settings { contact: Some(text("help@example.com")), ..there.value.clone() });
        let theirs = SettingsForm::of(&Settings { contact: None, company_name: None, ..there.value.clone() });
        let [was, yours, now] = [&filled, &mine, &theirs].map(|form| form.shown(&self.choices()));
        let conflict = Some(Conflict::to_choose(changes.first(), &was, &yours, &now, &desk));
        self.add("settings-conflict", &with(self.settings_page(&desk, &there, true), |page| page.conflict = conflict));

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
