//! Real nftables between a client, a host and a private network, each in a namespace.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use postern::firewall::{AllowedRoute, Firewall, ServerRules, enable_forwarding, forwarding_enabled};

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
            enable_forwarding().unwrap();
            assert!(forwarding_enabled().unwrap());
            // So that a spoofed packet is stopped by us or by nobody.
            for name in ["all", "pst0"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0").unwrap();
            }
        });
        world
    }

    fn apply(&self, servers: &[ServerRules]) {
        self.host.block_on(|| async {
            let firewall = Firewall::find().unwrap();
            firewall.check().await.unwrap();
            firewall.apply(servers).await.unwrap();
        });
    }

    /// Whether the client gets an answer from there.
    fn reaches(&self, address: &str) -> bool {
        reaches(&self.client, address)
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
