//! What the settings of a server mean: to the daemons that run it, to the clients that are connected to it, and to the
//! files of profiles ([`WrittenFor`](super::profile::WrittenFor) is made of an [`Endpoint`]). There is one comparable
//! value for each, and whoever has to know whether a change matters to one of them compares two of its values: a
//! preview, the mark of a session, the age of a profile; a daemon's configuration is rendered from its value and
//! nothing else.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use super::access::Snapshot;
use super::network::{Destination, Route, ServerNetwork};
use super::server::{Endpoint, Keepalive, Server};
use super::text::{DnsName, PublicAddress};

/// What the configuration of a daemon is rendered from. A daemon whose specification becomes another is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSpec {
    /// The network of its clients; the daemon takes the first address.
    pub network: ServerNetwork,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// How it and its clients notice that the other is lost.
    pub keepalive: Keepalive,
}

/// The configuration that a client gets when it is admitted, beside its address. A session with another one is asked to
/// connect anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSpec {
    /// What it sends into the tunnel.
    pub routes: Vec<Destination>,
    /// The resolvers that it asks.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The domains that it appends to short names.
    pub search_domains: Vec<DnsName>,
    /// The addresses of the server's hosts that its routes take, which it has to send past the tunnel.
    pub outside: BTreeSet<IpAddr>,
}

/// The settings of a server by whom they matter to.
struct Settings<'a> {
    daemon: DaemonSpec,
    routes: &'a [Route],
    dns_servers: &'a [Ipv4Addr],
    search_domains: &'a [DnsName],
}

impl<'a> Settings<'a> {
    /// The one place that says which setting matters to whom. Every field is named, so that a new one does not compile
    /// before that is said of it, too.
    fn of(server: &'a Server) -> Self {
        let Server {
            // Nobody who is connected notices these.
            id: _,
            name: _,
            // Whoever connects is judged by these: `Snapshot::admit`, and `Snapshot::runners`.
            enabled: _,
            organization_ids: _,
            groups: _,
            // A daemon is configured with these; the port and the protocol are its `Endpoint`.
            network,
            port: _,
            protocol: _,
            keepalive,
            // A client is told these when it is let in.
            routes,
            dns_servers,
            search_domains,
        } = server;
        let daemon = DaemonSpec { network: *network, endpoint: Endpoint::of(server), keepalive: *keepalive };
        Self { daemon, routes, dns_servers, search_domains }
    }
}

impl DaemonSpec {
    /// That of a server's daemons, the same on all hosts.
    pub fn of(server: &Server) -> Self {
        Settings::of(server).daemon
    }
}

impl ClientSpec {
    /// What the settings of a server say by themselves, whatever its hosts are.
    pub fn of(server: &Server) -> Self {
        let Settings { daemon: _, routes, dns_servers, search_domains } = Settings::of(server);
        Self {
            // What else a route has is for the firewall and for people.
            routes: routes.iter().map(|route| route.network).collect(),
            dns_servers: dns_servers.to_vec(),
            search_domains: search_domains.to_vec(),
            outside: BTreeSet::new(),
        }
    }

    /// The configuration of a server's clients; `resolve` answers what the name of a host stands for.
    pub fn told(snapshot: &Snapshot, server: &Server, resolve: impl Fn(&DnsName) -> Vec<IpAddr>) -> Self {
        let spec = Self::of(server);
        let addresses = snapshot.hosts_of(server.id).flat_map(|host| &host.public_addresses);
        let each = addresses.flat_map(|address| match address {
            PublicAddress::Ip(address) => vec![*address],
            PublicAddress::Name(name) => resolve(name),
        });
        let outside = each.filter(|address| spec.takes(*address)).collect();
        Self { outside, ..spec }
    }

    /// The same, as far as hosts are known by address: what sessions are held against. What a name stands for may change
    /// at any time, and is no reason to interrupt anybody.
    pub fn fixed(snapshot: &Snapshot, server: &Server) -> Self {
        Self::told(snapshot, server, |_name| Vec::new())
    }

    /// The networks of its routes.
    pub fn networks(&self) -> impl Iterator<Item = Ipv4Net> {
        self.routes.iter().map(|route| route.net())
    }

