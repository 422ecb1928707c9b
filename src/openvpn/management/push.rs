//! What an admitted client is given: the lines of a `client-auth` block.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::Peer;

/// Why a client cannot be given something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Not a domain name: letters, digits, `-`, `_` and dots, at most 200 bytes.
    #[error("not a domain name: {0:?}")]
    Domain(String),
    /// OpenVPN keeps [`ClientConfig::MAX_DNS_SERVERS`] addresses.
    #[error("{0} DNS servers, more than clients take")]
    TooManyDnsServers(usize),
}

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
    pub fn new(address: Ipv4Addr, network: Ipv4Net) -> Self {
        Self { lines: vec![format!("ifconfig-push {address} {}", network.netmask())] }
    }

    /// Sends a network through the tunnel.
    #[must_use]
    pub fn route(mut self, network: Ipv4Net) -> Self {
        self.lines.push(format!("push \"route {} {}\"", network.network(), network.netmask()));
        self
    }

    /// Seconds between pings, and without any before the client looks for another host; overrides the server's own.
    #[must_use]
    pub fn keepalive(mut self, interval: u16, timeout: u16) -> Self {
        self.lines.push(format!("push \"ping {interval}\""));
        self.lines.push(format!("push \"ping-restart {timeout}\""));
        self
    }

    /// Names DNS servers and search domains, in the old words and, where the client knows them, in the new ones, which
    /// then win.
    pub fn dns(mut self, servers: &[IpAddr], search_domains: &[String], peer: &Peer) -> Result<Self, PushError> {
        if servers.len() > Self::MAX_DNS_SERVERS {
            return Err(PushError::TooManyDnsServers(servers.len()));
        }
        if let Some(bad) = search_domains.iter().find(|domain| !is_domain(domain)) {
            return Err(PushError::Domain(bad.clone()));
        }
        for server in servers {
            let option = if server.is_ipv4() { "DNS" } else { "DNS6" };
            self.lines.push(format!("push \"dhcp-option {option} {server}\""));
        }
        for domain in search_domains {
            self.lines.push(format!("push \"dhcp-option DOMAIN-SEARCH {domain}\""));
        }
        // Search domains alone are no `dns` setting: a server is part of it.
        if peer.takes_dns_option() && !servers.is_empty() {
            for server in servers {
                self.lines.push(format!("push \"dns server 0 address {server}\""));
            }
            for domain in search_domains {
                self.lines.push(format!("push \"dns search-domains {domain}\""));
            }
        }
        Ok(self)
    }

    /// The lines, without their ends.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

fn is_domain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClientConfig {
        ClientConfig::new("10.8.0.7".parse().unwrap(), "10.8.0.0/24".parse().unwrap())
    }

    #[test]
    fn dns_is_said_in_new_words_only_to_clients_that_know_them() {
        let servers = ["10.9.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let domains = ["corp.example".to_owned()];
        let old = config().dns(&servers, &domains, &Peer::default()).unwrap();
        assert_eq!(
            old.lines()[1..],
            [
                "push \"dhcp-option DNS 10.9.0.1\"",
                "push \"dhcp-option DNS6 fd00::1\"",
                "push \"dhcp-option DOMAIN-SEARCH corp.example\""
            ]
        );
        for iv_proto in [990, 8094, 1 << 11] {
            let peer = Peer { iv_proto, ..Peer::default() };
            let new = config().dns(&servers, &domains, &peer).unwrap();
            assert_eq!(
                new.lines()[4..],
                [
                    "push \"dns server 0 address 10.9.0.1\"",
                    "push \"dns server 0 address fd00::1\"",
                    "push \"dns search-domains corp.example\""
                ]
            );
        }
    }

    #[test]
    fn a_domain_that_would_break_a_line_is_refused() {
        for bad in ["", "a b", "a\"b", "a\nb", "-\u{e9}", &"x".repeat(201)] {
            let refused = config().dns(&[], &[bad.to_owned()], &Peer::default());
            assert_eq!(refused, Err(PushError::Domain(bad.to_owned())));
        }
    }

    #[test]
    fn a_route_is_pushed_as_its_network() {
        let config = config().route("10.1.2.3/16".parse().unwrap()).keepalive(10, 60);
        assert_eq!(
            config.lines()[1..],
            ["push \"route 10.1.0.0 255.255.0.0\"", "push \"ping 10\"", "push \"ping-restart 60\""]
        );
    }
}
