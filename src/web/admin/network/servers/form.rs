//! What stands in the form of a server, as text: filled from a server, or kept as somebody typed it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::network::servers::listed;
use crate::ui::{
    conflict::Shown,
    fields::{Fields, Typed},
};
use domain::{
    ids::OrganizationId,
    network::Route,
    server::{Keepalive, Protocol, Server},
    text::Name,
};
use services::network::servers::NewServer;

/// The form, field by field. It travels through pages as JSON to say what a form was filled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerForm {
    pub(crate) name: String,
    pub(crate) network: String,
    pub(crate) port: String,
    pub(crate) protocol: String,
    pub(crate) enabled: bool,
    pub(crate) organization_ids: Vec<String>,
    pub(crate) groups: String,
    pub(crate) routes: String,
    pub(crate) dns_servers: String,
    pub(crate) search_domains: String,
    pub(crate) interval: String,
    pub(crate) timeout: String,
}

/// In a line of the form: the network behind knows the way back to the clients by itself.
const NO_NAT: &str = "no-nat";

impl ServerForm {
    /// For a new server.
    pub(crate) fn empty(organizations: &[(OrganizationId, Name)]) -> Self {
        let keepalive = Keepalive::default();
        // With one organization there is nothing to choose.
        let only = organizations.first().filter(|_| organizations.len() == 1);
        Self {
            name: String::new(),
            network: "10.200.0.0/16".to_owned(),
            port: "1194".to_owned(),
            protocol: Protocol::Udp.as_str().to_owned(),
            enabled: true,
            organization_ids: only.map(|(id, _)| id.to_string()).into_iter().collect(),
            groups: String::new(),
            routes: String::new(),
            dns_servers: String::new(),
            search_domains: String::new(),
            interval: keepalive.interval().to_string(),
            timeout: keepalive.timeout().to_string(),
        }
    }

    /// Filled from a server.
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            name: server.name.to_string(),
            network: server.network.net().to_string(),
            port: server.port.get().to_string(),
            protocol: server.protocol.as_str().to_owned(),
            enabled: server.enabled,
            organization_ids: server.organization_ids.iter().map(ToString::to_string).collect(),
            groups: listed(&server.groups),
            routes: server.routes.iter().map(line).collect::<Vec<_>>().join("\n"),
            dns_servers: listed(&server.dns_servers),
            search_domains: listed(&server.search_domains),
            interval: server.keepalive.interval().to_string(),
            timeout: server.keepalive.timeout().to_string(),
        }
    }

    /// As it was typed.
    pub(crate) fn typed(fields: &Fields) -> Self {
        let text = |field| fields.text(field).replace("\r\n", "\n");
        Self {
            name: text("name"),
            network: text("network"),
            port: text("port"),
            protocol: text("protocol"),
            enabled: fields.is_ticked("enabled"),
            organization_ids: fields.all("organization_ids").map(ToOwned::to_owned).collect(),
            groups: text("groups"),
            routes: text("routes"),
            dns_servers: text("dns_servers"),
            search_domains: text("search_domains"),
            interval: text("interval"),
            timeout: text("timeout"),
        }
    }

    /// Puts one field of this form in the place of what was typed.
    pub(crate) fn take(&self, field: &str, fields: &mut Fields) {
        let mut put = |field: &str, value: &str| fields.replace(field, [value.to_owned()]);
        match field {
            "name" => put(field, &self.name),
            "network" => put(field, &self.network),
            "port" => put(field, &self.port),
            "protocol" => put(field, &self.protocol),
            "enabled" => put(field, if self.enabled { "yes" } else { "" }),
            "organization_ids" => fields.replace(field, self.organization_ids.iter().cloned()),
            "groups" => put(field, &self.groups),
            "routes" => put(field, &self.routes),
            "dns_servers" => put(field, &self.dns_servers),
            "search_domains" => put(field, &self.search_domains),
            "keepalive" => {
                put("interval", &self.interval);
                put("timeout", &self.timeout);
            }
            _ => {}
        }
    }

    /// As people read it. Organizations are shown by their names.
    pub(crate) fn shown(&self, organizations: &[(OrganizationId, Name)]) -> Vec<Shown> {
        let chosen = |(id, _): &&(OrganizationId, Name)| self.organization_ids.contains(&id.to_string());
        let shown = |field, label, value: &str| Shown { field, label, value: value.to_owned() };
        let names = listed(organizations.iter().filter(chosen).map(|(_, name)| name));
        let seconds = format!("{} / {} seconds", self.interval, self.timeout);
        vec![
            shown("name", "Name", &self.name),
            shown("organization_ids", "Open to", &names),
            shown("groups", "Groups", &self.groups),
            shown("routes", "Routes", &self.routes),
            shown("dns_servers", "Resolvers", &self.dns_servers),
            shown("search_domains", "Search domains", &self.search_domains),
            shown("network", "Network", &self.network),
            shown("port", "Port", &self.port),
            shown("protocol", "Protocol", &self.protocol.to_uppercase()),
            shown("keepalive", "Keepalive", &seconds),
            shown("enabled", "Running", if self.enabled { "yes" } else { "no" }),
        ]
    }

    pub(crate) fn is_open_to(&self, organization: &OrganizationId) -> bool {
        self.organization_ids.contains(&organization.to_string())
    }
}

