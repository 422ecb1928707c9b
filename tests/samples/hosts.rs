//! The pages of hosts in every state, from sample data.

use std::collections::BTreeSet;

use crate::admin::hosts::invitations;
use crate::admin::hosts::invitations::{Invitation, Joined};
use crate::admin::hosts::list::{Found, HostPage, Hosts};
use crate::admin::lists::List as _;
use crate::admin::nouns::NewPage;
use crate::samples::sessions::row as carried;
use crate::samples::{SampleSet, ago, by_name, id, now, place, text, wrong};
use crate::ui::fields::Fields;
use crate::ui::links::Link;
use crate::ui::preview::{Preview, Question};
use crate::ui::topic::Topic;
use domain::effect::CutOff;
use domain::host::{HostState, ProcessRole};
use domain::ids::{HostId, JoinTokenId, ProfileId, ServerId, UserId};
use domain::join::{DatabaseUser, MachineCheck};
use domain::problem::{Problem, ProblemCode};
use domain::role::Role;
use domain::server::{DaemonState, Protocol};
use domain::text::HostName;
use domain::{Revised, Revision};
use services::Page;
use services::access::effect::Effect;
use services::hosts::joining::{JoinTokenState, JoinTokenView};
use services::hosts::removal::{RemovalView, SharedKey};
use services::hosts::rows::{HostDaemon, HostRow, Releases, ServerChoice};
use services::hosts::view::{DrainState, DrainView, HostView};
use services::network::probes::Reached;

const TOPICS: &[Topic] = &[Topic::Hosts];

fn host(number: u128, state: HostState) -> HostView {
    HostView {
        id: id::<HostId>(number),
        name: text(&format!("vpn-{number}")),
        public_address: Some(text("203.0.113.10")),
        public_addresses: vec![text("203.0.113.10"), text("2001:db8::10")],
        state,
        last_seen_at: (state != HostState::Offline || number > 3).then(|| ago(if number > 3 { 52 } else { 0 })),
        version: (number < 6).then(|| (if number == 2 { "0.1.0" } else { "0.2.0" }).to_owned()),
        roles: BTreeSet::from([ProcessRole::Vpn, ProcessRole::Console]),
        sessions: if state == HostState::Offline { 0 } else { 40 + u64::try_from(number).unwrap_or(0) },
        drain: None,
        problems: Vec::new(),
    }
}

/// Something that is wrong with a host.
pub(super) fn problem(code: ProblemCode, server: Option<u128>, detail: &str, hours: i64) -> Problem {
    Problem { code, server_id: server.map(id::<ServerId>), detail: detail.to_owned(), since: ago(hours) }
}

/// What is wrong with a host that has everything.
fn all_problems() -> Vec<Problem> {
    vec![
        problem(
            ProblemCode::Firewall,
            None,
            "Postern's firewall table was gone 3 times within an hour; it is made anew each time: look for what flushes it",
            1,
        ),
        problem(
            ProblemCode::DaemonHung,
            Some(1),
            "openvpn has not answered on its management socket for 15 s; it is being restarted",
            0,
        ),
        problem(
            ProblemCode::DaemonFailed,
            Some(2),
            "another program listens on this port (openvpn: TCP/UDP: Socket bind failed on local address)",
            3,
        ),
        problem(
            ProblemCode::ClonedHost,
            None,
            "another machine with this host's key tries to be this host and is refused, because somebody started a copy of this disk: stop that machine, delete host.key in its host.data_dir and let it join with a new token",
            30,
        ),
    ]
}

fn drain(state: DrainState, moved: u64, remaining: u64) -> DrainView {
    let started_at = now() - jiff::SignedDuration::from_secs(20);
    DrainView {
        state,
        started_at,
        ends_at: now() + jiff::SignedDuration::from_secs(40),
        moved,
        waiting: remaining,
        cut_off: if state == DrainState::Drained { 3 } else { 0 },
        remaining,
        refused: 3,
        drained_at: (state == DrainState::Drained).then_some(started_at),
    }
}

fn daemon(number: u128, name: &str, state: DaemonState, detail: Option<&str>) -> HostDaemon {
    HostDaemon {
        server_id: id::<ServerId>(number),
        name: text(name),
        port: 1194.try_into().expect("a port"),
        protocol: Protocol::Udp,
        enabled: number != 3,
        state,
        detail: detail.map(str::to_owned),
        reached: None,
    }
}

