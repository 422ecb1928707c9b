//! What VPN clients may reach through this host: one nftables table, `inet postern`, and forwarding.
//!
//! Pushed routes are a convenience for the client; this is the enforcement. A client's packets, told by the tun device
//! they come from, must carry a source in its server's network, and may then go to that server's routes and nowhere
//! else: not to other clients, not to other networks, and not to the host itself (ping to the host is answered, so that
//! people can test). A route to a network is a way through the host, not into it: only a route to a single address, /32,
//! opens the host's own services at that address. Towards clients only answers pass. Everything else
//! on the machine is none of this table's business: its chains accept what concerns no device of ours, and rules of
//! other tables still apply.
//!
//! The table is replaced as a whole by one transaction of `nft -f -`; there is no moment without it, and applying the
//! same rules again changes nothing. Connections that go on keep their state, which lives outside the table.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::io::AsyncWriteExt;

/// Where `nft` is looked for.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];
/// How long one run of `nft` may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The kernel's switch between being a host and being a router.
pub const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Why the rules are not in place.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// Install nftables.
    #[error("nft is not installed")]
    NoNft,
    /// `nft` did not run or did not end.
    #[error("nft cannot be run")]
    NotRunnable(#[source] io::Error),
    /// The process lacks `CAP_NET_ADMIN`.
    #[error("not permitted to change the firewall (CAP_NET_ADMIN): {0}")]
    NotPermitted(String),
    /// `nft` refused, in its words.
    #[error("nft refused the rules: {0}")]
    Refused(String),
    /// Forwarding is off and may not be switched on: set `net.ipv4.ip_forward=1` from outside.
    #[error("forwarding is off and cannot be switched on (net.ipv4.ip_forward)")]
    Forwarding(#[source] io::Error),
    /// Not the name of a network interface.
    #[error("not the name of a network interface: {0:?}")]
    Device(String),
}

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
    device: String,
    network: Ipv4Net,
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
}

/// The firewall of this host.
#[derive(Debug, Clone)]
pub struct Firewall {
    nft: PathBuf,
}

impl Firewall {
    /// Finds `nft`.
    pub fn find() -> Result<Self, FirewallError> {
        let found = PLACES.into_iter().map(Path::new).find(|path| path.is_file());
        Ok(Self { nft: found.ok_or(FirewallError::NoNft)?.to_owned() })
    }

    /// Whether rules could be applied: `nft` works here and this process may use it. Changes nothing.
    pub async fn check(&self) -> Result<(), FirewallError> {
        self.nft(&["--check", "--file", "-"], "add table inet postern\n").await
    }

    /// Puts exactly these rules in place of whatever this table held; with none, removes the table.
    pub async fn apply(&self, servers: &[ServerRules]) -> Result<(), FirewallError> {
        self.nft(&["--file", "-"], &ruleset(servers)).await
    }