/// A route on a line of its own.
fn line(route: &Route) -> String {
    let nat = (!route.nat).then(|| NO_NAT.to_owned());
    let comment = route.comment.as_ref().map(ToString::to_string);
    let parts = [Some(route.network.net().to_string()), nat, comment];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The server that was typed; what cannot be read is noted at its field.
pub(crate) fn read(fields: &mut Fields) -> Option<NewServer> {
    let name = fields.parse("name", "The name");
    let network = fields.parse("network", "The network");
    let port = fields.parse::<Typed<_>>("port", "The port");
    let protocol = match fields.text("protocol") {
        "udp" => Some(Protocol::Udp),
        "tcp" => Some(Protocol::Tcp),
        _ => {
            fields.wrong("protocol", "The protocol must be UDP or TCP");
            None
        }
    };
    let ids: Vec<String> = fields.all("organization_ids").map(ToOwned::to_owned).collect();
    let organization_ids = ids.iter().filter_map(|id| id.parse().ok()).collect();
    let groups = fields.parse_list("groups").into_iter().collect();
    let routes = routes(fields);
    let dns_servers = fields.parse_list::<Resolver>("dns_servers").into_iter().map(|Resolver(address)| address);
    let dns_servers = dns_servers.collect();
    let search_domains = fields.parse_list("search_domains");
    let keepalive = keepalive(fields);
    let enabled = fields.is_ticked("enabled");
    if !fields.errors.is_empty() {
        return None;
    }
    Some(NewServer {
        name: name?,
        network: network?,
        port: port?.0,
        protocol: protocol?,
        enabled,
        organization_ids,
        groups,
        routes,
        dns_servers,
        search_domains,
        keepalive: keepalive?,
    })
}

/// The first server, of which only the most important is asked; the rest is as in a fresh form.
pub(crate) fn first(fields: &mut Fields, organizations: &[(OrganizationId, Name)]) -> Option<NewServer> {
    let fresh = ServerForm::empty(organizations);
    let asked = ["name", "network", "port", "routes"];
    for shown in fresh.shown(organizations).iter().filter(|shown| !asked.contains(&shown.field)) {
        fresh.take(shown.field, fields);
    }
    read(fields)
}

fn routes(fields: &mut Fields) -> Vec<Route> {
    let typed = fields.text("routes").to_owned();
    let mut routes = Vec::new();
    for line in typed.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (network, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (nat, comment) = match rest.trim().strip_prefix(NO_NAT) {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => (false, rest.trim()),
            _ => (true, rest.trim()),
        };
        let comment = if comment.is_empty() { Ok(None) } else { comment.parse().map(Some) };
        match (network.parse(), comment) {
            (Ok(network), Ok(comment)) => routes.push(Route { network, comment, nat }),
            (Err(error), _) => fields.wrong("routes", &format!("“{network}” {error}")),
            (_, Err(error)) => fields.wrong("routes", &format!("The comment of {network} {error}")),
        }
    }
    routes
}

fn keepalive(fields: &mut Fields) -> Option<Keepalive> {
    let mut seconds =
        |field: &str, subject: &str| fields.parse::<Typed<Seconds>>(field, subject).map(|typed| typed.0.0);
    let (interval, timeout) = (seconds("interval", "The interval"), seconds("timeout", "The timeout"));
    let (interval, timeout) = (interval?, timeout?);
    match serde_json::from_value(json!({ "interval": interval, "timeout": timeout })) {
        Ok(keepalive) => Some(keepalive),
        Err(error) => {
            fields.wrong("interval", &format!("The keepalive {error}"));
            None
        }
    }
}

/// Any number of seconds.
struct Seconds(u32);

impl TryFrom<u32> for Seconds {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        Ok(Self(number))
    }
}

/// The address of a resolver, with a sentence for what is none.
struct Resolver(Ipv4Addr);

impl std::str::FromStr for Resolver {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_other| "must be an IPv4 address such as 10.0.0.53")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::Id as _;

    fn server() -> Server {
        Server {
            name: "office".parse().unwrap(),
            network: "10.9.0.0/16".parse().unwrap(),
            protocol: Protocol::Tcp,
            organization_ids: [OrganizationId::from_parts(jiff::Timestamp::UNIX_EPOCH, 2)].into(),
            groups: ["ops".parse().unwrap(), "dev".parse().unwrap()].into(),
            routes: serde_json::from_value(json!([
                { "network": "10.0.0.0/8", "comment": "no-natural comment" },
                { "network": "172.16.0.0/12", "nat": false, "comment": "site B" },
                { "network": "192.168.0.0/16", "nat": false },
            ]))
            .unwrap(),
            dns_servers: vec![[10, 0, 0, 53].into()],
            search_domains: vec!["corp.example".parse().unwrap()],
            keepalive: serde_json::from_value(json!({ "interval": 3, "timeout": 9 })).unwrap(),
            ..domain::samples::server(1)
        }
    }

    #[test]
    fn a_form_that_is_sent_as_it_was_filled_changes_nothing() {
        let (server, mut fields) = (server(), Fields::default());
        let form = ServerForm::of(&server);
        for shown in form.shown(&[]) {
            form.take(shown.field, &mut fields);
        }
        assert_eq!(ServerForm::typed(&fields), form);
        let read = read(&mut fields).unwrap();
        assert!(fields.errors.is_empty(), "{:?}", fields.errors);
        assert_eq!(Server::new(server.id, read), server);
    }

    #[test]
    fn what_cannot_be_read_is_said_at_its_field() {
        let mut fields = Fields::default();
        let form = ServerForm {
            port: "0".to_owned(),
            routes: "10.0.0.1/8\n10.0.0.0/8".to_owned(),
            dns_servers: "dns".to_owned(),
            timeout: "1".to_owned(),
            ..ServerForm::of(&server())
        };
        for shown in form.shown(&[]) {
            form.take(shown.field, &mut fields);
        }
        assert!(read(&mut fields).is_none());
        let places: Vec<_> = fields.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(places, ["port", "routes", "dns_servers", "interval"], "{:?}", fields.errors);
    }
}
