//! Every page in every state, from sample data: what tests render and what people look at before they change a page.
//!
//! The names are as hostile as names can be, so that a page which forgets to escape one shows it here. Nothing of the
//! program calls this, so the linker leaves it out.

use std::net::IpAddr;

use jiff::SignedDuration;
use serde_json::json;

use crate::auth::refused::Refused;
use crate::auth::sign_in::{SignInPage, SignInState};
use crate::auth::trouble::{Trouble, Words};
use crate::http::problem::{Code, Problem};
use crate::portal::live::{Live, Watch};
use crate::portal::my_data::MyDataPage;
use crate::portal::profiles::{Home, ProfilePage};
use crate::portal::ready::{NewDevice, Ready, TicketLink};
use crate::portal::sessions::Sessions;
use crate::portal::status::Status;
use crate::portal::ticket::{Shown, TicketPage};
use crate::samples::{HOSTILE, SampleSet, ago, facts, id, now, request_id, text, wrong};
use crate::ui::form::Choice;
use crate::ui::guides::{HelpGuide, HelpIndex, guides};
use crate::ui::page::{Chrome, Flash};
use crate::ui::parts::When;
use crate::ui::system::System;
use domain::command_line::CommandLine;
use domain::ids::{HostId, LoginId, ServerId};
use domain::login::Surface;
use domain::profile::{Profile, ProfileState};
use domain::retention::DataKind;
use domain::secret::Secret;
use domain::session::Session;
use domain::settings::Retention;
use domain::text::{HostName, Name};
use domain::user::User;
use domain::{Revised, Revision, samples};
use services::cluster::health::{ClusterHealth, HostCount};
use services::identity::logins::{FormToken, LoginView, Person};
use services::identity::outcome::{SignInFacts, SignInRefusal};
use services::identity::tickets::TicketView;
use services::people::my_data::MyDataKind;
use services::people::self_service::{MyProfile, MyProfileStatus, MySession, Outdated};

/// Every problem that people can meet.
pub(crate) const MET: &[(&str, Code)] = &[
    ("not-found", Code::NoSuchPath),
    ("method", Code::MethodNotAllowed),
    ("form-too-old", Code::StaleForm),
    ("foreign-form", Code::ForeignForm),
    ("too-large", Code::TooLarge),
    ("too-many", Code::TooMany),
    ("database-away", Code::DatabaseAway),
    ("paused", Code::Paused),
    ("busy", Code::Busy),
    ("internal", Code::Internal),
];

fn person(name: &str) -> Person {
    Person {
        user: User { email: Some(text("ana@example.com")), ..samples::user(1, name) },
        login: id::<LoginId>(1),
        form_token: FormToken("sample-form-token".to_owned()),
        request_id: None,
    }
}

/// A profile of sixteen days, used two hours ago.
fn profile(number: u128, name: &str, status: MyProfileStatus) -> MyProfile {
    let used = status != MyProfileStatus::NeverUsed;
    let expires_at = if status == MyProfileStatus::Expired { ago(24 * 3) } else { ago(-24 * 74) };
    let state =
        if matches!(status, MyProfileStatus::Revoked { .. }) { ProfileState::Revoked } else { ProfileState::Active };
    let profile =
        Profile { state, expires_at, last_connected_at: used.then(|| ago(2)), ..samples::profile(number, name) };
    let server_name: Name = text("Office");
    MyProfile { profile: Revised { rev: Revision(1), value: profile }, server_name, status, note: None }
}

impl SampleSet {
    fn portal_outside(&self) -> Chrome {
        Chrome::new(&facts(self.company), None, None)
    }

    fn inside(&self, here: &'static str) -> Chrome {
        Chrome { here, ..Chrome::new(&facts(self.company), Some(&person(self.name)), None) }
    }

    /// A profile in each state, with a word for each.
    fn profiles(&self) -> Vec<(&'static str, MyProfile)> {
        let host: HostName = text("vpn-2");
        let of = |number, name: &str, status| profile(number, name, status);
        let mut soon = of(5, "Ana's old ThinkPad", MyProfileStatus::Ready);
        soon.profile.value.expires_at = ago(-24 * 9 - 5);
        vec![
            ("connected", of(1, self.device, MyProfileStatus::Connected { host, since: ago(3) })),
            ("ready", of(2, "Ana's iPhone", MyProfileStatus::Ready)),
            (
                "update",
                MyProfile {
                    note: Some(Outdated { added: vec![text("vpn-3")], removed: Vec::new(), other: false }),
                    ..of(3, "Desktop at home", MyProfileStatus::Ready)
                },
            ),
            ("never-used", of(4, "Chromebook", MyProfileStatus::NeverUsed)),
            ("expires", soon),
            ("replaced", of(6, "Build machine", MyProfileStatus::Replaced { until: ago(-24 * 6) })),
            ("expired", of(7, "Tablet", MyProfileStatus::Expired)),
            ("revoked", of(8, "Lost phone", MyProfileStatus::Revoked { at: ago(24 * 12) })),
        ]
    }

