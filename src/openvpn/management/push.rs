//! What an admitted client is given: the lines of a `client-auth` block.

use std::net::Ipv4Addr;

use super::Peer;
use crate::domain::network::{Destination, ServerNetwork};
use crate::domain::text::DnsName;

/// The longest line that OpenVPN does not cut, in bytes.
const MAX_LINE: usize = 255;

/// Why a client cannot be given something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The line would be cut.
    #[error("{0:?} is too long for a line")]
    TooLong(String),
    /// Clients keep [`ClientConfig::MAX_DNS_SERVERS`] addresses.
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
    pub fn new(address: Ipv4Addr, network: ServerNetwork) -> Self {
        Self { lines: vec![format!("ifconfig-push {address} {}", network.net().netmask())] }
    }

    /// Sends a network through the tunnel. Everything (`0.0.0.0/0`) is said as `redirect-gateway`, which spares the
    /// client's way to this host.
    #[must_use]
    pub fn route(mut self, destination: Destination) -> Self {
        let network = destination.net();
        self.lines.push(match network.prefix_len() {
            0 => "push \"redirect-gateway def1\"".to_owned(),
            _ => format!("push \"route {} {}\"", network.network(), network.netmask()),
        });
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
    pub fn dns(mut self, servers: &[Ipv4Addr], search_domains: &[DnsName], peer: &Peer) -> Result<Self, PushError> {
        if servers.len() > Self::MAX_DNS_SERVERS {
            return Err(PushError::TooManyDnsServers(servers.len()));
        }
        for server in servers {
            self.push(format!("push \"dhcp-option DNS {server}\""))?;
        }
        for domain in search_domains {
            self.push(format!("push \"dhcp-option DOMAIN-SEARCH {domain}\""))?;
        }
        // Search domains alone are no `dns` setting: a server is part of it.
        if peer.takes_dns_option() && !servers.is_empty() {
            for server in servers {
                self.push(format!("push \"dns server 0 address {server}\""))?;
            }
            for domain in search_domains {
                self.push(format!("push \"dns search-domains {domain}\""))?;
            }
        }
        Ok(self)
    }

    fn push(&mut self, line: String) -> Result<(), PushError> {
        if line.len() > MAX_LINE {
            return Err(PushError::TooLong(line));
        }
        self.lines.push(line);
        Ok(())
    }

    /// The lines, without their ends.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClientConfig {
        ClientConfig::new("10.8.0.7".parse().unwrap(), "10.8.0.0/24".parse().unwrap())
    }

    #[test]
    fn dns_is_said_in_new_words_only_to_clients_that_know_them() {
        let servers = ["10.9.0.1".parse().unwrap()];
        let domains = ["corp.example".parse().unwrap()];
        let old = config().dns(&servers, &domains, &Peer::default()).unwrap();
        assert_eq!(
            old.lines()[1..],
            ["push \"dhcp-option DNS 10.9.0.1\"", "push \"dhcp-option DOMAIN-SEARCH corp.example\""]
        );
        for iv_proto in [990, 8094, 1 << 11] {
            let peer = Peer { iv_proto, ..Peer::default() };
            let new = config().dns(&servers, &domains, &peer).unwrap();
            assert_eq!(
                new.lines()[3..],
                ["push \"dns server 0 address 10.9.0.1\"", "push \"dns search-domains corp.example\""]
            );
        }
    }

    #[test]
    fn a_line_that_would_be_cut_is_refused() {
        let domain = [["x".repeat(60).as_str(); 4].join("."), "example".to_owned()].join(".").parse().unwrap();
        let refused = config().dns(&[], &[domain], &Peer::default());
        assert!(matches!(refused, Err(PushError::TooLong(_))), "{refused:?}");
    }

    #[test]
    fn routes_are_pushed_as_networks_and_everything_as_redirection() {
        let config =
            config().route("10.1.0.0/16".parse().unwrap()).route("0.0.0.0/0".parse().unwrap()).keepalive(10, 60);
        assert_eq!(
            config.lines()[1..],
            [
                "push \"route 10.1.0.0 255.255.0.0\"",
                "push \"redirect-gateway def1\"",
                "push \"ping 10\"",
                "push \"ping-restart 60\""
            ]
        );
    }
}
