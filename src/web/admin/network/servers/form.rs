//! The form of a server.

use serde_json::json;

use crate::admin::context::Desk;
use crate::ui::form::form;
use crate::ui::input::{boxes, joined, one, route, ticked};
use crate::ui::{Choice, Field, Fields, FormView};
use domain::ids::OrganizationId;
use domain::role::Permission;
use domain::server::{Protocol, Server};
use domain::text::Name;
use services::network::servers::NewServer;

form! {
    /// The form of a server.
    ServerForm(server: Server) {
        name: Field::name("Name"), one(&server.name);
        organization_ids: Field::boxes("Open to"), boxes(&server.organization_ids);
        groups: Field::text("Groups").any_order().hint("With commas between them. Empty lets everybody of these organizations in."),
            joined(&server.groups, ", ");
        routes: Field::area("Routes", 5)
            .with(r#"spellcheck="false" class="mono" placeholder="10.0.0.0/8 the office network""#)
            .hint("What can be reached: a network on each line, and a comment after it. Write <code>no-nat</code> between \
                   the two if that network knows the way back to the clients by itself."),
            joined(server.routes.iter().map(route), "\n");
        dns_servers: Field::text("DNS servers")
            .hint("Addresses of name servers that clients ask, with commas between them. Empty leaves theirs alone."),
            joined(&server.dns_servers, ", ");
        search_domains: Field::text("Search domains")
            .hint("Domains that clients append to short names, with commas between them."),
            joined(&server.search_domains, ", ");
        network: Field::text("Network of the clients").short("Network").subject("The network")
            .with(r#"required autocomplete="off" class="mono""#).initial("10.200.0.0/16")
            .hint("A private network that is used for nothing else. It cannot be changed once profiles hold addresses of \
                   it."),
            one(server.network.net());
        port: Field::number("Port").subject("The port").initial("1194"), one(server.port.get());
        protocol: Field::select("Protocol").subject("The protocol").initial("udp").beside(),
            one(server.protocol.as_str());
        interval: Field::number("Keepalive interval, in seconds").short("Keepalive interval").subject("The interval")
            .initial("2"),
            one(server.keepalive.interval());
        timeout: Field::number("Keepalive timeout, in seconds").short("Keepalive timeout").subject("The timeout")
            .initial("6").beside(),
            one(server.keepalive.timeout());
        enabled: Field::tick("Enabled").initial("yes"), ticked(server.enabled);
    } fields => NewServer {
        let (interval, timeout): (u32, u32) = (interval, timeout);
        match serde_json::from_value(json!({ "interval": interval, "timeout": timeout })) {
            Ok(keepalive) => Some(NewServer {
                name,
                network,
                port,
                protocol,
                enabled,
                organization_ids,
                groups,
                routes,
                dns_servers,
                search_domains,
                keepalive,
            }),
            Err(error) => {
                fields.wrong("interval", &format!("The keepalive {error}"));
                None
            }
        }
    }
}

/// What can be chosen in the form.
pub(crate) fn with_choices(form: FormView, desk: &Desk, organizations: &[(OrganizationId, Name)]) -> FormView {
    let protocols = vec![
        Choice::new(Protocol::Udp.as_str(), "UDP").about("the faster one"),
        Choice::new(Protocol::Tcp.as_str(), "TCP").about("for networks that let nothing else out"),
    ];
    let form = form.choices("protocol", protocols);
    if !organizations.is_empty() {
        return form
            .choices_or_only("organization_ids", Choice::all(organizations.iter().map(|(id, name)| (id, name))));
    }
    let link = " <a href=\"/organizations/new\">Create one</a> first, or open the server to it later.";
    let link = if desk.may(Permission::ManageOrganizations) { link } else { "" };
    form.hint("organization_ids", format!("There is no organization yet.{link}"))
}

/// The first server, of which only the most important is asked; the rest is as in a fresh form.
pub(crate) fn first(fields: &mut Fields, organizations: &[(OrganizationId, Name)]) -> Option<NewServer> {
    const ASKED: [&str; 4] = ["name", "network", "port", "routes"];
    for field in ServerForm::FIELDS.iter().filter(|field| !ASKED.contains(&field.name)) {
        fields.replace(field.name, [field.initial.to_owned()]);
    }
    if let [(only, _)] = organizations {
        fields.replace("organization_ids", [only.to_string()]);
    }
    ServerForm::read(fields)
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
                { "network": "172.16.0.0/12", "nat": false, "comment": "site B, floor 2" },
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
        let server = server();
        let mut fields = ServerForm::fill(&server);
        let read = ServerForm::read(&mut fields).unwrap();
        assert!(fields.errors.is_empty(), "{:?}", fields.errors);
        assert_eq!(Server::new(server.id, read), server);
    }

    #[test]
    fn what_cannot_be_read_is_said_at_its_field() {
        let places = |fields: &Fields| fields.errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>();
        let filled = || ServerForm::fill(&server());
        let mut wrong = filled().with("port", "0").with("routes", "10.0.0.1/8\n10.0.0.0/8").with("dns_servers", "dns");
        assert!(ServerForm::read(&mut wrong).is_none());
        assert_eq!(places(&wrong), ["routes", "dns_servers", "port"], "{:?}", wrong.errors);
        let mut short = filled().with("timeout", "1");
        assert!(ServerForm::read(&mut short).is_none());
        assert_eq!(places(&short), ["interval"], "{:?}", short.errors);
    }

    #[test]
    fn a_first_server_is_as_usual_but_for_what_is_asked() {
        let asked = [("name", "main"), ("network", "10.9.0.0/16"), ("port", "1195"), ("routes", "")];
        let mut fields = Fields::of(asked.map(|(name, value)| (name, value.to_owned())));
        let organization = OrganizationId::from_parts(jiff::Timestamp::UNIX_EPOCH, 2);
        let first = first(&mut fields, &[(organization, "Acme".parse().unwrap())]).unwrap();
        assert_eq!((first.port.get(), first.protocol, first.enabled), (1195, Protocol::Udp, true));
        assert_eq!(
            (first.organization_ids, first.keepalive),
            ([organization].into(), domain::server::Keepalive::default())
        );
    }
}