    fn sign_in(&mut self) {
        let page = |chrome: Chrome, state, is_google, provider| SignInPage {
            chrome,
            state,
            is_google,
            provider,
            return_to: "/".to_owned(),
            command_line: CommandLine::default(),
        };
        let open = SignInState::Open(None);
        self.add("sign-in", &page(self.portal_outside(), open.clone(), true, "Google"));
        self.add("sign-in-other-issuer", &page(self.portal_outside(), open.clone(), false, "Your company's sign-in"));
        let away = SignInState::Open(Some(When::new(now() - SignedDuration::from_mins(12), now())));
        self.add("sign-in-provider-away", &page(self.portal_outside(), away, true, "Google"));
        let nameless = SignInFacts { company_name: None, contact: None, issuer: None, ..facts("x") };
        self.add(
            "sign-in-not-set-up",
            &page(Chrome::new(&nameless, None, None), SignInState::NotSetUp, true, "Google"),
        );
        self.add("sign-in-database-away", &page(self.portal_outside(), SignInState::Unknown, true, "Google"));
        let flash = Chrome { flash: Some(Flash::SignedOut), ..self.portal_outside() };
        self.add("sign-in-signed-out", &page(flash, open, true, "Google"));

        let account = || Some(text("ana@gmail.com"));
        for (name, refusal) in [
            ("wrong-company", SignInRefusal::WrongCompany { account: account() }),
            ("private-account", SignInRefusal::NoHostedDomain { account: account() }),
            ("not-verified", SignInRefusal::NotVerified { account: account() }),
            ("not-invited", SignInRefusal::NotInvited { account: account() }),
            ("disabled", SignInRefusal::Disabled { account: account() }),
            ("other-person", SignInRefusal::OtherPerson { account: account() }),
            ("expired", SignInRefusal::Expired),
            ("cancelled", SignInRefusal::Cancelled),
            ("not-configured", SignInRefusal::NotConfigured),
            ("provider-away", SignInRefusal::ProviderAway { since: ago(1) }),
            ("provider", SignInRefusal::Provider("PST-OIDC-007".to_owned())),
        ] {
            if let Ok(page) = Refused::new(self.portal_outside(), "Google", refusal, request_id()) {
                self.add(&format!("refused-{name}"), &page);
            }
        }
        for (name, code) in MET {
            let problem = Problem::new(*code, "inside");
            let page = Trouble {
                chrome: self.portal_outside(),
                words: Words::of(&problem, Surface::Portal),
                request_id: request_id(),
            };
            self.add(&format!("trouble-{name}"), &page);
        }
    }

    fn devices(&mut self) {
        let all = self.profiles();
        let system = Some(System::Macos);
        self.add("home-empty", &Home::new(self.inside("/"), Vec::new(), now(), system));
        let every: Vec<_> = all.iter().map(|(_, mine)| mine.clone()).collect();
        self.add("home", &Home::new(self.inside("/"), every, now(), system));
        for (name, mine) in &all {
            self.add(&format!("profile-{name}"), &ProfilePage::new(self.inside("/"), mine.clone(), now()));
        }
        if let Some((_, mine)) = all.first() {
            let page = ProfilePage::new(self.inside("/"), mine.clone(), now());
            let typed = wrong(&[("name", "The name must not be empty.")]).with("name", HOSTILE);
            let page = ProfilePage { form: page.form.typed(typed), ..page };
            self.add("profile-name-refused", &page);
            let page =
                ProfilePage::new(Chrome { flash: Some(Flash::Renamed), ..self.inside("/") }, mine.clone(), now());
            self.add("profile-renamed", &page);
        }
    }

