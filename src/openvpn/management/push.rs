//! What an admitted client is given: the lines of a `client-auth` block.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Peer;
use domain::network::ServerNetwork;
use domain::spec::ClientSpec;
use domain::text::DnsName;
use domain::tunnel::blocked_except;

/// The longest line that OpenVPN does not cut, in bytes.
const MAX_LINE: usize = 255;

/// The address of the tunnel device of a client whose IPv6 is blocked, and its peer's. No packet bears it.
const BLOCKED_ADDRESS: &str = "fd15:53b6:dead::2/64 fd15:53b6:dead::1";

/// The settings of one client for one session.
///
/// OpenVPN skips a line it does not understand and lets the client in without it, so no line is ever made of unchecked
/// text, and each stays below the 255 bytes at which OpenVPN cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    lines: Vec<String>,
}

impl ClientConfig {
    /// The most DNS server addresses that a client keeps (OpenVPN 2.6: eight for each `dns server`).
    pub const MAX_DNS_SERVERS: usize = 8;

    /// A client with this fixed address in the server's network.
    pub fn new(address: Ipv4Addr, network: ServerNetwork) -> Self {
        Self { lines: vec![format!("ifconfig-push {address} {}", network.net().netmask())] }
    }

    /// Tells a client what its server's settings say, in the words that it understands.
    #[must_use]
    pub fn told(self, spec: &ClientSpec, peer: &Peer) -> Self {
        // Every field is named, so that none is compared and never sent.
        let ClientSpec { routes: _, outside: _, dns_servers, search_domains } = spec;
        self.tunnel(spec, peer).dns(dns_servers, search_domains, peer)
    }

    /// Sends what the server's routes name through the tunnel, and the addresses of its hosts past it.
    fn tunnel(mut self, spec: &ClientSpec, peer: &Peer) -> Self {
        let (full, outside) = (spec.is_full_tunnel(), &spec.outside);
        if full {
            self.everything(outside, peer, !spec.dns_servers.is_empty());
        }
        for network in spec.networks() {
            // Halves are what a client makes of the redirection. A route that names a host alone would contradict the way
            // past the tunnel.
            let said = full && network.prefix_len() < 2;
            let contradicts = network.prefix_len() == 32 && outside.contains(&network.network().into());
            if !said && !contradicts {
                self.lines.push(format!("push \"route {} {}\"", network.network(), network.netmask()));
            }
        }
        for address in outside {
            if let IpAddr::V4(address) = address {
                self.lines.push(format!("push \"route {address} 255.255.255.255 net_gateway\""));
            }
        }
        self
    }