/// What another host saw of a daemon.
pub(super) fn seen(detail: Option<&str>) -> Reached {
    Reached {
        by: id::<HostId>(1),
        name: text("vpn-1"),
        at: now() - jiff::SignedDuration::from_secs(80),
        ok: detail.is_none(),
        detail: detail.map(str::to_owned),
        address: text("203.0.113.10"),
        port: 1194.try_into().expect("a port"),
        protocol: Protocol::Udp,
    }
}

const SILENT: &str = "no answer within 3 s";

fn row(host: HostView, name: &str) -> HostRow {
    let failed = "another program listens on this port (openvpn: TCP/UDP: Socket bind failed on local address)";
    let daemons = vec![
        HostDaemon { reached: Some(seen(None)), ..daemon(1, name, DaemonState::Running, None) },
        daemon(2, "Laboratory", DaemonState::Failed, Some(failed)),
        daemon(3, "Old office", DaemonState::Stopped, None),
    ];
    HostRow { host: Revised { rev: Revision(7), value: host }, daemons }
}

fn removal(needs_force: bool, name: &str) -> RemovalView {
    let shared = |number, name: &str, active_profiles| SharedKey {
        server_id: id::<ServerId>(number),
        name: text(name),
        active_profiles,
    };
    let servers = vec![shared(1, name, 214), shared(2, "Laboratory", 0)];
    let one = |number, user: &str, profile: &str| CutOff {
        user_id: id::<UserId>(number),
        user: Some(text(user)),
        profile_id: id::<ProfileId>(number),
        profile: Some(text(profile)),
    };
    let cut_off = vec![one(1, "Ana Ivanova", "Laptop"), one(2, name, "Phone"), one(3, "Bo", "Work computer")];
    RemovalView {
        needs_force,
        sessions: if needs_force { 41 } else { 0 },
        profiles: 214,
        profiles_cut_off: 17,
        sessions_cut_off: if needs_force { 5 } else { 0 },
        cut_off: if needs_force { cut_off } else { Vec::new() },
        servers,
    }
}

fn found(set: &SampleSet, host: HostView) -> Found {
    let needs_force = host.state != HostState::Offline;
    Found {
        carried: Page {
            items: if needs_force {
                vec![carried(set, 1, "Laptop", true), carried(set, 2, set.name, true)]
            } else {
                Vec::new()
            },
            next: needs_force.then(|| "more".to_owned()),
            count: None,
        },
        row: row(host, set.name),
        removal: removal(needs_force, set.name),
        releases: releases(),
        free: vec![ServerChoice { id: id::<ServerId>(4), name: text(set.name) }],
        history: set.changes(),
    }
}

fn releases() -> Releases {
    vec![("0.1.0".to_owned(), 1), ("0.2.0".to_owned(), 2)]
}

fn token(number: u128, state: JoinTokenState, checks: Vec<MachineCheck>) -> JoinTokenView {
    JoinTokenView {
        id: id::<JoinTokenId>(number),
        host_name: text::<HostName>(&format!("vpn-{number}")),
        server_ids: BTreeSet::from([id::<ServerId>(1)]),
        created_at: ago(1),
        expires_at: if state == JoinTokenState::Expired { ago(2) } else { ago(-1) },
        state,
        share_database_user: false,
        host_id: (state == JoinTokenState::Redeemed).then(|| id::<HostId>(number)),
        database_user: (state == JoinTokenState::Redeemed).then_some(DatabaseUser::Own),
        checks,
    }
}

fn check(name: &str, trouble: Option<(&str, &str)>) -> MachineCheck {
    MachineCheck {
        name: text(name),
        passed: trouble.is_none(),
        cause: trouble.map(|(cause, _)| text(cause)),
        remedy: trouble.map(|(_, remedy)| text(remedy)),
    }
}

/// Adds them all.
pub(super) fn add(set: &mut SampleSet) {
    lists(set);
    pages(set);
    questions(set);
    invitations(set);
}

