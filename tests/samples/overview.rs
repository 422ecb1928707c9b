//! The overview and the set-up in every state.

use jiff::Timestamp;

use crate::admin::cluster::overview::OverviewPage;
use crate::admin::cluster::setup::SetupPage;
use crate::samples::hosts::problem;
use crate::samples::{SampleSet, ago, id, now, text, wrong};
use crate::ui::parts::When;
use crate::ui::topic::Topic;
use domain::authority::AuthorityKind;
use domain::ids::{HostId, Id as _, OrganizationId, ServerId};
use domain::problem::{Problem, ProblemCode};
use domain::role::Role;
use domain::usage::Usage;
use services::cluster::overview::{Expiring, Expiry, IllHost, Overview};
use services::cluster::setup::Setup;

impl SampleSet {
    fn complete_setup(&self) -> Setup {
        Setup {
            company: Some(text(self.name)),
            portal_url: Some("https://vpn.example.com".to_owned()),
            console_url: Some("https://vpn-admin.example.com".to_owned()),
            sign_in: true,
            organization: Some((id::<OrganizationId>(1), text(self.name))),
            server: Some(self.sample_server()),
            is_attached: true,
            is_running: true,
            has_profile: true,
            has_connected: true,
        }
    }

    fn well(&self) -> Overview {
        Overview {
            sessions: 128,
            hosts: 4,
            ready: 4,
            ill: Vec::new(),
            draining: Vec::new(),
            servers: [(id::<ServerId>(2), text("Laboratory"))].into(),
            profiles: 412,
            outdated: 0,
            expiring: vec![Expiry { what: Expiring::Authority(AuthorityKind::Server), at: ago(-24 * 3000) }],
            joins_in_trouble: Vec::new(),
            setup: self.complete_setup(),
            usage: usage(now()),
            names: [(HostId::from_parts(now(), 1), text("vpn-1")), (HostId::from_parts(now(), 2), text("vpn-2"))]
                .into(),
            hears: true,
            is_readable: false,
        }
    }

    /// The first page.
    pub(super) fn overview(&mut self) {
        let mut desk = self.desk("/");
        desk.live = &[Topic::Policy, Topic::Hosts, Topic::Sessions];
        self.add("overview", &OverviewPage::new(&desk, self.well()));
        let ill = |number, name: &str, problems| IllHost { id: id::<HostId>(number), name: text(name), problems };
        let unreached = "vpn-1 sees no answer within 3 s at 203.0.113.10, udp port 1194: look for a security group, a \
                         firewall or a route in front of this host";
        let never = Problem {
            since: Timestamp::UNIX_EPOCH,
            ..problem(ProblemCode::Offline, None, "vpn-4 has never been heard of", 0)
        };
        let several = vec![
            problem(ProblemCode::Forwarding, None, "net.ipv4.ip_forward is 0 and cannot be switched on", 0),
            problem(ProblemCode::DaemonFailed, Some(2), "port 1194/udp is taken by another program", 3),
            problem(ProblemCode::Clock, None, "this machine's clock is 8.0 s ahead of the database's", 9),
            problem(ProblemCode::OpenvpnVersion, None, "openvpn 2.6.3 has a known hole", 9),
        ];
        let drained = Overview { hosts: 2, ready: 1, draining: vec![(id::<HostId>(2), text("vpn-2"))], ..self.well() };
        self.add("overview-drained", &OverviewPage::new(&desk, drained));
        let troubled = Overview {
            sessions: 1,
            hosts: 7,
            ready: 1,
            draining: vec![(id::<HostId>(7), text("vpn-7"))],
            ill: vec![
                ill(1, "vpn-2", vec![problem(ProblemCode::Offline, None, "vpn-2 has not been heard of", 3)]),
                ill(2, "vpn-3", several),
                ill(3, "vpn-4", vec![never]),
                ill(4, "vpn-5", vec![problem(ProblemCode::DaemonUnreached, Some(2), unreached, 1)]),
                ill(5, "vpn-6", vec![problem(ProblemCode::Offline, None, "vpn-6 was stopped", 26)]),
            ],
            outdated: 57,
            expiring: vec![
                Expiry { what: Expiring::Token(self.name.to_owned()), at: ago(-24 * 3) },
                Expiry { what: Expiring::Certificate(text("vpn-1")), at: ago(-24 * 120) },
                Expiry { what: Expiring::Authority(AuthorityKind::Client), at: ago(-24 * 3000) },
            ],
            joins_in_trouble: vec![text("vpn-5")],
            hears: false,
            is_readable: true,
            ..self.well()
        };
        self.add("overview-trouble", &OverviewPage::new(&desk, troubled));
        let fresh = Overview {
            sessions: 0,
            hosts: 0,
            ready: 0,
            profiles: 0,
            expiring: Vec::new(),
            usage: Usage::of(&[], 24, now()),
            setup: Setup { has_profile: false, sign_in: false, ..self.complete_setup() },
            ..self.well()
        };
        self.add("overview-fresh", &OverviewPage::new(&desk, fresh.clone()));
        let auditor = self.desk_of(Role::Auditor, "/");
        self.add("overview-auditor", &OverviewPage::new(&auditor, fresh));
    }

