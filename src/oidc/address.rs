//! Which machines may be asked in the name of a provider.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use openidconnect::url::{Host, Url};

/// What the configured issuer allows: its own host wherever it stands, others only in public.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    host: Option<Host<String>>,
    loopback: bool,
}

impl Reach {
    /// What belongs to an issuer with this URL.
    pub(super) fn of(issuer: &Url) -> Self {
        let host = issuer.host().map(|host| host.to_owned());
        Self { loopback: host.as_ref().is_some_and(is_loopback_host), host }
    }

    /// Whether `url` may be asked as far as can be told before its name is resolved: https, or http on a loopback
    /// address for an issuer that stands there too; no user name or password.
    pub(super) fn allows_url(&self, url: &Url) -> bool {
        let plain = self.loopback && is_loopback(url);
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && plain);
        scheme && url.username().is_empty() && url.password().is_none() && url.has_host()
    }

    /// Whether `address`, found for the host of `url`, may be connected to.
    pub(super) fn allows_address(&self, url: &Url, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_never_asked(address) {
            return false;
        }
        let both_here = self.loopback && is_loopback(url);
        self.is_own(url) || both_here || is_public(address)
    }

    /// Whether a proxy, which resolves names itself, may be told to connect to the host of `url`. Its addresses stay
    /// unknown, so a host that only a document names must have a name of the public DNS. For an address that is written
    /// out the rule is [`Self::allows_address`].
    pub(super) fn allows_by_proxy(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Domain(name)) => self.is_own(url) || is_public_name(name),
            Some(Host::Ipv4(address)) => self.allows_address(url, address.into()),
            Some(Host::Ipv6(address)) => self.allows_address(url, address.into()),
            None => false,
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        url.host().map(|host| host.to_owned()) == self.host
    }
}

/// Whether `url` leads to this machine: such requests are never given to a proxy, for which the name means itself.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback_host(&host.to_owned()))
}

fn is_loopback_host(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Link-local (RFC 3927, RFC 4291), where clouds serve machine credentials, the addresses that clouds use for it
/// elsewhere, and what is no machine at all.
fn is_never_asked(address: IpAddr) -> bool {
    const AWS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    if address.is_unspecified() || address.is_multicast() {
        return true;
    }
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4 == ALIBABA,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == AWS_V6,
    }
}

/// Not in the IANA registries of special-purpose addresses that lead to somewhere near: RFC 6890, RFC 6598, RFC 4193.
/// IPv6 forms that carry an IPv4 address (NAT64, 6to4) count as that address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let protocol = (a, b, c) == (192, 0, 0);
            let benchmark = a == 198 && (b == 18 || b == 19);
            !(a == 0
                || a >= 240
                || v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || shared
                || protocol
                || benchmark)
        }
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public(embedded(high, low)),
            [first, ..] => {
                let documentation = v6.segments().starts_with(&[0x2001, 0xdb8]);
                (first & 0xe000) == 0x2000 && !documentation
            }
        },
    }
}

/// Not a single label, which a resolver completes with the domains of its network, and under no top level that the public
/// DNS does not have: IANA's registry of special-use names, `.internal` (ICANN, 2024), and those that RFC 6762 appendix G
/// found in use inside networks.
fn is_public_name(name: &str) -> bool {
    const INSIDE: [&str; 15] = [
        "alt",
        "corp",
        "example",
        "home",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "onion",
        "private",
        "test",
        "arpa",
    ];
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit_once('.').is_some_and(|(_, top)| !INSIDE.contains(&top))
}

fn embedded(high: u16, low: u16) -> IpAddr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(issuer: &str, url: &str, address: &str) -> bool {
        let (issuer, url) = (issuer.parse().unwrap(), url.parse().unwrap());
        let reach = Reach::of(&issuer);
        reach.allows_url(&url) && reach.allows_address(&url, address.parse().unwrap())
    }

    #[test]
    fn only_https_is_asked_but_on_loopback() {
        assert!(allows("https://sso.example.com", "https://sso.example.com/keys", "203.0.112.1"));
        assert!(!allows("https://sso.example.com", "http://sso.example.com/keys", "203.0.112.1"));
        assert!(!allows("http://sso.example.com", "http://sso.example.com/keys", "203.0.112.1"));
        assert!(!allows("https://sso.example.com", "http://127.0.0.1/keys", "127.0.0.1"));
        assert!(!allows("https://sso.example.com", "https://u:p@sso.example.com/keys", "203.0.112.1"));
        assert!(!allows("https://sso.example.com", "file:///etc/passwd", "127.0.0.1"));
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            assert!(allows(&format!("http://{host}:9"), &format!("http://{host}:9/keys"), "127.0.0.1"), "{host}");
        }
    }

    #[test]
    fn the_issuers_own_host_may_stand_in_a_private_network() {
        for address in ["10.1.2.3", "192.168.0.9", "fd12::1", "100.64.0.1", "127.0.1.1"] {
            assert!(allows("https://sso.example.com", "https://sso.example.com/keys", address), "{address}");
        }
    }

    #[test]
    fn a_host_that_only_a_document_names_must_be_public() {
        for (address, public) in [
            ("142.250.74.13", true),
            ("2a00:1450:4001:80b::200d", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.0.9", false),
            ("127.0.0.1", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("fd12::1", false),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::1", false),
        ] {
            let found = allows("https://accounts.google.com", "https://oauth2.googleapis.com/token", address);
            assert_eq!(found, public, "{address}");
        }
    }

    #[test]
    fn a_proxy_is_told_public_names_the_issuers_own_and_what_the_rule_allows_of_addresses() {
        for (issuer, url, allowed) in [
            ("https://accounts.google.com", "https://oauth2.googleapis.com/token", true),
            ("https://accounts.google.com", "https://accounts.google.com/keys", true),
            ("https://sso.corp", "https://sso.corp/keys", true),
            ("https://sso", "https://sso:8443/keys", true),
            ("https://sso.corp", "https://vault.corp/keys", false),
            ("https://accounts.google.com", "https://metadata.google.internal/", false),
            ("https://accounts.google.com", "https://metadata.google.internal./", false),
            ("https://accounts.google.com", "https://printer.local/", false),
            ("https://accounts.google.com", "https://router.home.arpa/", false),
            ("https://accounts.google.com", "https://app.localhost/", false),
            ("https://accounts.google.com", "https://intranet/", false),
            ("https://accounts.google.com", "https://8.8.8.8/", true),
            ("https://accounts.google.com", "https://10.1.2.3/", false),
            ("https://accounts.google.com", "https://0x0a.1/", false),
            ("https://accounts.google.com", "https://[fd12::1]/", false),
            ("https://10.1.2.3", "https://10.1.2.3/keys", true),
            ("https://169.254.169.254", "https://169.254.169.254/keys", false),
        ] {
            let (issuer, place) = (issuer.parse().unwrap(), url.parse().unwrap());
            assert_eq!(Reach::of(&issuer).allows_by_proxy(&place), allowed, "{url} for {issuer}");
        }
    }

    #[test]
    fn metadata_services_are_never_asked() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1", "100.100.100.200"] {
            assert!(!allows("https://sso.example.com", "https://sso.example.com/keys", address), "{address}");
        }
        assert!(!allows("http://127.0.0.1", "https://169.254.169.254/", "169.254.169.254"));
    }
}
