//! Real nftables between a client, a host and a private network, each in a namespace.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use postern::firewall::{
    AllowedRoute, Blockage, Firewall, LossWatch, ServerRules, Settled, Upkeep, enable_forwarding, forwarding_enabled,
};

use crate::openvpn_rig::Namespace;

/// How long nothing must come for it to be blocked.
const SILENCE: Duration = Duration::from_millis(400);

/// A client behind `pst0` of the host, a network behind `lan` of it. The client's end is an ordinary cable here.
struct World {
    client: Namespace,
    host: Namespace,
    lan: Namespace,
}

impl World {
    fn new() -> Self {
        let world = Self { client: Namespace::new(), host: Namespace::new(), lan: Namespace::new() };
        world.client.cable("pst0", &["10.88.0.5/24", "10.66.0.1/32"], &world.host, &["10.88.0.1/24"]);
        let inner = ["10.77.0.2/24", "10.78.0.2/24", "10.79.0.2/24"];
        world.host.cable("lan", &["10.77.0.1/24", "10.78.0.1/24", "10.79.0.1/24"], &world.lan, &inner);
        world.client.run(&["ip", "route", "add", "default", "via", "10.88.0.1"]);
        world.lan.run(&["ip", "route", "add", "default", "via", "10.77.0.1"]);
        world.host.inside(|| {
            // A new namespace forwards if the machine does.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
            assert!(!forwarding_enabled().unwrap());
            assert!(enable_forwarding(&[]).unwrap());
            assert!(!enable_forwarding(&["pst0".to_owned()]).unwrap());
            assert!(forwarding_enabled().unwrap());
            // So that a spoofed packet is stopped by us or by nobody.
            for name in ["all", "pst0"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0").unwrap();
            }
        });
        world
    }

    /// As a Postern does it that has just started.
    fn apply(&self, servers: &[ServerRules]) {
        assert_eq!(self.settle(&mut Upkeep::default(), servers), Settled::Changed);
    }

    /// As one does it that runs.
    fn settle(&self, upkeep: &mut Upkeep, servers: &[ServerRules]) -> Settled {
        self.host.block_on(|| async {
            let firewall = Firewall::find().unwrap();
            firewall.check().await.unwrap();
            upkeep.settle(&firewall, servers).await.unwrap().0
        })
    }

    fn blockage(&self, server: &ServerRules) -> Option<Blockage> {
        self.host.block_on(|| async { Firewall::find().unwrap().read().await.unwrap().blockage(server) })
    }

    /// Whether the client gets an answer from there.
    fn reaches(&self, address: &str) -> bool {
        reaches(&self.client, address)
    }