    /// The way to the first connection, step by step.
    pub(super) fn setup(&mut self) {
        let mut desk = self.desk("/setup");
        desk.live = &[Topic::Policy, Topic::Hosts, Topic::Sessions];
        let all = self.complete_setup();
        let waiting = Setup { has_connected: false, sign_in: false, ..all.clone() };
        let profile = Setup { has_profile: false, ..waiting.clone() };
        let host = Setup { is_attached: false, is_running: false, ..profile.clone() };
        let server = Setup { server: None, ..host.clone() };
        let organization = Setup { organization: None, ..server.clone() };
        let nothing = Setup { company: None, portal_url: None, console_url: None, ..organization.clone() };
        let hosts = vec![(id::<HostId>(1), text("vpn-1")), (id::<HostId>(2), text("vpn-2"))];
        for (name, setup) in [
            ("nothing", &nothing),
            ("organization", &organization),
            ("server", &server),
            ("host", &host),
            ("profile", &profile),
            ("waiting", &waiting),
            ("complete", &all),
        ] {
            self.add(&format!("setup-{name}"), &SetupPage::new(&desk, setup.clone(), hosts.clone()));
        }
        self.add("setup-no-host", &SetupPage::new(&desk, host, Vec::new()));
        let form = wrong(&[("name", "The name must not be empty.")]);
        self.add("setup-refused", &SetupPage::new(&desk, server, hosts.clone()).with_form(form));
        let link = format!("https://vpn.example.com/p/{}", "k3Zx9".repeat(9));
        let shown = SetupPage::new(&desk, profile, hosts).with_link(link, When::new(ago(-1), now()));
        self.add("setup-link", &shown);
    }
}

/// A report: a day with a quiet night and a gap.
pub(crate) fn usage(now: Timestamp) -> Usage {
    use domain::ids::{HostId, Id as _};
    use domain::usage::{SLOT, UsageSample, slot_of};
    let shape = [3, 2, 2, 4, 18, 61, 97, 120, 114, 128, 96, 40];
    let samples = (0_i64..288).filter(|n| !(100..112).contains(n)).flat_map(|n| {
        let at = slot_of(now).as_second() - (287 - n) * SLOT;
        let busy = usize::try_from(n / 24).ok().and_then(|hour| shape.get(hour)).copied().unwrap_or(0);
        [1_u128, 2].map(|host| UsageSample {
            host_id: HostId::from_parts(now, host),
            at: Timestamp::from_second(at).unwrap_or(now),
            sessions: busy / u64::try_from(host).unwrap_or(1),
            bytes_received: busy * 1_400_000,
            bytes_sent: busy * 9_300_000 / u64::try_from(host).unwrap_or(1),
        })
    });
    Usage::of(&samples.collect::<Vec<_>>(), 24, now)
}
