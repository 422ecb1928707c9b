//! `postern server`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Ask;
use super::body::{Body, edited, given};
use super::error::ClientError;
use super::output::{Column, ColumnFormat, View, at};
use super::paging::Paging;
use super::refs::NounKind;
use super::wait::Wait;
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("NAME", "name", ColumnFormat::Plain),
        Column("NETWORK", "network", ColumnFormat::Plain),
        Column("PORT", "port", ColumnFormat::Plain),
        Column("PROTOCOL", "protocol", ColumnFormat::Plain),
        Column("ENABLED", "enabled", ColumnFormat::Plain),
        Column("OPEN TO", "organization_ids", ColumnFormat::NameOf(NounKind::Organization)),
        Column("GROUPS", "groups", ColumnFormat::Plain),
    ],
};

const HOSTS: View = View {
    key: "host_id",
    columns: &[
        Column("HOST", "host_id", ColumnFormat::NameOf(NounKind::Host)),
        Column("STATE", "state", ColumnFormat::Plain),
        Column("REACHED", "reached.ok", ColumnFormat::Plain),
        Column("FROM", "reached.by", ColumnFormat::NameOf(NounKind::Host)),
        Column("DETAIL", "detail", ColumnFormat::Plain),
    ],
};

const KEY: View = View {
    key: "server_id",
    columns: &[
        Column("SERVER", "server_id", ColumnFormat::NameOf(NounKind::Server)),
        Column("ROTATED", "rotated_at", ColumnFormat::Plain),
        Column("LEFT WITH", "left_with", ColumnFormat::Plain),
        Column("ACTIVE PROFILES", "active_profiles", ColumnFormat::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List servers.
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a server.
    Show {
        /// Its id or name.
        server: String,
    },
    /// Create a server. It runs nowhere until it is attached to a host.
    #[command(
        after_help = "Example:\n  postern server create main --network 10.200.0.0/16 --org Acme --route 10.0.0.0/8"
    )]
    Create {
        /// Its name.
        name: String,
        /// The network that its clients get addresses of, such as 10.200.0.0/16.
        #[arg(long)]
        network: String,
        /// The port that its hosts listen on.
        #[arg(long, default_value_t = 1194)]
        port: u16,
        /// udp or tcp.
        #[arg(long, default_value = "udp")]
        protocol: String,
        /// An organization that it is open to; may be given again.
        #[arg(long = "org", value_name = "ORG")]
        orgs: Vec<String>,
        /// A group that one must be in; may be given again. Without any the whole organization may connect.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// A network behind it, with a comment after `=`; may be given again.
        #[arg(long = "route", value_name = "NETWORK[=COMMENT]")]
        routes: Vec<String>,
        /// Like --route, for a network that knows the way back to the clients by itself.
        #[arg(long = "route-without-nat", value_name = "NETWORK[=COMMENT]")]
        plain_routes: Vec<String>,
        /// No host runs it yet.
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        names: Names,
    },
    /// Update a server; what is not named stays.
    Update(Box<Update>),
    /// Enable a server: its hosts run it.
    Enable {
        /// Its id or name.
        server: String,
    },
    /// Disable a server: it stops on all hosts, and its sessions end.
    Disable {
        /// Its id or name.
        server: String,
    },
    /// Delete a server that is attached to no host and has no active profiles.
    Delete {
        /// Its id or name.
        server: String,
    },
    /// List the hosts that run a server, and how they fare.
    Hosts {
        /// Its id or name.
        server: String,
    },
    /// Show what is known about the key that a server's hosts share.
    Key {
        /// Its id or name.
        server: String,
    },
    /// Give a server another key, after a removed host that had it got lost. Its profiles are revoked: people make new
    /// ones.
    Rotate {
        /// Its id or name.
        server: String,
        /// Revoke its profiles.
        #[arg(long)]
        force: bool,
    },
    /// Have a host run it.
    Attach {
        /// Its id or name.
        server: String,
        /// The host.
        host: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Have a host run it no longer.
    Detach {
        /// Its id or name.
        server: String,
        /// The host.
        host: String,
    },
}

/// What clients are told about names and silence.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Names {
    /// A resolver that clients ask; may be given again.
    #[arg(long = "dns", value_name = "ADDRESS")]
    dns: Vec<String>,
    /// A domain that clients try for short names; may be given again.
    #[arg(long = "search-domain", value_name = "DOMAIN")]
    search_domains: Vec<String>,
    /// Keepalive interval and timeout, in seconds: how often each side says that it is there, and when the other is lost.
    #[arg(long, value_name = "INTERVAL/TIMEOUT", value_parser = keepalive)]
    keepalive: Option<Value>,
}

