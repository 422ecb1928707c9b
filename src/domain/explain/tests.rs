//! The verdict and its reasons, over scenes of all kinds.

use std::net::Ipv4Addr;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::drain::Drain;
use crate::profile::{Fingerprint, WrittenFor};
use crate::samples;
use crate::samples::id;
use crate::text::GroupName;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn groups(names: &[&str]) -> BTreeSet<GroupName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn user() -> User {
    User { groups: groups(&["dev"]), ..samples::user(1, "Ana") }
}

fn server(number: u128, network: &str) -> Server {
    Server {
        name: format!("server {number}").parse().unwrap(),
        network: "10.200.0.0/16".parse().unwrap(),
        routes: vec![Route { network: network.parse().unwrap(), comment: None, nat: true }],
        ..samples::server(number)
    }
}

fn host(number: u8) -> Host {
    Host { name: format!("vpn-{number}x").parse().unwrap(), ..samples::host(number) }
}

fn profile(number: u8, server: u128) -> Profile {
    Profile {
        server_id: id(server),
        address: Ipv4Addr::new(10, 200, 0, number),
        issued_at: NOW,
        expires_at: NOW + SignedDuration::from_hours(1),
        fingerprint: Fingerprint([number; 32]),
        ..samples::profile(number.into(), &format!("device {number}"))
    }
}

fn scene() -> Scene {
    Scene {
        user: user(),
        organization: "Acme".parse().unwrap(),
        profiles: vec![profile(2, 7)],
        servers: vec![(server(7, "10.8.0.0/16"), vec![host(3), host(4)])],
        online: BTreeSet::from([id(3)]),
    }
}

fn asked(scene: &Scene) -> Explanation {
    explain(scene, "10.8.0.5".parse().unwrap(), NOW)
}

#[test]
fn an_open_way_says_how_it_leads_there() {
    let found = asked(&scene());
    assert!(found.allowed && found.changes.is_empty(), "{found:#?}");
    let kinds: Vec<_> = found.ways[0].links.iter().map(|link| link.kind.as_str()).collect();
    assert_eq!(kinds, ["user", "organization", "group", "profile", "server", "route", "host"]);
    assert!(found.ways[0].links.iter().all(|link| link.holds), "{found:#?}");
}

#[test]
fn what_would_have_to_change_is_said() {
    type Spoil = fn(&mut Scene);
    let cases: [(&str, Spoil); 10] = [
        ("Enable Ana.", |s| s.user.disabled = true),
        ("Open server 7 to Acme.", |s| s.servers[0].0.organization_ids.clear()),
        ("Put Ana into ops.", |s| s.servers[0].0.groups = groups(&["ops"])),
        ("Put Ana into one of ops, sales.", |s| s.servers[0].0.groups = groups(&["ops", "sales"])),
        ("Issue a new profile for server 7 to Ana.", |s| s.profiles.clear()),
        ("Issue a new profile for server 7 to Ana.", |s| s.profiles[0].state = ProfileState::Revoked),
        ("Issue a new profile for server 7 to Ana.", |s| s.profiles[0].expires_at = NOW),
        ("Enable server 7.", |s| s.servers[0].0.enabled = false),
        ("Attach a host to server 7.", |s| s.servers[0].1.clear()),
        ("Bring one of these hosts up: vpn-3x, vpn-4x.", |s| s.online.clear()),
    ];
    for (change, spoil) in cases {
        let mut scene = scene();
        spoil(&mut scene);
        let found = asked(&scene);
        assert!(!found.allowed);
        assert_eq!(found.changes, [change]);
    }
    let mut nowhere = scene();
    nowhere.servers.clear();
    assert_eq!(asked(&nowhere).changes, ["Add a route to 10.8.0.5 to a server."]);
}

#[test]
fn a_profile_connects_by_the_hosts_that_its_file_names_and_by_no_other() {
    let old = |scene: &mut Scene| {
        scene.profiles[0].written_for = Some(WrittenFor::now(&scene.servers[0].0, &[host(4)]));
    };
    let of =
        |scene: &Scene| asked(scene).ways[0].links.iter().find(|link| link.kind == LinkKind::Host).cloned().unwrap();
    let mut scene = scene();
    old(&mut scene);
    let link = of(&scene);
    assert!(!link.holds && !asked(&scene).allowed);
    assert_eq!(
        link.says,
        "The profile device 2 names vpn-4x, so it cannot connect by vpn-3x. These hosts are offline: vpn-4x."
    );
    let update = "Ana gets the updated profile for server 7 from the portal, or issue a new one.";
    assert_eq!(link.change.unwrap(), format!("{update} Or: bring one of these hosts up: vpn-4x."));

    scene.online.insert(id(4));
    assert!(of(&scene).holds && asked(&scene).allowed);
    // While the host drains, nobody else takes it.
    let leaving = |ends_at| Host { drain: Some(Drain { started_at: NOW, ends_at, forced: false }), ..host(4) };
    scene.servers[0].1[1] = leaving(NOW + SignedDuration::from_mins(1));
    assert!(of(&scene).holds && asked(&scene).allowed);
    scene.servers[0].1[1] = leaving(NOW);
    assert!(!of(&scene).holds && !asked(&scene).allowed);
    // An address that has changed since is not reached.
    scene.servers[0].1[1] = Host { public_addresses: vec!["203.0.113.99".parse().unwrap()], ..host(4) };
    let link = of(&scene);
    assert!(!link.holds && !asked(&scene).allowed);
    assert_eq!(link.says, "The profile device 2 names no host of server 7 where it is now; it was made for vpn-4x.");
    assert_eq!(link.change.as_deref(), Some(update));
}

