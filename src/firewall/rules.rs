//! The rules of each server, as text for `nft`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{FirewallError, Generation, TABLE};

/// What every device of a server is named like; rules that let all of them through name them by this and a wildcard.
pub const DEVICE_PREFIX: &str = "pst-";

/// Ranges that are no network of a company: this network, loopback, link-local with the cloud's metadata service,
/// multicast, the limited broadcast. No route that is wider opens them.
const SPECIAL: [Ipv4Net; 5] = [
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
    Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32),
];

/// A destination of a server's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedRoute {
    /// Where to.
    pub network: Ipv4Net,
    /// Whether packets leave with the host's address as their source.
    pub nat: bool,
}

/// The rules of one server on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRules {
    pub(super) device: String,
    pub(super) network: Ipv4Net,
    routes: Vec<AllowedRoute>,
}

impl ServerRules {
    /// The rules for the clients behind a tun device, whose addresses are in `network`.
    pub fn new(
        device: impl Into<String>,
        network: Ipv4Net,
        routes: impl IntoIterator<Item = AllowedRoute>,
    ) -> Result<Self, FirewallError> {
        let device = device.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if device.is_empty() || device.len() > 15 || !device.bytes().all(allowed) {
            return Err(FirewallError::Device(device));
        }
        Ok(Self { device, network: network.trunc(), routes: routes.into_iter().collect() })
    }

    /// Where its clients may go.
    pub fn destinations(&self) -> impl Iterator<Item = Ipv4Net> {
        self.routes.iter().map(|route| route.network.trunc())
    }

    /// A set of the destinations that `pick` takes, if it takes any. What lies inside another is left out: a set of
    /// intervals may not overlap.
    fn set(&self, pick: impl Fn(Ipv4Net) -> bool) -> Option<String> {
        set_of(&self.destinations().filter(|network| pick(*network)).collect::<Vec<_>>())
    }
}

fn set_of(networks: &[Ipv4Net]) -> Option<String> {
    let networks: Vec<String> = Ipv4Net::aggregate(&networks.to_vec()).iter().map(ToString::to_string).collect();
    (!networks.is_empty()).then(|| format!("{{ {} }}", networks.join(", ")))
}

fn is_special(network: Ipv4Net) -> bool {
    SPECIAL.iter().any(|special| special.contains(&network))
}

fn is_single(network: Ipv4Net) -> bool {
    network.prefix_len() == 32
}

/// The input of `nft -f -`. Adding the table first makes the deletion work when there was none.
pub(super) fn ruleset(servers: &[ServerRules], generation: Generation) -> String {
    let mut text = format!("add table inet {TABLE}\ndelete table inet {TABLE}\n");
    if servers.is_empty() {
        return text;
    }
    let _ = writeln!(text, "table inet {TABLE} {{\n\tchain {} {{\n\t}}", generation.chain());
    for server in servers {
        for (chain, rules) in chains(server, generation) {
            put(&mut text, &format!("{chain}-{}", server.device), None, &rules);
        }
    }
    let each = |rule: fn(&str) -> String| servers.iter().map(|server| rule(&server.device)).collect::<Vec<_>>();
    // Before the address of the host is changed into that of a container, say, and before any route is looked up.
    put(
        &mut text,
        "prerouting",
        Some("filter hook prerouting priority mangle"),
        &each(|device| format!("iifname \"{device}\" jump guard-{device}")),
    );
    // Towards all clients first: what one server's clients may reach does not include another server's clients.
    // Ahead of the rules of other tables, so that what is accepted here and never leaves was dropped by those.
    let forward = [
        each(|device| format!("oifname \"{device}\" jump to-{device}")),
        each(|device| format!("iifname \"{device}\" jump from-{device}")),
    ];
    put(&mut text, "forward", Some("filter hook forward priority filter - 10"), &forward.concat());
    put(
        &mut text,
        "input",
        Some("filter hook input priority filter - 10"),
        &each(|device| format!("iifname \"{device}\" jump input-{device}")),
    );
    put(
        &mut text,
        "output",
        Some("filter hook output priority filter - 10"),
        &each(|device| format!("oifname \"{device}\" jump output-{device}")),
    );
    let masked: Vec<String> = servers.iter().filter_map(|server| masquerade(server, generation)).collect();
    put(&mut text, "postrouting", Some("nat hook postrouting priority srcnat"), &masked);
    let counted: Vec<String> = servers.iter().map(leaving).collect();
    put(&mut text, LEAVING, Some("filter hook postrouting priority srcnat + 10"), &counted);
    text + "}\n"
}

