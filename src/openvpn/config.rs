//! The configuration of a daemon and the profile of a client, rendered from `templates/openvpn/`.
//!
//! Every value is typed so that none can break a line; the key material is checked for the same. The daemon's options
//! are the ones whose failover and admission behaviour was measured: `management-client-auth` with
//! `auth-user-pass-optional` (profiles carry no password), `nopool` (addresses come with the admission),
//! `allow-noncookie` (2.5 cannot prove its address before the daemon remembers it; it needs a profile's key all the same).
//! A profile's `server-poll-timeout` decides how fast clients leave a
//! dead host, `persist-tun` with the same address on all hosts keeps their tunnel device up meanwhile.
//!
//! `remote` lines say `udp` and `tcp`, also for IPv6 literals: OpenVPN 2.6 and 3 take the family from the address. A
//! daemon is different: there `udp` binds IPv4 alone, so one that listens on every address says `udp6`, whose socket
//! serves both families.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use askama::Template;

use super::runtime_dir::RuntimeDir;
use domain::server::{Port, Protocol};
use domain::spec::DaemonSpec;
use domain::text::{DnsName, PublicAddress};

/// Why no configuration could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not the name of a network interface: 1 to 15 of letters, digits, `-`, `_`.
    #[error("not the name of a network interface: {0:?}")]
    Device(String),
    /// Not PEM: empty, or with characters that could end its block in a profile.
    #[error("the {0} is not PEM")]
    Pem(&'static str),
    /// A profile needs a host.
    #[error("there is no host to connect to")]
    NoRemotes,
    /// The template failed.
    #[error("the configuration could not be rendered")]
    Render,
}

/// The name of a tun device (`IFNAMSIZ` of Linux: 15 bytes).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, ConfigError> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > 15 || name.starts_with('-') || !name.bytes().all(allowed) {
            return Err(ConfigError::Device(name));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a daemon listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On all addresses of both families.
    Everywhere,
    /// On all IPv4 addresses, for machines without IPv6.
    Ipv4,
    /// On one address.
    At(IpAddr),
}

impl Listen {
    /// On all addresses of the families that this machine has.
    pub fn everywhere_here() -> Self {
        if Path::new("/proc/net/if_inet6").exists() { Self::Everywhere } else { Self::Ipv4 }
    }
}

/// The configuration of a daemon, but for its keys, which lie beside it in its [`RuntimeDir`].
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "openvpn/server.conf", escape = "none")]
pub struct ServerConfig {
    /// The name of its tun device.
    pub device: DeviceName,
    /// What the settings of its server say.
    pub spec: DaemonSpec,
    /// Where it listens.
    pub listen: Listen,
    /// The most clients at once; OpenVPN turns others away unheard.
    pub max_clients: u32,
}

impl ServerConfig {
    /// The text of the configuration file.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        self.render().map(|text| text + "\n").or(Err(ConfigError::Render))
    }

    fn is_udp(&self) -> bool {
        self.spec.endpoint.protocol == Protocol::Udp
    }

    /// The word for `proto`: in a daemon, the family is part of it.
    fn proto(&self) -> &'static str {
        let six = match self.listen {
            Listen::Everywhere => true,
            Listen::Ipv4 => false,
            Listen::At(address) => address.is_ipv6(),
        };
        match (self.spec.endpoint.protocol, six) {
            (Protocol::Udp, true) => "udp6",
            (Protocol::Udp, false) => "udp4",
            (Protocol::Tcp, true) => "tcp6-server",
            (Protocol::Tcp, false) => "tcp4-server",
        }
    }
}

/// A way to a server: one `remote` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The host.
    pub address: PublicAddress,
    /// Its port.
    pub port: Port,
    /// Its transport.
    pub protocol: Protocol,
}

/// The profile of a client: one file with everything in it. Holds a private key, so it has no `Debug`.
#[derive(Template)]
#[template(path = "openvpn/profile.ovpn", escape = "none")]
pub struct ClientProfile<'a> {
    remotes: &'a [Remote],
    server_name: &'a DnsName,
    authorities: &'a str,
    certificate: &'a str,
    key: &'a str,
    tls_crypt: &'a str,
}

/// The key material of a profile, each PEM.
#[derive(Clone, Copy)]
pub struct ProfileKeys<'a> {
    /// The authorities that the server's certificate leads to.
    pub authorities: &'a str,
    /// The client's certificate.
    pub certificate: &'a str,
    /// The client's private key.
    pub key: &'a str,
    /// The tls-crypt-v2 client key.
    pub tls_crypt: &'a str,
}

impl<'a> ClientProfile<'a> {
    /// A profile with its hosts in the order in which they are to stand. `server_name` is the common name of the
    /// server's certificate on every host.
    pub fn new(remotes: &'a [Remote], server_name: &'a DnsName, keys: ProfileKeys<'a>) -> Result<Self, ConfigError> {
        if remotes.is_empty() {
            return Err(ConfigError::NoRemotes);
        }
        Ok(Self {
            remotes,
            server_name,
            authorities: pem("authority", keys.authorities)?,
            certificate: pem("certificate", keys.certificate)?,
            key: pem("private key", keys.key)?,
            tls_crypt: pem("tls-crypt-v2 key", keys.tls_crypt)?,
        })
    }