    fn set_up(&mut self) {
        let choice = |number, name: &str| Choice::new(id::<ServerId>(number), name);
        let new = |set: &Self, guess, servers| NewDevice::new(set.inside("/"), set.name, guess, servers);
        let one = || vec![choice(1, "Office")];
        let two = || vec![choice(1, "Office"), choice(2, self.device)];
        let plain = new(self, Some(System::Macos), one());
        let several = new(self, None, two());
        let errors = [("name", "The name must not be empty."), ("server_id", "Choose one of the networks.")];
        let mut typed = several.form.fields.clone().with("name", "");
        typed.errors = wrong(&errors).errors;
        let refused = NewDevice { form: new(self, None, two()).form.typed(typed), ..new(self, None, two()) };
        let full = "You have 10 devices, the most allowed. Revoke one that you do not need, then come back.";
        let full = new(self, None, one()).form.typed(wrong(&[("", full)]));
        let full = NewDevice { form: full, ..new(self, None, one()) };
        let none = new(self, Some(System::Linux), Vec::new());
        self.add("new", &plain);
        self.add("new-several-servers", &several);
        self.add("new-refused", &refused);
        self.add("new-limit", &full);
        self.add("new-no-server", &none);

        let url = || Secret::new(format!("https://vpn.example.com/p/{}", "k3Zx9".repeat(9)));
        for guide in guides() {
            let ready = Ready {
                chrome: self.inside("/"),
                name: self.device.to_owned(),
                server_id: id::<ServerId>(1).to_string(),
                server_name: "Office".to_owned(),
                guide,
                ticket: Some(TicketLink::new(&url(), When::clock(now() + SignedDuration::from_mins(10)))),
                live: Live::waiting(now()),
                scan: guide.phone,
            };
            self.add(&format!("ready-{}", guide.slug()), &ready);
        }
        let every: Vec<_> = self.profiles().into_iter().map(|(_, mine)| mine).collect();
        self.add("watch-connected", &Watch { chrome: self.inside("/"), live: Live::of(&every, ago(24 * 17)) });
        self.add("watch-waiting", &Watch { chrome: self.inside("/"), live: Live::waiting(now()) });

        let view = TicketView {
            server_name: text("Office"),
            profile_name: text(self.device),
            expires_at: now() + SignedDuration::from_mins(7),
        };
        let shown = Shown::new(view, "k3Zx9".repeat(9), "https://vpn.example.com");
        self.add(
            "ticket",
            &TicketPage { chrome: self.portal_outside(), ticket: Some(shown), request_id: request_id() },
        );
        self.add("ticket-gone", &TicketPage { chrome: self.portal_outside(), ticket: None, request_id: request_id() });
    }

    fn own(&mut self) {
        let session = |number, host: &str, device: &str| MySession {
            session: Session {
                host_id: id::<HostId>(number),
                remote_address: ([198, 51, 100, 24], 50_114).into(),
                bytes_sent: 1_310_000_000,
                ..samples::session(number)
            },
            profile_name: text(device),
            host_name: text(host),
        };
        let login = |number, label: &str, address: IpAddr, current| LoginView {
            id: id::<LoginId>(number),
            label: label.to_owned(),
            address,
            since: ago(4),
            seen_at: if current { now() } else { ago(1) },
            current,
        };
        let here = login(1, "Firefox 142", IpAddr::from([198, 51, 100, 24]), true);
        let there = login(2, self.device, IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 5]), false);
        let tunnels = [session(1, "vpn-2", self.device), session(2, "vpn-1", "Ana's iPhone")];
        let chrome = self.inside("/sessions");
        let logins = vec![here.clone(), there];
        self.add("sessions", &Sessions { chrome, tunnels: tunnels.into(), logins, now: now() });
        let ended = Chrome { flash: Some(Flash::SessionEnded), ..self.inside("/sessions") };
        let quiet = Sessions { chrome: ended, tunnels: Vec::new(), logins: vec![here], now: now() };
        self.add("sessions-quiet", &quiet);

        let value = |kind| match kind {
            DataKind::Account => {
                json!({ "name": self.name, "email": "ana@example.com", "groups": ["staff", "build"] })
            }
            DataKind::Profiles => {
                json!({ "name": self.device, "address": "10.200.14.7", "issued_at": "2026-11-07T14:02:00Z", "revoked": false })
            }
            _ => json!({ "at": "2026-11-23T14:02:00Z", "note": self.device, "nothing": null }),
        };
        let kinds = DataKind::ALL.map(|kind| MyDataKind {
            kind,
            title: kind.title(),
            why: kind.why(),
            kept: kind.kept(&Retention::default()).sentence(),
            values: vec![value(kind); if kind == DataKind::Audit { 214 } else { 1 }],
        });
        self.add("my-data", &MyDataPage { chrome: self.inside("/my-data"), kinds: kinds.into() });

        self.add("help", &HelpIndex { chrome: self.portal_outside(), guides: guides() });
        for guide in guides() {
            self.add(&format!("help-{}", guide.slug()), &HelpGuide { chrome: self.inside("/help"), guide });
        }
        for (name, health, is_away) in [
            (
                "status",
                ClusterHealth { hosts: Some(HostCount { well: 3, ..HostCount::default() }), database: true },
                false,
            ),
            (
                "status-amiss",
                ClusterHealth { hosts: Some(HostCount { well: 1, ill: 1, draining: 1, offline: 0 }), database: true },
                true,
            ),
            ("status-database-away", ClusterHealth { hosts: None, database: false }, false),
            (
                "status-down",
                ClusterHealth { hosts: Some(HostCount { offline: 3, ..HostCount::default() }), database: true },
                false,
            ),
        ] {
            self.add(name, &Status { chrome: self.portal_outside(), health, is_away, at: When::clock(now()) });
        }
    }
}

/// Adds every page of the portal in every state.
pub(super) fn add(set: &mut SampleSet) {
    set.sign_in();
    set.devices();
    set.set_up();
    set.own();
}