fn lists(set: &mut SampleSet) {
    let mut desk = set.desk("/hosts");
    desk.live = TOPICS;
    let link = HostRow::link();
    let order = by_name(&link);
    let only = || place(&link, true, None);
    let rows = |set: &SampleSet| {
        let draining = HostView { drain: Some(drain(DrainState::Moving, 12, 29)), ..host(3, HostState::Draining) };
        vec![
            row(host(1, HostState::Online), set.name),
            row(HostView { problems: all_problems(), ..host(2, HostState::Online) }, "Laboratory"),
            row(draining, "Laboratory"),
            HostRow { daemons: Vec::new(), ..row(host(4, HostState::Offline), "Laboratory") },
            HostRow { daemons: Vec::new(), ..row(host(6, HostState::Offline), "Laboratory") },
        ]
    };
    let open = || vec![token(7, JoinTokenState::Open, Vec::new()), token(8, JoinTokenState::Open, Vec::new())];
    let next = place(&link, false, Some("/hosts?limit=50&cursor=x"));
    set.add("hosts", &Hosts::new(&desk, &rows(set), &open(), &releases(), &order, next));
    let one = vec![("0.2.0".to_owned(), 1)];
    set.add("hosts-empty", &Hosts::new(&desk, &[], &[], &one, &order, only()));
    let auditor = set.desk_of(Role::Auditor, "/hosts");
    set.add("hosts-auditor", &Hosts::new(&auditor, &rows(set), &[], &one, &order, only()));
}

fn pages(set: &mut SampleSet) {
    let mut desk = set.desk("/hosts/hst_1");
    desk.live = TOPICS;
    let online = host(2, HostState::Online);
    set.add("host", &HostPage::new(&desk, found(set, online.clone())));
    let ill = HostView { problems: all_problems(), ..online.clone() };
    set.add("host-ill", &HostPage::new(&desk, found(set, ill)));
    let mut shut = found(set, online.clone());
    for daemon in shut.row.daemons.iter_mut().take(1) {
        daemon.reached = Some(seen(Some(SILENT)));
    }
    set.add("host-unreached", &HostPage::new(&desk, shut));
    let text =
        "Host vpn-2 is in service: it carries 41 live sessions, and 214 active profiles list it: drain it first.";
    let page = || HostPage::new(&desk, found(set, online.clone()));
    let refused = HostPage { form: page().form.typed(wrong(&[("", text)])), ..page() };
    let late = ("budget", "The time must be one of those offered.");
    let misnamed = ("name", "The name must consist of lower-case letters, digits and hyphens.");
    let form = page().form.typed(wrong(&[misnamed, late]).with("name", set.name));
    let misnamed = HostPage { form, draining: page().draining.typed(wrong(&[late])), ..page() };
    set.add("host-refused", &refused);
    set.add("host-wrong", &misnamed);
    for (name, state, moved, remaining) in [
        ("waiting", DrainState::Waiting, 0, 41),
        ("moving", DrainState::Moving, 12, 29),
        ("held", DrainState::Held, 12, 29),
        ("drained", DrainState::Drained, 41, 0),
    ] {
        let draining = HostView { drain: Some(drain(state, moved, remaining)), ..host(3, HostState::Draining) };
        set.add(&format!("host-{name}"), &HostPage::new(&desk, found(set, draining)));
    }
    let offline = host(4, HostState::Offline);
    set.add("host-offline", &HostPage::new(&desk, found(set, offline)));
    let mut bare = found(set, host(6, HostState::Offline));
    (bare.row.daemons, bare.free, bare.removal.servers) = (Vec::new(), Vec::new(), Vec::new());
    (bare.removal.profiles, bare.removal.profiles_cut_off) = (0, 0);
    set.add("host-never-heard", &HostPage::new(&desk, bare));
    let web = HostView { roles: BTreeSet::from([ProcessRole::Console]), ..online.clone() };
    set.add("host-without-vpn", &HostPage::new(&desk, Found { row: row(web, set.name), ..found(set, online.clone()) }));
    let auditor = set.desk_of(Role::Auditor, "/hosts/hst_1");
    set.add("host-auditor", &HostPage::new(&auditor, found(set, online)));
}

/// What is asked before a host is drained.
fn questions(set: &mut SampleSet) {
    let desk = set.desk("/hosts/hst_1/drain");
    let link = Link::to(&id::<HostId>(2));
    let question = Question {
        title: "Drain vpn-2?".to_owned(),
        hint: "Its sessions go to the other hosts within the time. Whoever is cut off stays until its end.",
        button: "Drain host",
        is_final: false,
        action: link.and("drain"),
        back: link,
        changes: Vec::new(),
    };
    let cut_off = removal(true, set.name).cut_off;
    let effect = Effect {
        sessions_ending: 23,
        sessions_cut_off: 23,
        sessions_moving: 18,
        profiles_cut_off: 31,
        cut_off,
        ..Effect::default()
    };
    set.add("host-drain-asked", &Preview::new(&desk, question, &Fields::default(), &effect));
}