    /// Whether a datagram of the client to there arrives at the host or behind it.
    fn hears(&self, destination: &str) -> bool {
        let to: SocketAddr = destination.parse().unwrap();
        let sockets = [&self.host, &self.lan].map(|namespace| {
            let socket = namespace.inside(|| UdpSocket::bind(("0.0.0.0", to.port())).unwrap());
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            if let SocketAddr::V4(to) = to
                && to.ip().is_multicast()
            {
                // Where no device leads there, it is not heard either.
                for address in ["10.88.0.1", "10.77.0.2"] {
                    let _ = socket.join_multicast_v4(to.ip(), &address.parse().unwrap());
                }
            }
            socket
        });
        self.client.inside(|| {
            let socket = UdpSocket::bind(("10.88.0.5", 0)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(b"x", to).unwrap();
        });
        sockets.iter().any(|socket| socket.recv_from(&mut [0; 8]).is_ok())
    }

    /// Where a datagram from this address of the client seems to come from, if it arrives at all.
    fn seen_as(&self, source: &str, destination: &str) -> Option<String> {
        let listener = self.lan.inside(|| UdpSocket::bind(destination).unwrap());
        listener.set_read_timeout(Some(SILENCE)).unwrap();
        self.client.inside(|| UdpSocket::bind((source, 0)).unwrap().send_to(b"x", destination).unwrap());
        listener.recv_from(&mut [0; 8]).ok().map(|(_, from)| from.ip().to_string())
    }
}

/// A refusal is an answer too.
fn reaches(from: &Namespace, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    match from.inside(|| TcpStream::connect_timeout(&address, SILENCE)) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

fn rules() -> ServerRules {
    let routes = [("10.77.0.0/24", true), ("10.78.0.2/32", false)];
    let routes = routes.map(|(network, nat)| AllowedRoute { network: network.parse().unwrap(), nat });
    ServerRules::new("pst0", "10.88.0.0/24".parse().unwrap(), routes).unwrap()
}

#[test]
fn clients_reach_their_routes_and_nothing_else() {
    let world = World::new();
    for address in ["10.77.0.2:80", "10.78.0.2:80", "10.79.0.2:80", "10.78.0.1:80"] {
        assert!(world.reaches(address), "{address} without rules");
    }
    world.apply(&[rules()]);
    for address in ["10.77.0.2:80", "10.78.0.2:80"] {
        assert!(world.reaches(address), "{address}");
    }
    assert!(!world.reaches("10.79.0.2:80"), "no route of the server");
    world.apply(&[rules()]);
    assert!(world.reaches("10.77.0.2:80"), "applied twice");
    assert_eq!(world.host.run(&["nft", "list", "table", "inet", "postern"]).matches("masquerade").count(), 1);

    world.apply(&[]);
    assert!(world.reaches("10.79.0.2:80"), "without rules again");
    assert_eq!(world.host.run(&["nft", "list", "tables"]), "");
    world.apply(&[]);
}

#[test]
fn clients_reach_the_host_only_at_an_address_with_a_route_of_its_own() {
    let world = World::new();
    let _admin = world.host.inside(|| TcpListener::bind("0.0.0.0:9443").unwrap());
    world.apply(&[rules()]);
    assert!(!world.reaches("10.88.0.1:9443"));
    assert!(!world.reaches("10.79.0.1:9443"));
    assert!(!world.reaches("10.77.0.1:9443"), "an address of the host in a route to its network");
    let own =
        ["10.77.0.0/24", "10.77.0.1/32"].map(|network| AllowedRoute { network: network.parse().unwrap(), nat: true });
    world.apply(&[ServerRules::new("pst0", "10.88.0.0/24".parse().unwrap(), own).unwrap()]);
    assert!(world.reaches("10.77.0.1:9443"), "an address of the host with a route of its own");
}

#[test]
fn networks_cannot_open_connections_to_clients() {
    let world = World::new();
    assert!(reaches(&world.lan, "10.88.0.5:22"));
    world.apply(&[rules()]);
    assert!(!reaches(&world.lan, "10.88.0.5:22"));
}

#[test]
fn sources_are_masked_where_asked_and_spoofed_ones_dropped() {
    let world = World::new();
    assert_eq!(world.seen_as("10.66.0.1", "10.77.0.2:5000").as_deref(), Some("10.66.0.1"), "spoofing works");
    world.apply(&[rules()]);
    assert_eq!(world.seen_as("10.66.0.1", "10.77.0.2:5000"), None);
    assert_eq!(world.seen_as("10.88.0.5", "10.77.0.2:5000").as_deref(), Some("10.77.0.1"), "masquerade");
    assert_eq!(world.seen_as("10.88.0.5", "10.78.0.2:5000").as_deref(), Some("10.88.0.5"), "as it is");
}

#[test]
fn a_process_without_the_right_is_told_so() {
    let world = World::new();
    let checked = world.host.block_on(|| async {
        let capabilities = rustix::thread::capabilities(None).unwrap();
        let mut without = capabilities;
        without.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        without.permitted.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        without.inheritable.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        rustix::thread::remove_capability_from_bounding_set(rustix::thread::CapabilitySet::NET_ADMIN).unwrap();
        rustix::thread::set_capabilities(None, without).unwrap();
        Firewall::find().unwrap().check().await
    });
    assert!(matches!(checked, Err(postern::firewall::FirewallError::NotPermitted(_))), "{checked:?}");
}

fn server(device: &str, network: &str, routes: &[&str]) -> ServerRules {
    let routes = routes.iter().map(|network| AllowedRoute { network: network.parse().unwrap(), nat: true });
    ServerRules::new(device, network.parse().unwrap(), routes).unwrap()
}

#[test]
fn no_route_however_wide_opens_what_is_no_network() {
    const METADATA: &str = "169.254.169.254:80";
    let world = World::new();
    world.lan.run(&["ip", "address", "add", "169.254.169.254/32", "dev", "lan"]);
    world.host.run(&["ip", "route", "add", "169.254.169.254/32", "dev", "lan"]);
    for device in ["pst0", "lan"] {
        for namespace in [&world.client, &world.host, &world.lan] {
            // Where the device is not, nothing is to be changed.
            namespace.inside(|| std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_dad"), "0").ok());
        }
    }
    world.host.run(&["ip", "address", "add", "fd00::1/64", "dev", "pst0", "nodad"]);
    world.client.run(&["ip", "address", "add", "fd00::5/64", "dev", "pst0", "nodad"]);
    let _admin = world.host.inside(|| TcpListener::bind("[::]:9443").unwrap());
    assert!(world.reaches(METADATA) && world.reaches("[fd00::1]:9443"), "without rules");

    // All at once, in halves, and by a range that holds the special ones.
    for routes in [&["0.0.0.0/0"][..], &["0.0.0.0/1", "128.0.0.0/1"], &["10.0.0.0/8", "168.0.0.0/6"]] {
        world.apply(&[server("pst0", "10.88.0.0/24", routes)]);
        assert!(world.reaches("10.77.0.2:80"), "{routes:?}");
        for closed in [METADATA, "10.77.0.1:9443", "10.78.0.1:9443", "10.88.0.1:9443", "[fd00::1]:9443"] {
            assert!(!world.reaches(closed), "{closed} by {routes:?}");
        }
        for group in ["224.0.0.251:5353", "255.255.255.255:5000", "10.77.0.255:5000", "10.88.0.255:5000"] {
            assert!(!world.hears(group), "{group} by {routes:?}");
        }
    }
    // Named exactly, beside the wide one.
    for exact in ["169.254.169.254/32", "169.254.0.0/16"] {
        world.apply(&[server("pst0", "10.88.0.0/24", &["0.0.0.0/0", exact])]);
        assert!(world.reaches(METADATA), "{exact}");
        assert!(!world.reaches("10.77.0.1:9443"), "{exact}");
    }
    world.apply(&[server("pst0", "10.88.0.0/24", &["0.0.0.0/0", "10.77.0.1/32"])]);
    assert!(world.reaches("10.77.0.1:9443") && !world.reaches("10.78.0.1:9443") && !world.reaches(METADATA));
}

#[test]
fn a_service_of_the_host_that_leads_on_into_a_container_is_the_hosts_all_the_same() {
    let world = World::new();
    world.host.run(&[
        "nft",
        "add table ip nat; add chain ip nat pre { type nat hook prerouting priority dstnat; }; \
        add rule ip nat pre ip daddr 10.79.0.1 tcp dport 8080 dnat to 10.79.0.2:80",
    ]);
    assert!(world.reaches("10.79.0.1:8080"), "without rules");
    world.apply(&[server("pst0", "10.88.0.0/24", &["0.0.0.0/0"])]);
    assert!(world.reaches("10.79.0.2:80"), "the container's network by the wide route");
    assert!(!world.reaches("10.79.0.1:8080"), "the published port");
    world.apply(&[server("pst0", "10.88.0.0/24", &["0.0.0.0/0", "10.79.0.1/32"])]);
    assert!(world.reaches("10.79.0.1:8080"), "the published port of an address with a route of its own");
}

#[test]
fn what_somebody_does_to_the_table_is_found_and_put_right() {
    let world = World::new();
    let (mut upkeep, rules) = (Upkeep::default(), [rules()]);
    assert_eq!(world.settle(&mut upkeep, &rules), Settled::Changed);
    assert_eq!(world.settle(&mut upkeep, &rules), Settled::Same);
    // Packets are counted, which is no change.
    assert!(world.reaches("10.77.0.2:80"));
    assert_eq!(world.settle(&mut upkeep, &rules), Settled::Same);

    let damages = [
        ("flush ruleset", Settled::Missing),
        ("delete table inet postern", Settled::Missing),
        ("flush table inet postern", Settled::Altered),
        ("flush chain inet postern to-pst0", Settled::Altered),
        ("insert rule inet postern forward accept", Settled::Altered),
        ("add chain inet postern theirs", Settled::Altered),
        ("add chain inet postern forward { policy drop; }", Settled::Altered),
        ("add table inet postern { flags dormant; }", Settled::Altered),
    ];
    for (damage, found) in damages {
        world.host.run(&["nft", damage]);
        assert_eq!(world.settle(&mut upkeep, &rules), found, "{damage}");
        assert_eq!(world.settle(&mut upkeep, &rules), Settled::Same, "{damage}");
        assert!(world.reaches("10.77.0.2:80") && !world.reaches("10.79.0.2:80"), "{damage}");
    }
    assert_eq!(world.settle(&mut upkeep, &[]), Settled::Changed);
    assert_eq!(world.settle(&mut upkeep, &[]), Settled::Same);
    assert!(upkeep.is_bare());
}

#[test]
fn what_is_permitted_to_a_service_unit_is_enough() {
    let world = World::new();
    let (mut upkeep, rules) = (Upkeep::default(), [rules()]);
    let settled = world.host.block_on(|| async {
        use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_res_uid};
        rustix::process::set_parent_process_death_signal(None).unwrap();
        let only = CapabilitySet::NET_ADMIN;
        rustix::thread::set_keep_capabilities(true).unwrap();
        let nobody = rustix::process::Uid::from_raw(65534);
        set_thread_res_uid(nobody, nobody, nobody).unwrap();
        set_capabilities(None, CapabilitySets { effective: only, permitted: only, inheritable: only }).unwrap();
        rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true).unwrap();
        let firewall = Firewall::find().unwrap();
        let first = upkeep.settle(&firewall, &rules).await.unwrap().0;
        (first, upkeep.settle(&firewall, &rules).await.unwrap().0)
    });
    assert_eq!(settled, (Settled::Changed, Settled::Same));
}

#[test]
fn dockers_firewall_is_found_until_its_own_command_lets_us_through() {
    let world = World::new();
    // As Docker 28 leaves it behind, by iptables-nft.
    let docker = [
        "-P FORWARD DROP",
        "-N DOCKER-USER",
        "-N DOCKER-FORWARD",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -j DOCKER-FORWARD",
        "-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A DOCKER-FORWARD -i docker0 -j ACCEPT",
    ];
    let rules = server("pst-0506070809", "10.88.0.0/24", &["10.77.0.0/24"]);
    assert_eq!(world.blockage(&rules), None);
    for line in docker {
        world.host.run(&[&["iptables-nft"], &line.split(' ').collect::<Vec<_>>()[..]].concat());
    }
    let found = world.blockage(&rules).expect("it drops");
    assert_eq!(found.chain, ("ip".to_owned(), "filter".to_owned(), "FORWARD".to_owned()));
    let command = found.command().replace("iptables", "iptables-nft");
    assert!(command.contains("DOCKER-USER"), "{command}");
    world.host.run(&["sh", "-c", &command]);
    assert_eq!(world.blockage(&rules), None, "after {command}");
}

#[test]
fn an_administrators_table_is_found_until_the_command_that_is_told_is_run() {
    let world = World::new();
    let rules = server("pst-0506070809", "10.88.0.0/24", &["10.77.0.0/24"]);
    world.host.run(&[
        "nft",
        "add table inet corp; add chain inet corp through { type filter hook forward priority 0; \
        policy drop; }; add rule inet corp through iifname \"lan\" ct state established accept",
    ]);
    let found = world.blockage(&rules).expect("it drops");
    assert_eq!(found.chain, ("inet".to_owned(), "corp".to_owned(), "through".to_owned()));
    world.host.run(&["sh", "-c", &found.command()]);
    assert_eq!(world.blockage(&rules), None, "after {}", found.command());
}

#[test]
fn a_firewall_that_nft_does_not_show_is_noticed_by_what_it_does() {
    let world = World::new();
    let (mut upkeep, mut watch, rules) = (Upkeep::default(), LossWatch::default(), [rules()]);
    let mut look = || {
        world.host.block_on(|| async {
            let (settled, ruleset) = upkeep.settle(&Firewall::find().unwrap(), &rules).await.unwrap();
            watch.look(&ruleset, settled == Settled::Same);
            (ruleset.blockage(&rules[0]), watch.is_lost("pst0"))
        })
    };
    assert_eq!(look(), (None, false));
    assert!(world.reaches("10.77.0.2:80"));
    assert_eq!(look(), (None, false), "all is well");
    world.host.run(&["iptables-legacy", "-P", "FORWARD", "DROP"]);
    for _ in 0..4 {
        assert!(!world.reaches("10.77.0.2:80"));
    }
    assert_eq!(look(), (None, true));
    assert_eq!(look(), (None, true), "silence proves nothing");
    world.host.run(&["iptables-legacy", "-P", "FORWARD", "ACCEPT"]);
    assert!(world.reaches("10.77.0.2:80"));
    assert_eq!(look(), (None, false));
}