    async fn nft(&self, arguments: &[&str], input: &str) -> Result<(), FirewallError> {
        let run = async {
            let mut child = tokio::process::Command::new(&self.nft)
                .args(arguments)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let written = match child.stdin.take() {
                Some(mut stdin) => stdin.write_all(input.as_bytes()).await,
                None => Ok(()),
            };
            let output = child.wait_with_output().await?;
            // If it ended early, what it said matters more than that it stopped reading.
            if output.status.success() { written.map(|()| output) } else { Ok(output) }
        };
        let output = tokio::time::timeout(DEADLINE, run)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(FirewallError::NotRunnable)?;
        if output.status.success() {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(1000).collect();
        let permitted = !said.contains("Operation not permitted");
        Err(if permitted { FirewallError::Refused(said) } else { FirewallError::NotPermitted(said) })
    }
}

/// Lets this machine pass packets on. Never switches it off again: others may rely on it.
pub fn enable_forwarding() -> Result<(), FirewallError> {
    if forwarding_enabled()? {
        return Ok(());
    }
    std::fs::write(IP_FORWARD, "1\n").map_err(FirewallError::Forwarding)
}

/// Whether this machine passes packets on.
pub fn forwarding_enabled() -> Result<bool, FirewallError> {
    let switch = std::fs::read_to_string(IP_FORWARD).map_err(FirewallError::Forwarding)?;
    Ok(switch.trim() == "1")
}

/// The input of `nft -f -`. Adding the table first makes the deletion work when there was none.
fn ruleset(servers: &[ServerRules]) -> String {
    let mut text = "add table inet postern\ndelete table inet postern\n".to_owned();
    if servers.is_empty() {
        return text;
    }
    text.push_str("table inet postern {\n");
    let mut chain = |name: &str, hook: &str, rules: &[fn(&ServerRules) -> Vec<String>]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\tchain {name} {{\n\t\ttype {hook}; policy accept;");
        for rule in rules.iter().flat_map(|rules| servers.iter().flat_map(rules)) {
            let _ = writeln!(text, "\t\t{rule}");
        }
        text.push_str("\t}\n");
    };
    // Towards all clients first: what one server's clients may reach does not include another server's clients.
    chain("forward", "filter hook forward priority filter", &[to_clients, from_clients]);
    chain("input", "filter hook input priority filter", &[input]);
    chain("postrouting", "nat hook postrouting priority srcnat", &[postrouting]);
    text + "}\n"
}

fn to_clients(server: &ServerRules) -> Vec<String> {
    let ServerRules { device, network, .. } = server;
    vec![
        format!("oifname \"{device}\" ct state established,related ip daddr {network} accept"),
        format!("oifname \"{device}\" drop"),
    ]
}

fn from_clients(server: &ServerRules) -> Vec<String> {
    let ServerRules { device, network, routes } = server;
    let allowed = routes.iter().map(|route| {
        let destination = route.network.trunc();
        format!("iifname \"{device}\" ip saddr {network} ip daddr {destination} accept")
    });
    allowed.chain([format!("iifname \"{device}\" drop")]).collect()
}

fn input(server: &ServerRules) -> Vec<String> {
    let ServerRules { device, network, routes } = server;
    let mut rules = vec![
        format!("iifname \"{device}\" ip saddr != {network} drop"),
        format!("iifname \"{device}\" ip protocol icmp icmp type echo-request accept"),
        format!("iifname \"{device}\" ct state established,related accept"),
    ];
    let named = routes.iter().filter(|route| route.network.prefix_len() == 32);
    rules.extend(named.map(|route| format!("iifname \"{device}\" ip daddr {} accept", route.network.trunc())));
    rules.push(format!("iifname \"{device}\" drop"));
    rules
}

fn postrouting(server: &ServerRules) -> Vec<String> {
    let ServerRules { device, network, routes } = server;
    let hidden = routes.iter().filter(|route| route.nat);
    hidden
        .map(|route| {
            let destination = route.network.trunc();
            format!("oifname != \"{device}\" ip saddr {network} ip daddr {destination} masquerade")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ServerRules {
        let routes = [("10.77.0.0/16", true), ("10.78.0.1/32", false)];
        let routes = routes.map(|(network, nat)| AllowedRoute { network: network.parse().unwrap(), nat });
        ServerRules::new("pst0", "10.88.0.0/24".parse().unwrap(), routes).unwrap()
    }

    #[test]
    fn the_table_is_replaced_in_one_transaction() {
        let text = ruleset(&[rules()]);
        assert!(
            text.starts_with("add table inet postern\ndelete table inet postern\ntable inet postern {\n"),
            "{text}"
        );
        assert_eq!(text.matches("masquerade").count(), 1);
        assert_eq!(ruleset(&[]), "add table inet postern\ndelete table inet postern\n");
    }

    #[test]
    fn a_route_to_a_network_does_not_open_the_host() {
        let everything = AllowedRoute { network: "0.0.0.0/0".parse().unwrap(), nat: true };
        let wide = ServerRules::new("pst0", "10.88.0.0/24".parse().unwrap(), [everything]).unwrap();
        assert!(from_clients(&wide).iter().any(|rule| rule.contains("ip daddr 0.0.0.0/0 accept")));
        assert!(!input(&wide).iter().any(|rule| rule.contains("ip daddr")));
        let named = input(&rules());
        assert!(named.iter().any(|rule| rule.contains("ip daddr 10.78.0.1/32 accept")));
        assert!(!named.iter().any(|rule| rule.contains("ip daddr 10.77.")));
    }

    #[test]
    fn a_device_that_would_break_a_rule_is_refused() {
        for bad in ["", "a\"b", "a b", "x;", "0123456789abcdef"] {
            let refused = ServerRules::new(bad, "10.0.0.0/24".parse().unwrap(), []);
            assert!(matches!(refused, Err(FirewallError::Device(_))), "{bad:?}");
        }
    }
}