fn invitations(set: &mut SampleSet) {
    let desk = set.desk("/hosts/join");
    let choice = |number, name: &str| ServerChoice { id: id::<ServerId>(number), name: text(name) };
    let servers = || vec![choice(1, set.name), choice(2, "Laboratory")];
    let first = id::<ServerId>(1).to_string();
    let form = |servers, must_share, errors: &[(&str, &str)]| {
        let form = invitations::form(&desk, servers, must_share).typed(wrong(errors).with("server_ids", &first));
        NewPage::of::<JoinTokenId>(&desk, form)
    };
    let unshared = ("share_database_user", "This process may make no database users.");
    let running = ("host_name", "A host named vpn-1 is running already.");
    let same_port = ("server_ids", "Two of them listen on the same port.");
    let pages = [
        ("host-join", form(servers(), false, &[])),
        ("host-join-no-server", NewPage::of::<JoinTokenId>(&desk, invitations::form(&desk, Vec::new(), false))),
        ("host-join-shared-user", form(servers(), true, &[unshared])),
        ("host-join-refused", form(servers(), false, &[running, same_port])),
    ];
    for (name, page) in pages {
        set.add(name, &page);
    }
    let mut desk = set.desk("/hosts/join/jtk_1");
    desk.live = TOPICS;
    let command = format!(
        "printf %s psj_{} | postern join https://vpn-admin.internal.example.com --token-file -",
        "3kQ9w".repeat(24)
    );
    let open = token(7, JoinTokenState::Open, Vec::new());
    set.add("invitation-new", &Invitation::new(&desk, &open, None, Some(command)));
    set.add("invitation-open", &Invitation::new(&desk, &open, None, None));
    let sharing = JoinTokenView { share_database_user: true, ..open.clone() };
    set.add("invitation-sharing", &Invitation::new(&desk, &sharing, None, None));
    let failed = vec![
        check("tun device", None),
        check("clock", Some(("40 seconds behind the database", "timedatectl set-ntp true"))),
        check("openvpn", Some((set.name, "apt install openvpn"))),
    ];
    let failed = token(7, JoinTokenState::Open, failed);
    set.add("invitation-failed", &Invitation::new(&desk, &failed, None, None));
    let passed = || ["tun device", "clock", "openvpn", "forwarding", "database"].map(|name| check(name, None)).to_vec();
    let joined = token(5, JoinTokenState::Redeemed, passed());
    let watched = |row| Joined { row, watched: [id::<ServerId>(1)].into() };
    let alone = |row| Joined { row, watched: BTreeSet::new() };
    let starting = || HostRow {
        daemons: vec![daemon(1, set.name, DaemonState::Pending, Some("waits for its certificate"))],
        ..row(host(5, HostState::Online), set.name)
    };
    set.add("invitation-joined", &Invitation::new(&desk, &joined, Some(&watched(starting())), None));
    let runs = |reached| HostRow {
        daemons: vec![HostDaemon { reached, ..daemon(1, set.name, DaemonState::Running, None) }],
        ..starting()
    };
    let pages = [
        ("invitation-done", watched(runs(Some(seen(None))))),
        ("invitation-alone", alone(runs(None))),
        ("invitation-unlooked", watched(runs(None))),
        ("invitation-shut", watched(runs(Some(seen(Some(SILENT)))))),
    ];
    for (name, came) in pages {
        set.add(name, &Invitation::new(&desk, &joined, Some(&came), None));
    }
    let shares = JoinTokenView { database_user: Some(DatabaseUser::SharedWithWeb), ..joined.clone() };
    set.add("invitation-shares", &Invitation::new(&desk, &shares, None, None));
    set.add("invitation-removed", &Invitation::new(&desk, &joined, None, None));
    let over = token(7, JoinTokenState::Expired, Vec::new());
    set.add("invitation-expired", &Invitation::new(&desk, &over, None, None));
    let auditor = set.desk_of(Role::Auditor, "/hosts/join/jtk_1");
    set.add("invitation-auditor", &Invitation::new(&auditor, &open, None, None));
}