/// What to change about a server.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Update {
    /// Its id or name.
    server: String,
    /// The new name.
    #[arg(long)]
    name: Option<String>,
    /// The new network of its clients.
    #[arg(long)]
    network: Option<String>,
    /// The new port; profiles issued so far get outdated.
    #[arg(long)]
    port: Option<u16>,
    /// udp or tcp; profiles issued so far get outdated.
    #[arg(long)]
    protocol: Option<String>,
    /// Open it to an organization; may be given again.
    #[arg(long, value_name = "ORG")]
    add_org: Vec<String>,
    /// Close it to an organization; may be given again.
    #[arg(long, value_name = "ORG")]
    remove_org: Vec<String>,
    /// Open it to a group; may be given again.
    #[arg(long, value_name = "GROUP")]
    add_group: Vec<String>,
    /// Close it to a group; may be given again.
    #[arg(long, value_name = "GROUP")]
    remove_group: Vec<String>,
    /// Add a network behind it, with a comment after `=`; may be given again.
    #[arg(long, value_name = "NETWORK[=COMMENT]")]
    add_route: Vec<String>,
    /// Like --add-route, for a network that knows the way back to the clients by itself.
    #[arg(long, value_name = "NETWORK[=COMMENT]")]
    add_route_without_nat: Vec<String>,
    /// Remove a network behind it; may be given again.
    #[arg(long, value_name = "NETWORK")]
    remove_route: Vec<String>,
    #[command(flatten)]
    names: Names,
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let find = |server: &str| client.find(NounKind::Server, server);
        let path = |server: &str| -> Result<String, ClientError> { Ok(format!("/servers/{}", find(server)?)) };
        let place = |server: &str, host: &str| -> Result<String, ClientError> {
            Ok(format!("/servers/{}/hosts/{}", find(server)?, client.find(NounKind::Host, host)?))
        };
        match self {
            Self::List { paging } => client.list("/servers", &[], &paging, &VIEW),
            Self::Show { server } => client.show(&Ask::get(&path(&server)?), &VIEW),
            Self::Create { name, network, port, protocol, orgs, groups, routes, plain_routes, disabled, names } => {
                let body = Body::default()
                    .set("name", Some(name))
                    .set("network", Some(network))
                    .set("port", Some(port))
                    .set("protocol", Some(protocol))
                    .set("organization_ids", given(client.find_all(NounKind::Organization, &orgs)?))
                    .set("groups", given(groups))
                    .set("routes", given(both(&routes, &plain_routes)))
                    .set("enabled", disabled.then_some(false));
                client.show(&Ask::post("/servers").body(&names.set(body).new_object()), &VIEW)
            }
            Self::Update(update) => update.run(client),
            Self::Enable { server } => client.show(&Ask::patch(&path(&server)?, &json!({ "enabled": true })), &VIEW),
            Self::Disable { server } => {
                let (path, body) = (path(&server)?, json!({ "enabled": false }));
                let ask = Ask::patch(&path, &body);
                client.confirm_effect(&format!("stop server {server} on all hosts"), &ask)?;
                client.show(&ask, &VIEW)
            }
            Self::Delete { server } => {
                let path = path(&server)?;
                let ask = Ask::delete(&path);
                client.confirm_effect(&format!("delete server {server}"), &ask)?;
                client.done(&ask, &format!("deleted server {server}")).map(drop)
            }
            Self::Hosts { server } => client.list_whole(&format!("{}/hosts", path(&server)?), &HOSTS),
            Self::Key { server } => client.show(&Ask::get(&format!("{}/key", path(&server)?)), &KEY),
            Self::Rotate { server, force } => {
                let path = path(&server)?;
                client.confirm(&format!("give server {server} another key, which makes its profiles worthless"))?;
                client.show(&Ask::post(&format!("{path}/rotate")).body(&json!({ "force": force })), &KEY)
            }
            Self::Attach { server, host, wait } => {
                let path = place(&server, &host)?;
                client.done(&Ask::put(&path), &format!("host {host} is to run server {server}"))?;
                wait.until_running(client, &path)
            }
            Self::Detach { server, host } => {
                let path = place(&server, &host)?;
                let ask = Ask::delete(&path);
                client.confirm_effect(&format!("stop server {server} on host {host}"), &ask)?;
                client.done(&ask, &format!("host {host} runs server {server} no longer")).map(drop)
            }
        }
    }
}