#[test]
fn the_nearest_way_comes_first_and_the_narrowest_route_leads() {
    let mut scene = scene();
    scene.servers.insert(0, (Server { enabled: false, ..server(8, "10.0.0.0/8") }, Vec::new()));
    let found = asked(&scene);
    assert_eq!(found.ways.iter().map(|way| way.allowed).collect::<Vec<_>>(), [true, false]);
    let mut narrow = server(7, "10.0.0.0/8");
    narrow.routes.extend(server(7, "10.8.0.0/24").routes);
    assert_eq!(route_to(&narrow, "10.8.0.5".parse().unwrap()), Some(&narrow.routes[1]));
    assert_eq!(route_to(&narrow, "10.8.0.0/16".parse().unwrap()), Some(&narrow.routes[0]));
    for bad in ["", "10.8.0.5/16", "::1", "office.example.com"] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a condition of its own")]
struct Conditions {
    user_disabled: bool,
    open_to: bool,
    asks_for: Vec<&'static str>,
    enabled: bool,
    leads_there: bool,
    profiles: Vec<(bool, bool)>,
    hosts: Vec<(bool, bool)>,
    /// How many of the hosts the files of the profiles name, the first first; unknown if nothing.
    named: Option<usize>,
    /// Whether the time of the drains is over.
    drained: bool,
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let often = || prop::bool::weighted(0.8);
    let asks = prop::sample::subsequence(vec!["dev", "ops", "sales"], 0..=2);
    let pairs = || prop::collection::vec((prop::bool::weighted(0.7), prop::bool::weighted(0.7)), 0..3);
    let files = (prop::option::of(0_usize..3), prop::bool::ANY);
    (prop::bool::weighted(0.2), often(), asks, often(), often(), pairs(), pairs(), files).prop_map(
        |(user_disabled, open_to, asks_for, enabled, leads_there, profiles, hosts, (named, drained))| Conditions {
            user_disabled,
            open_to,
            asks_for,
            enabled,
            leads_there,
            profiles,
            hosts,
            named,
            drained,
        },
    )
}

fn built(conditions: &Conditions) -> Scene {
    let mut server = server(7, if conditions.leads_there { "10.8.0.0/16" } else { "10.9.0.0/16" });
    server.enabled = conditions.enabled;
    server.groups = groups(&conditions.asks_for);
    if !conditions.open_to {
        server.organization_ids = BTreeSet::from([id(2)]);
    }
    let all: Vec<Host> = conditions.hosts.iter().zip(20u8..).map(|(_, number)| host(number)).collect();
    let written_for = conditions.named.map(|named| WrittenFor::now(&server, all.get(..named).unwrap_or(&all)));
    let profiles = conditions.profiles.iter().zip(10u8..).map(|((is_active, is_fresh), number)| Profile {
        written_for: written_for.clone(),
        state: if *is_active { ProfileState::Active } else { ProfileState::Revoked },
        expires_at: NOW + SignedDuration::from_hours(i64::from(*is_fresh)),
        ..profile(number, 7)
    });
    let ends_at = if conditions.drained { NOW } else { NOW + SignedDuration::from_mins(1) };
    let drain = |drains: bool| drains.then_some(Drain { started_at: NOW, ends_at, forced: conditions.drained });
    let hosts = conditions.hosts.iter().zip(20u8..);
    let online = hosts.clone().filter(|((is_online, _), _)| *is_online).map(|(_, number)| id(number.into())).collect();
    let hosts = hosts.map(|((_, stays), number)| Host { drain: drain(!*stays), ..host(number) }).collect();
    Scene {
        user: User { disabled: conditions.user_disabled, ..user() },
        organization: "Acme".parse().unwrap(),
        profiles: profiles.collect(),
        servers: vec![(server, hosts)],
        online,
    }
}

proptest! {
    #[test]
    fn the_chain_and_the_answer_to_a_client_never_disagree(conditions in conditions()) {
        let scene = built(&conditions);
        let found = asked(&scene);
        let (server, hosts) = &scene.servers[0];
        let snapshot = scene.snapshot();
        let is_let_in = scene.profiles.iter().any(|profile| {
            let online = hosts.iter().filter(|host| scene.online.contains(&host.id));
            let takes = |other: HostId| scene.online.contains(&other);
            let leads = |host: &Host| profile.written_for.as_ref().is_none_or(|file| file.reaches(server, host));
            online.filter(|host| leads(host)).any(|host| {
                snapshot.admit(host.id, server.id, profile.fingerprint, NOW, takes).is_ok()
            })
        });
        prop_assert_eq!(found.allowed, is_let_in && conditions.leads_there);
        for way in &found.ways {
            prop_assert_eq!(way.allowed, way.links.iter().all(|link| link.holds), "{:#?}", way);
        }
        prop_assert_eq!(found.allowed, found.changes.is_empty());
    }
}