/// The chain that counts what left this host, by the networks of servers.
pub(super) const LEAVING: &str = "leaving";
/// What the name of a chain with the packets that a server's clients send through this host begins with.
pub(super) const FROM: &str = "from";

fn put(text: &mut String, name: &str, hook: Option<&str>, rules: &[String]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\tchain {name} {{");
    if let Some(hook) = hook {
        let _ = writeln!(text, "\t\ttype {hook}; policy accept;");
    }
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n");
}

fn chains(server: &ServerRules, generation: Generation) -> [(&'static str, Vec<String>); 5] {
    [
        ("guard", guard(server)),
        (FROM, from_clients(server, generation)),
        ("to", to_clients(server, generation)),
        ("input", input(server, generation)),
        ("output", output(server, generation)),
    ]
}

/// What this host has judged by the policy of this generation.
fn judged(generation: Generation) -> String {
    format!("ct state established,related ct mark and 0xffff0000 == {}", generation.mark())
}

/// Notes that it has.
fn stamp(generation: Generation) -> String {
    format!("ct mark set ct mark and 0x0000ffff or {}", generation.mark())
}

/// What no client sends, and an address of this host that no route names.
fn guard(ServerRules { network, routes, .. }: &ServerRules) -> Vec<String> {
    let named: Vec<Ipv4Net> = routes.iter().map(|route| route.network).filter(|network| is_single(*network)).collect();
    let named = set_of(&named);
    let rules = [
        Some("meta nfproto != ipv4 drop".to_owned()),
        Some(format!("ip saddr != {network} drop")),
        Some("fib daddr type != local return".to_owned()),
        Some("icmp type echo-request return".to_owned()),
        Some("ct direction reply return".to_owned()),
        named.map(|named| format!("ip daddr {named} return")),
        Some("drop".to_owned()),
    ];
    rules.into_iter().flatten().collect()
}

fn from_clients(server: &ServerRules, generation: Generation) -> Vec<String> {
    let (judged, stamp) = (judged(generation), stamp(generation));
    let allow = |set| format!("ct direction original ip daddr {set} {stamp} counter accept");
    let rules = [
        Some(format!("{judged} counter accept")),
        server.set(is_special).map(allow),
        set_of(&SPECIAL).map(|special| format!("ip daddr {special} drop")),
        server.set(|network| !is_special(network)).map(allow),
        Some("drop".to_owned()),
    ];
    rules.into_iter().flatten().collect()
}

/// The mirror of [`from_clients`], for answers.
fn to_clients(server: &ServerRules, generation: Generation) -> Vec<String> {
    let (judged, stamp) = (judged(generation), stamp(generation));
    let allow = |set| format!("ct state established,related ct direction reply ip saddr {set} {stamp} accept");
    let rules = [
        Some(format!("ip daddr != {} drop", server.network)),
        Some(format!("{judged} accept")),
        server.set(is_special).map(allow),
        set_of(&SPECIAL).map(|special| format!("ip saddr {special} drop")),
        server.set(|network| !is_special(network)).map(allow),
        Some("drop".to_owned()),
    ];
    rules.into_iter().flatten().collect()
}

/// Answers to connections of the host's own, ping, and the addresses that routes name.
fn input(server: &ServerRules, generation: Generation) -> Vec<String> {
    let stamp = stamp(generation);
    let rules = [
        Some("ct state established,related ct direction reply accept".to_owned()),
        Some("icmp type echo-request accept".to_owned()),
        Some(format!("{} accept", judged(generation))),
        server.set(is_single).map(|named| format!("ip daddr {named} {stamp} accept")),
        Some("drop".to_owned()),
    ];
    rules.into_iter().flatten().collect()
}

/// The mirror of [`input`]: connections of the host's own, and answers of what routes name.
fn output(server: &ServerRules, generation: Generation) -> Vec<String> {
    let stamp = stamp(generation);
    let rules = [
        Some("ct direction original accept".to_owned()),
        Some(format!("{} accept", judged(generation))),
        Some("icmp type echo-reply accept".to_owned()),
        server.set(is_single).map(|named| format!("ip saddr {named} {stamp} accept")),
        Some("ct state established drop".to_owned()),
    ];
    rules.into_iter().flatten().collect()
}

/// Of connections that were let through above: others from the same addresses are not our clients'.
fn masquerade(server: &ServerRules, generation: Generation) -> Option<String> {
    let ServerRules { device, network, routes } = server;
    let hidden: Vec<Ipv4Net> = routes.iter().filter(|route| route.nat).map(|route| route.network.trunc()).collect();
    let hidden = set_of(&hidden)?;
    let ours = format!("ct mark and 0xffff0000 == {}", generation.mark());
    Some(format!("oifname != \"{device}\" {ours} ip saddr {network} ip daddr {hidden} masquerade"))
}

fn leaving(ServerRules { device, network, .. }: &ServerRules) -> String {
    format!("oifname != \"{device}\" ct direction original ct original ip saddr {network} counter")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Generation = Generation::new_assert(2);

    fn server(routes: &[(&str, bool)]) -> ServerRules {
        let routes = routes.iter().map(|(network, nat)| AllowedRoute { network: network.parse().unwrap(), nat: *nat });
        ServerRules::new("pst0", "10.88.0.0/24".parse().unwrap(), routes).unwrap()
    }

    #[test]
    fn the_table_is_replaced_in_one_transaction() {
        let text = ruleset(&[server(&[("10.77.0.0/16", true), ("10.78.0.1/32", false)])], SECOND);
        assert!(
            text.starts_with("add table inet postern\ndelete table inet postern\ntable inet postern {\n"),
            "{text}"
        );
        assert_eq!(text.matches("masquerade").count(), 1);
        assert_eq!(ruleset(&[], SECOND), "add table inet postern\ndelete table inet postern\n");
    }

    #[test]
    fn a_route_to_a_network_does_not_open_the_host() {
        let wide = server(&[("0.0.0.0/0", true)]);
        assert!(from_clients(&wide, SECOND).iter().any(|rule| rule.contains("ip daddr { 0.0.0.0/0 }")));
        assert!(!input(&wide, SECOND).iter().any(|rule| rule.contains("ip daddr")));
        assert!(!guard(&wide).iter().any(|rule| rule.contains("ip daddr")));
        let named = server(&[("10.77.0.0/16", true), ("10.78.0.1/32", false)]);
        for rules in [input(&named, SECOND), guard(&named)] {
            assert!(rules.iter().any(|rule| rule.contains("ip daddr { 10.78.0.1/32 }")), "{rules:?}");
            assert!(!rules.iter().any(|rule| rule.contains("10.77.")), "{rules:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_opened_by_its_own_route_only() {
        let place = |rules: &[String], words: &str| rules.iter().position(|rule| rule.contains(words));
        let wide = from_clients(&server(&[("0.0.0.0/0", true)]), SECOND);
        assert!(place(&wide, "169.254.0.0/16").unwrap() < place(&wide, "0.0.0.0/0 }").unwrap(), "{wide:?}");
        let named = from_clients(&server(&[("0.0.0.0/0", true), ("169.254.169.254/32", true)]), SECOND);
        assert!(place(&named, "169.254.169.254/32").unwrap() < place(&named, "drop").unwrap(), "{named:?}");
    }

    #[test]
    fn routes_within_routes_make_one_interval() {
        let nested = server(&[("10.0.0.0/8", true), ("10.1.0.0/16", true), ("10.1.0.0/16", false)]);
        assert_eq!(nested.set(|_| true).as_deref(), Some("{ 10.0.0.0/8 }"));
        assert_eq!(server(&[]).set(|_| true), None);
    }

    #[test]
    fn a_device_that_would_break_a_rule_is_refused() {
        for bad in ["", "a\"b", "a b", "x;", "0123456789abcdef"] {
            let refused = ServerRules::new(bad, "10.0.0.0/24".parse().unwrap(), []);
            assert!(matches!(refused, Err(FirewallError::Device(_))), "{bad:?}");
        }
    }
}