impl Names {
    fn set(self, body: Body) -> Body {
        body.set("dns_servers", given(self.dns))
            .set("search_domains", given(self.search_domains))
            .set("keepalive", self.keepalive)
    }
}

impl Update {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path = format!("/servers/{}", client.find(NounKind::Server, &self.server)?);
        let body = Body::default()
            .set("name", self.name)
            .set("network", self.network)
            .set("port", self.port)
            .set("protocol", self.protocol);
        let mut body = self.names.set(body);
        // Lists are whole to the API: what is sent is what was read, edited, and refused if it changed meanwhile.
        let before = client.api.send(&Ask::get(&path))?;
        let server = before.json()?;
        let texts = |list: Vec<String>| list.into_iter().map(Value::from).collect::<Vec<_>>();
        let add = texts(client.find_all(NounKind::Organization, &self.add_org)?);
        let remove = texts(client.find_all(NounKind::Organization, &self.remove_org)?);
        body = body.set("organization_ids", edited(at(&server, "organization_ids"), add, &remove));
        body = body.set("groups", edited(at(&server, "groups"), texts(self.add_group), &texts(self.remove_group)));
        let added = both(&self.add_route, &self.add_route_without_nat);
        let is_gone = |route: &&Value| {
            let network = at(route, "network").as_str().unwrap_or_default();
            self.remove_route.iter().any(|gone| gone == network)
                || added.iter().any(|new| at(new, "network") == network)
        };
        let gone: Vec<Value> =
            at(&server, "routes").as_array().into_iter().flatten().filter(is_gone).cloned().collect();
        body = body.set("routes", edited(at(&server, "routes"), added, &gone));
        let body = body.change()?;
        let ask = Ask::patch(&path, &body).if_match(before.etag.as_deref());
        client.announce_effect(&format!("change server {}", self.server), &ask)?;
        client.show(&ask, &VIEW)
    }
}

/// Routes with and without address translation.
fn both(nat: &[String], plain: &[String]) -> Vec<Value> {
    let nat = nat.iter().map(|text| route(text, true));
    nat.chain(plain.iter().map(|text| route(text, false))).collect()
}

fn route(text: &str, nat: bool) -> Value {
    match text.split_once('=') {
        Some((network, comment)) => json!({ "network": network, "comment": comment, "nat": nat }),
        None => json!({ "network": text, "nat": nat }),
    }
}

fn keepalive(text: &str) -> Result<Value, String> {
    let pair = text.split_once('/').and_then(|(interval, timeout)| {
        Some(json!({ "interval": interval.parse::<u16>().ok()?, "timeout": timeout.parse::<u16>().ok()? }))
    });
    pair.ok_or_else(|| "must be two numbers of seconds such as 2/6".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_may_have_a_comment() {
        assert_eq!(route("10.0.0.0/8", true), json!({"network": "10.0.0.0/8", "nat": true}));
        let commented = json!({"network": "10.0.0.0/8", "comment": "a=b", "nat": false});
        assert_eq!(route("10.0.0.0/8=a=b", false), commented);
    }

    #[test]
    fn a_keepalive_is_two_numbers() {
        assert_eq!(keepalive("2/6"), Ok(json!({"interval": 2, "timeout": 6})));
        assert!(keepalive("2").is_err() && keepalive("2/x").is_err());
    }
}