    /// Sends everything through the tunnel, which carries IPv4 only: IPv6 is taken as well, and refused by the client
    /// itself, at once, so that programs go on with IPv4. That needs an address for the device; any will do.
    fn everything(&mut self, outside: &BTreeSet<IpAddr>, peer: &Peer, resolves: bool) {
        let sixes = outside.iter().filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        });
        let sixes: Vec<Ipv6Addr> = sixes.collect();
        // OpenVPN 2 refuses `net_gateway` in a route for IPv6, and spares the present host alone.
        let (redirect, ways) = if sixes.is_empty() || peer.is_three() {
            let past = sixes.iter().map(|address| format!("push \"route-ipv6 {address}/128 net_gateway\"")).collect();
            ("redirect-gateway def1 ipv6", past)
        } else {
            let taken = blocked_except(sixes).into_iter().map(|network| format!("push \"route-ipv6 {network}\""));
            ("redirect-gateway def1", taken.collect::<Vec<_>>())
        };
        self.lines.push(format!("push \"{redirect}\""));
        self.lines.push(format!("push \"ifconfig-ipv6 {BLOCKED_ADDRESS}\""));
        self.lines.extend(ways);
        self.lines.push("push \"block-ipv6\"".to_owned());
        // Windows asks the resolvers of all networks at once. Others take the word for an error.
        if resolves && peer.iv_plat == "win" {
            self.lines.push("push \"block-outside-dns\"".to_owned());
        }
    }

    /// Seconds between pings, and without any before the client looks for another host; overrides the server's own.
    #[must_use]
    pub fn keepalive(mut self, interval: u16, timeout: u16) -> Self {
        self.lines.push(format!("push \"ping {interval}\""));
        self.lines.push(format!("push \"ping-restart {timeout}\""));
        self
    }

    /// Names DNS servers and search domains, in the old words and, where the client knows them, in the new ones, which
    /// then win. Servers beyond [`Self::MAX_DNS_SERVERS`] are left out, and domains that no line holds.
    fn dns(mut self, servers: &[Ipv4Addr], search_domains: &[DnsName], peer: &Peer) -> Self {
        let servers = servers.iter().take(Self::MAX_DNS_SERVERS);
        self.extend(servers.clone().map(|server| format!("push \"dhcp-option DNS {server}\"")));
        // Debian's script for resolvconf reads `DOMAIN` alone and takes several; Windows and others keep the last one as
        // the domain of the device.
        let suffixes = if peer.iv_plat == "linux" { search_domains.len() } else { 1 };
        self.extend(search_domains.iter().take(suffixes).map(|domain| format!("push \"dhcp-option DOMAIN {domain}\"")));
        self.extend(search_domains.iter().map(|domain| format!("push \"dhcp-option DOMAIN-SEARCH {domain}\"")));
        // Search domains alone are no `dns` setting: a server is part of it.
        if peer.takes_dns_option() && servers.len() > 0 {
            self.extend(servers.map(|server| format!("push \"dns server 0 address {server}\"")));
            self.extend(search_domains.iter().map(|domain| format!("push \"dns search-domains {domain}\"")));
        }
        self
    }

    /// Adds the lines that OpenVPN does not cut.
    fn extend(&mut self, lines: impl Iterator<Item = String>) {
        self.lines.extend(lines.filter(|line| line.len() <= MAX_LINE));
    }

    /// The lines, without their ends.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use domain::ids::{Id, ServerId};
    use domain::server::Server;

    fn config() -> ClientConfig {
        ClientConfig::new("10.8.0.7".parse().unwrap(), "10.8.0.0/24".parse().unwrap())
    }

    fn peer(iv_ver: &str, iv_proto: u32, iv_plat: &str) -> Peer {
        Peer { iv_ver: iv_ver.to_owned(), iv_proto, iv_plat: iv_plat.to_owned(), ..Peer::default() }
    }

    /// The lines that clients of a server with these routes get for them.
    fn tunnel(routes: &[&str], resolver: Option<&str>, outside: &[&str], peer: &Peer) -> Vec<String> {
        let routes: Vec<_> = routes.iter().map(|network| json!({ "network": network })).collect();
        let server: Server = serde_json::from_value(json!({
            "id": ServerId::from_parts(jiff::Timestamp::UNIX_EPOCH, 1), "name": "main", "network": "10.8.0.0/24",
            "port": 1194, "protocol": "udp", "enabled": true, "organization_ids": [], "groups": [], "routes": routes,
            "dns_servers": resolver.into_iter().collect::<Vec<_>>(), "search_domains": [],
            "keepalive": { "interval": 2, "timeout": 6 },
        }))
        .unwrap();
        let outside = outside.iter().map(|address| address.parse().unwrap()).collect();
        let lines = config().tunnel(&ClientSpec { outside, ..ClientSpec::of(&server) }, peer).lines;
        let option = |line: String| line.strip_prefix("push \"").and_then(|l| l.strip_suffix('"')).unwrap().to_owned();
        lines.into_iter().skip(1).map(option).collect()
    }

    #[test]
    fn search_domains_are_said_in_every_form_that_the_client_reads() {
        let (servers, domains) = (["10.9.0.1".parse().unwrap()], ["corp.example", "lab.example"]);
        let domains = domains.map(|domain| domain.parse().unwrap());
        let said = |peer: &Peer| config().dns(&servers, &domains, peer).lines[1..].join("\n").replace("push ", "");
        let old = "\"dhcp-option DNS 10.9.0.1\"\n\"dhcp-option DOMAIN corp.example\"\n\
            \"dhcp-option DOMAIN-SEARCH corp.example\"\n\"dhcp-option DOMAIN-SEARCH lab.example\"";
        let new = "\n\"dns server 0 address 10.9.0.1\"\n\"dns search-domains corp.example\"\n\
            \"dns search-domains lab.example\"";
        assert_eq!(said(&peer("2.5.1", 6, "win")), old);
        // The core of that time keeps but the first domain of the new words.
        assert_eq!(said(&peer("3.8.5", 990, "ios")), old);
        for other in [peer("2.6.14", 990, "win"), peer("3.11.7", 8094, "android"), peer("2.7.8", 1 << 11, "mac")] {
            assert_eq!(said(&other), format!("{old}{new}"), "{other:?}");
        }
        let linux =
            old.replace("DOMAIN corp.example\"\n", "DOMAIN corp.example\"\n\"dhcp-option DOMAIN lab.example\"\n");
        assert_eq!(said(&peer("2.5.1", 6, "linux")), linux);
    }

    #[test]
    fn a_domain_that_would_be_cut_is_left_out_and_nothing_else() {
        let long = [["x".repeat(60).as_str(); 4].join("."), "example".to_owned()].join(".").parse().unwrap();
        let config =
            config().dns(&["10.9.0.1".parse().unwrap()], &[long, "corp.example".parse().unwrap()], &Peer::default());
        assert_eq!(
            config.lines[1..],
            ["push \"dhcp-option DNS 10.9.0.1\"", "push \"dhcp-option DOMAIN-SEARCH corp.example\""]
        );
    }

    #[test]
    fn hosts_that_routes_cover_are_reached_past_the_tunnel() {
        let two = peer("2.6.14", 990, "linux");
        assert_eq!(tunnel(&["10.1.0.0/16"], None, &[], &two), ["route 10.1.0.0 255.255.0.0"]);
        assert_eq!(
            tunnel(&["10.0.0.0/8", "10.0.0.3/32"], None, &["10.0.0.3", "10.0.0.4"], &two),
            [
                "route 10.0.0.0 255.0.0.0",
                "route 10.0.0.3 255.255.255.255 net_gateway",
                "route 10.0.0.4 255.255.255.255 net_gateway",
            ]
        );
    }

    #[test]
    fn a_full_tunnel_takes_everything_but_the_hosts_and_blocks_ipv6() {
        let expected = [
            "redirect-gateway def1 ipv6",
            "ifconfig-ipv6 fd15:53b6:dead::2/64 fd15:53b6:dead::1",
            "block-ipv6",
            "route 192.168.0.0 255.255.0.0",
            "route 203.0.113.11 255.255.255.255 net_gateway",
        ];
        let two = peer("2.6.14", 990, "linux");
        for routes in [&["0.0.0.0/0", "192.168.0.0/16"][..], &["128.0.0.0/1", "0.0.0.0/1", "192.168.0.0/16"]] {
            assert_eq!(tunnel(routes, Some("10.9.0.1"), &["203.0.113.11"], &two), expected);
        }
        let windows = tunnel(&["0.0.0.0/0"], Some("10.9.0.1"), &[], &peer("2.6.14", 990, "win"));
        assert_eq!(windows.last().unwrap(), "block-outside-dns");
        let blind = tunnel(&["0.0.0.0/0"], None, &[], &peer("2.6.14", 990, "win"));
        assert_eq!(blind.last().unwrap(), "block-ipv6", "there is no other resolver");
    }

    #[test]
    fn hosts_with_ipv6_are_spared_in_the_words_of_each_engine() {
        let hosts = ["2001:db8::11", "2001:db8::12"];
        let three = tunnel(&["0.0.0.0/0"], None, &hosts, &peer("3.11.7", 8094, "ios"));
        assert_eq!(
            three,
            [
                "redirect-gateway def1 ipv6",
                "ifconfig-ipv6 fd15:53b6:dead::2/64 fd15:53b6:dead::1",
                "route-ipv6 2001:db8::11/128 net_gateway",
                "route-ipv6 2001:db8::12/128 net_gateway",
                "block-ipv6",
            ]
        );
        let two = tunnel(&["0.0.0.0/0"], None, &hosts, &peer("2.6.14", 990, "linux"));
        assert_eq!(two.first().unwrap(), "redirect-gateway def1");
        assert!(two.contains(&"route-ipv6 fc00::/7".to_owned()) && two.len() < 140, "{two:?}");
        let covers = |line: &String, address: &str| {
            let network = line.strip_prefix("route-ipv6 ").and_then(|net| net.parse::<ipnet::Ipv6Net>().ok());
            network.is_some_and(|network| network.contains(&address.parse::<Ipv6Addr>().unwrap()))
        };
        assert!(!two.iter().any(|line| hosts.iter().any(|host| covers(line, host))));
        assert!(two.iter().any(|line| covers(line, "2001:db8::10")));
    }

    #[test]
    fn a_keepalive_is_two_lines() {
        assert_eq!(config().keepalive(10, 60).lines[1..], ["push \"ping 10\"", "push \"ping-restart 60\""]);
    }
}