    /// A mark that two specifications share only if they are the same. A session keeps the mark of what it got, also
    /// on disk while Postern restarts; so a field that is added later has a part in the mark only where it is set, and an
    /// upgrade interrupts nobody.
    pub fn mark(&self) -> String {
        let Self { routes, dns_servers, search_domains, outside } = self;
        let mut digest = Sha256::new();
        for route in routes {
            digest.update(route.net().to_string());
            digest.update(b"\0");
        }
        for resolver in dns_servers {
            digest.update(resolver.octets());
        }
        for domain in search_domains {
            digest.update(b"\0");
            digest.update(domain.as_str());
        }
        for address in outside {
            digest.update(b"\0outside ");
            digest.update(address.to_string());
        }
        data_encoding::HEXLOWER.encode(digest.finalize().get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Revision;
    use crate::access::Change;
    use crate::host::Host;
    use crate::ids::{HostId, Id, ServerId};
    use crate::server::Attachment;

    fn changed(field: &str, value: Value) -> Server {
        let id = ServerId::from_parts(jiff::Timestamp::UNIX_EPOCH, 1);
        let mut server = json!({
            "id": id, "name": "main", "network": "10.9.0.0/16", "port": 1194, "protocol": "udp", "enabled": true,
            "organization_ids": [], "groups": [], "routes": [{ "network": "10.77.0.0/16" }],
            "dns_servers": ["10.77.0.53"], "search_domains": ["corp.example"],
            "keepalive": { "interval": 2, "timeout": 6 },
        });
        server[field] = value;
        serde_json::from_value(server).unwrap()
    }

    fn server() -> Server {
        changed("name", json!("main"))
    }

    /// The configuration of clients where the server runs on one host at this address.
    fn told(server: &Server, address: &str) -> ClientSpec {
        let host = Host {
            id: HostId::from_parts(jiff::Timestamp::UNIX_EPOCH, 6),
            name: "vpn-1".parse().unwrap(),
            public_addresses: vec![address.parse().unwrap()],
            roles: BTreeSet::new(),
            public_key: [0; 32],
            drain: None,
        };
        let attachment = Attachment { server_id: server.id, host_id: host.id, credentials: None };
        let changes = [
            Change::Server(Box::new(server.clone())),
            Change::Host(Box::new(host)),
            Change::Attachment(Box::new(attachment)),
        ];
        ClientSpec::fixed(&Snapshot::default().with(Revision(1), changes), server)
    }

    #[test]
    fn each_setting_matters_to_those_who_live_by_it() {
        let cases = [
            ("name", json!("other"), false, false),
            ("enabled", json!(false), false, false),
            ("groups", json!(["ops"]), false, false),
            ("network", json!("10.8.0.0/16"), true, false),
            ("port", json!(1195), true, false),
            ("protocol", json!("tcp"), true, false),
            ("keepalive", json!({ "interval": 5, "timeout": 10 }), true, false),
            ("routes", json!([{ "network": "10.77.0.0/16", "nat": false, "comment": "office" }]), false, false),
            ("routes", json!([]), false, true),
            ("dns_servers", json!([]), false, true),
            ("search_domains", json!([]), false, true),
        ];
        for (field, value, restarts, tells) in cases {
            let after = changed(field, value);
            assert_eq!(DaemonSpec::of(&after) != DaemonSpec::of(&server()), restarts, "{field}");
            assert_eq!(ClientSpec::of(&after) != ClientSpec::of(&server()), tells, "{field}");
            assert_eq!(ClientSpec::of(&after).mark() != ClientSpec::of(&server()).mark(), tells, "{field}");
        }
    }

    #[test]
    fn hosts_that_the_routes_take_are_part_of_what_clients_are_told() {
        assert_eq!(told(&server(), "203.0.113.6"), ClientSpec::of(&server()), "no route leads there");
        assert_eq!(told(&server(), "vpn-1.example.com"), ClientSpec::of(&server()), "a name interrupts nobody");
        let inside = told(&server(), "10.77.0.3");
        assert_eq!(inside.outside, BTreeSet::from(["10.77.0.3".parse().unwrap()]));
        assert_ne!(inside.mark(), ClientSpec::of(&server()).mark());
    }

    #[test]
    fn the_marks_of_rosters_on_disk_are_understood() {
        assert_eq!(told(&server(), "203.0.113.6").mark(), "a5b8317aeafdec8f");
        assert_eq!(told(&server(), "10.77.0.3").mark(), "83eb2a61764bd6cd");
    }
}
