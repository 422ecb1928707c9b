//! What a server's routes take into the tunnel, and what has to stay outside of it: the hosts themselves. A client whose
//! way to the other hosts leads into the tunnel of a dead one never finds them.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::server::Server;
use super::spec::ClientSpec;

/// All of IPv6 that is routed anywhere: what a full tunnel takes so that it does not leave outside. The parts are those of
/// OpenVPN's `redirect-gateway ipv6`.
const IPV6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::UNSPECIFIED, 3),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

impl ClientSpec {
    /// Whether all IPv4 traffic goes through the tunnel, however the routes say so: `0.0.0.0/0`, two halves, or more parts.
    pub fn is_full_tunnel(&self) -> bool {
        let networks: Vec<Ipv4Net> = self.networks().collect();
        Ipv4Net::aggregate(&networks).iter().any(|network| network.prefix_len() == 0)
    }

    /// Whether packets for this address are sent into the tunnel. A full tunnel takes IPv6 as well: it carries none, so
    /// none may leave outside.
    pub fn takes(&self, address: IpAddr) -> bool {
        match address {
            // Only a client on the host's own machine uses such an address, and no route of it leads there.
            IpAddr::V4(address) if address.is_loopback() || address.is_link_local() => false,
            IpAddr::V4(address) => self.networks().any(|network| network.contains(&address)),
            IpAddr::V6(address) => self.is_full_tunnel() && blocked().any(|network| network.contains(&address)),
        }
    }
}

impl Server {
    /// What an administrator should know about these settings, though they are allowed.
    pub fn warnings(&self) -> Vec<&'static str> {
        let blind = self.dns_servers.is_empty() && ClientSpec::of(self).is_full_tunnel();
        blind.then_some(NO_RESOLVER).into_iter().collect()
    }
}

/// Said of a full tunnel without resolvers.
const NO_RESOLVER: &str = "The routes send all traffic through the tunnel, but the server has no DNS servers: clients go on \
    asking the resolver of the network they are in. Where that is on their own network, their questions stay outside the \
    tunnel, and elsewhere they may get no answer. Add the DNS servers that clients are to use.";

fn blocked() -> impl Iterator<Item = Ipv6Net> {
    IPV6.into_iter().map(|(address, prefix)| Ipv6Net::new_assert(address, prefix))
}

/// The IPv6 networks that a full tunnel takes, but for these addresses.
///
/// Clients of OpenVPN 2 know no route for IPv6 past the tunnel, so the ways around an address are left out one by one:
/// some 125 networks for the first address, fewer for each that is near it.
pub fn blocked_except(addresses: impl IntoIterator<Item = Ipv6Addr>) -> Vec<Ipv6Net> {
    let mut networks: Vec<Ipv6Net> = blocked().collect();
    for address in addresses {
        networks = networks.into_iter().flat_map(|network| around(network, address)).collect();
    }
    networks
}

/// What is left of a network without one address, in ascending order.
fn around(network: Ipv6Net, address: Ipv6Addr) -> Vec<Ipv6Net> {
    if !network.contains(&address) {
        return vec![network];
    }
    let halves = network.prefix_len().checked_add(1).and_then(|prefix| network.subnets(prefix).ok());
    halves.into_iter().flatten().flat_map(|half| around(half, address)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ids::{Id, ServerId};

    fn server(routes: &[&str]) -> Server {
        let routes: Vec<_> = routes.iter().map(|network| json!({ "network": network })).collect();
        serde_json::from_value(json!({
            "id": ServerId::from_parts(jiff::Timestamp::UNIX_EPOCH, 1), "name": "main", "network": "10.9.0.0/16",
            "port": 1194, "protocol": "udp", "enabled": true, "organization_ids": [], "groups": [], "routes": routes,
            "dns_servers": [], "search_domains": [], "keepalive": { "interval": 2, "timeout": 6 },
        }))
        .unwrap()
    }

    fn spec(routes: &[&str]) -> ClientSpec {
        ClientSpec::of(&server(routes))
    }

    #[test]
    fn a_full_tunnel_is_one_however_it_is_said() {
        for full in [&["0.0.0.0/0"][..], &["0.0.0.0/1", "128.0.0.0/1"], &["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2"]] {
            assert!(spec(full).is_full_tunnel(), "{full:?}");
        }
        for part in [&[][..], &["0.0.0.0/1"], &["10.0.0.0/8"], &["0.0.0.0/1", "128.0.0.0/2"]] {
            assert!(!spec(part).is_full_tunnel(), "{part:?}");
        }
    }

    #[test]
    fn ipv6_is_taken_by_full_tunnels_only() {
        let (four, six) = ("203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap());
        assert!(spec(&["0.0.0.0/0"]).takes(four) && spec(&["0.0.0.0/0"]).takes(six));
        assert!(spec(&["203.0.113.0/24"]).takes(four) && !spec(&["203.0.113.0/24"]).takes(six));
        assert!(!spec(&["10.0.0.0/8"]).takes(four));
        for never in ["fe80::1", "::1", "127.0.0.1", "169.254.1.1"] {
            assert_eq!(spec(&["0.0.0.0/0"]).takes(never.parse().unwrap()), never == "::1", "{never}");
        }
    }

    #[test]
    fn a_full_tunnel_without_resolvers_is_warned_of() {
        let mut blind = server(&["0.0.0.0/1", "128.0.0.0/1"]);
        assert_eq!(blind.warnings(), [NO_RESOLVER]);
        blind.dns_servers.push([10, 0, 0, 53].into());
        assert!(blind.warnings().is_empty());
        assert!(server(&["10.0.0.0/8"]).warnings().is_empty());
    }

    proptest! {
        #[test]
        fn everything_but_the_excepted_addresses_is_blocked(holes: [u128; 3], other: u128) {
            // Addresses of 2000::/3, two of them neighbours.
            let public = |bits: u128| Ipv6Addr::from(bits >> 3 | 1 << 125);
            let holes = [public(holes[0]), public(holes[0] ^ 8), public(holes[1])];
            let networks = blocked_except(holes);
            let count = |address: Ipv6Addr| networks.iter().filter(|network| network.contains(&address)).count();
            for hole in holes {
                prop_assert_eq!(count(hole), 0);
            }
            if !holes.contains(&public(other)) {
                prop_assert_eq!(count(public(other)), 1);
            }
            prop_assert!(networks.len() < 3 * 126);
        }
    }
}
