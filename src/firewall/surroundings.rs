//! The addresses and routes of this machine, as the kernel has them now.
//!
//! They are read from `/proc/net`, which needs no right and no program. IPv4 alone, as it is in the tunnel.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::{fs, io};

use ipnet::Ipv4Net;

use super::DEVICE_PREFIX;
use domain::host_network::{HostNetwork, HostNetworkKind};

/// Flags of a route (`RTF_GATEWAY`, `RTF_REJECT`).
const GATEWAY: u32 = 0x2;
const REJECT: u32 = 0x200;

/// What this machine needs of the networks around it, apart from what its tun devices for servers are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Its addresses and the networks that it reaches, in order.
    pub networks: Vec<HostNetwork>,
    routes: Vec<Route>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    device: String,
    network: Ipv4Net,
    gateway: Option<Ipv4Addr>,
}

impl Route {
    fn is_ours(&self) -> bool {
        self.device.starts_with(DEVICE_PREFIX)
    }
}

impl Surroundings {
    /// Looks.
    ///
    /// # Errors
    /// The kernel does not show them.
    pub fn read() -> io::Result<Self> {
        // By the thread, as everything else that belongs to a network namespace.
        let [routes, addresses] =
            ["route", "fib_trie"].map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")));
        Ok(Self::parse(&routes?, &addresses?))
    }

    fn parse(routes: &str, addresses: &str) -> Self {
        let routes: Vec<Route> = routes.lines().filter_map(route).collect();
        let mut found = Self { networks: Vec::new(), routes };
        let mut networks = BTreeSet::new();
        for address in local(addresses) {
            if !address.is_loopback() && !found.leads_to_clients(address) {
                networks.insert(HostNetwork::single(HostNetworkKind::Address, address));
            }
        }
        for Route { device, network, gateway } in found.routes.iter().filter(|route| !route.is_ours()) {
            if let Some(gateway) = gateway {
                networks.insert(HostNetwork {
                    device: Some(device.clone()),
                    ..HostNetwork::single(HostNetworkKind::Gateway, *gateway)
                });
            }
            // The way to everywhere is taken away by nobody.
            if network.prefix_len() > 0 {
                let kind = if gateway.is_some() { HostNetworkKind::Route } else { HostNetworkKind::Link };
                networks.insert(HostNetwork { kind, network: *network, device: Some(device.clone()) });
            }
        }
        found.networks = networks.into_iter().collect();
        found
    }

    /// Whether packets to this address go into the tunnel of a server.
    pub fn leads_to_clients(&self, address: Ipv4Addr) -> bool {
        let ways = self.routes.iter().filter(|route| route.network.contains(&address));
        ways.max_by_key(|route| route.network.prefix_len()).is_some_and(Route::is_ours)
    }
}

/// A line of `/proc/net/route`: the device, then numbers, the addresses in the order of the machine's memory.
fn route(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [device, destination, gateway, flags, _, _, _, mask, ..] = fields.as_slice() else { return None };
    let number = |field: &str| u32::from_str_radix(field, 16).ok();
    let address = |field: &str| Some(Ipv4Addr::from(number(field)?.to_ne_bytes()));
    let flags = number(flags)?;
    if flags & REJECT != 0 {
        return None;
    }
    let network = Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?.trunc();
    let gateway = (flags & GATEWAY != 0).then(|| address(gateway)).flatten();
    Some(Route { device: (*device).to_owned(), network, gateway })
}

/// The machine's own addresses in `/proc/net/fib_trie`: leaves, and below each what kind of route leads there.
fn local(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    trie.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim().parse().ok();
        }
        if line.starts_with("/32 host LOCAL") { leaf } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
inet\t00000000\t0171000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
core\t00005C0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
core\t64005E0A\t02005C0A\t0007\t0\t0\t0\tFFFFFFFF\t0\t0\t0
*\t0000100A\t00000000\t0200\t0\t0\t0\t0000FFFF\t0\t0\t0
pst-0506070809\t0000C80A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
";
    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.92.0.0
        /24 link UNICAST
Local:
     |-- 10.92.0.11
        /32 host LOCAL
     |-- 10.92.0.255
        /32 link BROADCAST
     |-- 10.200.0.1
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_tables_are_read_without_our_own_tunnels() {
        let found = Surroundings::parse(ROUTES, TRIE);
        let words: Vec<String> = found.networks.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "the machine's own address 10.92.0.11",
                "the address 10.0.113.1 of the machine's router (inet)",
                "the address 10.92.0.2 of the machine's router (core)",
                "the machine's own network 10.92.0.0/24 (core)",
                "the network 10.94.0.100/32, which the machine reaches by a router (core)",
            ]
        );
        assert!(found.leads_to_clients([10, 200, 7, 7].into()));
        assert!(!found.leads_to_clients([10, 92, 0, 2].into()));
        assert!(!found.leads_to_clients([9, 9, 9, 9].into()));
    }

    #[test]
    fn this_machines_own_can_be_read() {
        Surroundings::read().unwrap();
    }
}