    /// The text of the profile.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        self.render().map(|text| text + "\n").or(Err(ConfigError::Render))
    }
}

/// PEM as it may stand in a block: printable ASCII lines ended by LF, nothing that could be a tag.
fn pem<'a>(what: &'static str, text: &'a str) -> Result<&'a str, ConfigError> {
    let text = text.trim();
    let plain = |b: u8| matches!(b, b' '..=b'~' | b'\n') && b != b'<';
    let sound = text.starts_with("-----BEGIN ") && text.ends_with("-----") && text.bytes().all(plain);
    sound.then_some(text).ok_or(ConfigError::Pem(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::samples;
    use domain::server::Server;

    const PEM: &str = "-----BEGIN X-----\nAAAA\n-----END X-----\n";

    fn keys() -> ProfileKeys<'static> {
        ProfileKeys { authorities: PEM, certificate: PEM, key: PEM, tls_crypt: PEM }
    }

    fn server(protocol: Protocol, listen: Listen) -> String {
        ServerConfig {
            device: DeviceName::new("pst-1").unwrap(),
            spec: DaemonSpec::of(&Server { network: samples::text("10.8.0.0/16"), protocol, ..samples::server(1) }),
            listen,
            max_clients: 4096,
        }
        .to_text()
        .unwrap()
    }

    fn remote(address: &str, protocol: Protocol) -> Remote {
        Remote { address: address.parse().unwrap(), port: Port::try_from(1194).unwrap(), protocol }
    }

    #[test]
    fn the_daemon_configuration_is_the_measured_one() {
        let options: Vec<_> = server(Protocol::Udp, Listen::Everywhere)
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            options.join("\n"),
            "mode server\ntls-server\ndev pst-1\ndev-type tun\ntopology subnet\nserver 10.8.0.0 255.255.0.0 nopool\n\
             max-clients 4096\nproto udp6\nport 1194\nmultihome\nca authorities.pem\ncert certificate.pem\nkey key.pem\n\
             tls-crypt-v2 tls-crypt-v2.key allow-noncookie\ndh none\ntls-version-min 1.2\nverify-client-cert require\n\
             remote-cert-tls client\ndata-ciphers AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305\nallow-compression no\n\
             management management.sock unix\nmanagement-hold\nmanagement-client-auth\nauth-user-pass-optional\n\
             script-security 1\nkeepalive 2 6\nreneg-sec 43200\nexplicit-exit-notify 2\npersist-tun\npersist-key\n\
             writepid daemon.pid\nverb 3"
        );
    }

    #[test]
    fn tcp_has_no_exit_notification_and_no_multihome() {
        let text = server(Protocol::Tcp, Listen::At("192.0.2.1".parse().unwrap()));
        assert!(text.contains("\nproto tcp4-server\nport 1194\nlocal 192.0.2.1\ntcp-nodelay\n"), "{text}");
        assert!(!text.contains("explicit-exit-notify") && !text.contains("\nmultihome"));
        assert!(!server(Protocol::Tcp, Listen::Everywhere).contains("\nmultihome"));
    }

    #[test]
    fn a_profile_is_the_measured_one_with_remotes_in_the_given_order() {
        let remotes = [remote("2001:db8::1", Protocol::Udp), remote("vpn-2.example.com", Protocol::Tcp)];
        let server_name = "server.postern".parse().unwrap();
        let text = ClientProfile::new(&remotes, &server_name, keys()).unwrap().to_text().unwrap();
        let block = "-----BEGIN X-----\nAAAA\n-----END X-----";
        assert_eq!(
            text,
            format!(
                "client\ndev tun\nremote 2001:db8::1 1194 udp\n\
                 remote vpn-2.example.com 1194 tcp\nremote-random\nnobind\npersist-tun\npersist-key\n\
                 server-poll-timeout 2\nconnect-retry 0 1\nreneg-sec 43200\nremote-cert-tls server\n\
                 verify-x509-name server.postern name\nverb 3\n<ca>\n{block}\n</ca>\n<cert>\n{block}\n</cert>\n\
                 <key>\n{block}\n</key>\n<tls-crypt-v2>\n{block}\n</tls-crypt-v2>\n"
            )
        );
    }

    #[test]
    fn key_material_that_could_end_its_block_is_refused() {
        let server_name = "s".parse().unwrap();
        let remotes = [remote("192.0.2.1", Protocol::Udp)];
        for bad in
            ["", "AAAA", "-----BEGIN X-----\n</ca>\nscript-security 2\n<ca>\n-----END X-----", "-----BEGIN \0-----"]
        {
            let keys = ProfileKeys { authorities: bad, ..keys() };
            let refused = ClientProfile::new(&remotes, &server_name, keys).err();
            assert_eq!(refused, Some(ConfigError::Pem("authority")), "{bad:?}");
        }
        assert_eq!(ClientProfile::new(&[], &server_name, keys()).err(), Some(ConfigError::NoRemotes));
    }

    #[test]
    fn only_interface_names_name_a_device() {
        for bad in ["", "a b", "0123456789abcdef", "-x", "a/b", "a\n"] {
            assert!(DeviceName::new(bad).is_err(), "{bad:?}");
        }
    }
}
