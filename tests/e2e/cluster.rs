//! A cluster as an administrator makes it: hosts, an organization, a server, users, profiles; all by the API.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::client::Client;
use crate::host::{Host, write_master_key};
use crate::lab::{LAN, Lab, PAGE};
use crate::openvpn::OpenVpn;
use crate::page::Probe;
use crate::wait::{wait_for, wait_until};

/// How long a daemon may take from the wish to `running`.
const ATTACH: Duration = Duration::from_secs(40);
/// How long a connection may take to be listed, and a list to follow the facts.
pub(crate) const LISTED: Duration = Duration::from_secs(15);

/// Running hosts, and one organization with one server that leads to the private page.
pub(crate) struct Cluster {
    pub(crate) hosts: Vec<Host>,
    pub(crate) lab: Lab,
    pub(crate) organization: String,
    pub(crate) server: String,
    token: String,
}

/// A profile as it was downloaded.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) text: String,
}

impl Cluster {
    /// Two hosts and a database of one member.
    pub(crate) fn of_two_hosts() -> Self {
        Self::start(2, 1)
    }

    /// The same on hosts that run this OpenVPN.
    pub(crate) fn of_two_hosts_running(openvpn: OpenVpn) -> Self {
        Self::start_in(Lab::new(None).running(openvpn), 2, 1)
    }

    /// `hosts` machines that run Postern and carry the server, on a database of `members`.
    pub(crate) fn start(hosts: usize, members: usize) -> Self {
        Self::start_in(Lab::new(None), hosts, members)
    }

    /// The same in a laboratory that has been made.
    pub(crate) fn start_in(lab: Lab, hosts: usize, members: usize) -> Self {
        Self::start_as(lab, hosts, members, |_| {})
    }

    /// The same with hosts that are prepared before they are started.
    pub(crate) fn start_as(mut lab: Lab, hosts: usize, members: usize, prepare: impl FnOnce(&mut [Host])) -> Self {
        lab.start_database(members);
        write_master_key(&lab.folder().join("master.key"));
        let key = lab.folder().join("master.key");
        let mut hosts: Vec<_> =
            lab.machines().iter().take(hosts).map(|machine| Host::configure(&lab, machine, &key)).collect();

        prepare(&mut hosts);

        hosts[0].run(&["migrate", "apply"]);
        let token = hosts[0].run(&["token", "create", "--name", "e2e", "--role", "owner"]).trim().to_owned();
        assert!(token.starts_with("pst_"), "`postern token create` prints the token and nothing else, not: {token}");
        hosts.iter_mut().for_each(Host::start);
        hosts.iter_mut().for_each(Host::wait_ready);

        let api = hosts[0].api(&token);
        let organization = id(&api.post("/organizations", &json!({ "name": "Example" })));
        let server = id(&api.post(
            "/servers",
            &json!({
                "name": "office",
                "network": "10.200.0.0/16",
                "port": 1194,
                "protocol": "udp",
                "organization_ids": [organization],
                "routes": [{ "network": LAN, "comment": "the private network", "nat": true }],
            }),
        ));
        let cluster = Self { hosts, lab, organization, server, token };
        cluster.hosts.iter().for_each(|host| cluster.attach(host));
        cluster.hosts.iter().for_each(|host| cluster.wait_running(host));
        cluster
    }

    /// Configures, starts and awaits one more host, which knows the database and the master key and nothing else.
    pub(crate) fn add_host(&mut self) -> &Host {
        let machine = &self.lab.machines()[self.hosts.len()];
        let mut host = Host::configure(&self.lab, machine, &self.lab.folder().join("master.key"));
        host.start();
        host.wait_ready();
        self.hosts.push(host);
        self.hosts.last().expect("it was added")
    }

    /// The API of a host, 0 to 2.
    pub(crate) fn api(&self, host: usize) -> Api {
        self.hosts[host].api(&self.token)
    }

    /// The API of a host whose Postern has not been ended.
    #[track_caller]
    pub(crate) fn any_api(&self) -> Api {
        self.hosts.iter().find(|host| host.runs()).expect("a host runs").api(&self.token)
    }

    /// The host with this address on the internet, and its number.
    #[track_caller]
    pub(crate) fn number_of(&self, inet: Ipv4Addr) -> usize {
        self.hosts.iter().position(|host| host.inet() == inet).unwrap_or_else(|| panic!("no host has {inet}"))
    }

    /// The id under which the cluster knows a host.
    #[track_caller]
    pub(crate) fn host_id(&self, host: &Host) -> String {
        wait_for(&format!("{} in /hosts", host.name()), LISTED, || {
            self.any_api().list("/hosts").iter().find(|found| found["name"] == host.name()).map(id)
        })
    }

    /// Wants the server on a host.
    #[track_caller]
    pub(crate) fn attach(&self, host: &Host) {
        self.any_api().put(&format!("/servers/{}/hosts/{}", self.server, self.host_id(host)));
    }

    /// Waits until the server runs on a host, says the API.
    #[track_caller]
    pub(crate) fn wait_running(&self, host: &Host) {
        let id = self.host_id(host);
        let mut last = LastWord(Value::Null);
        wait_until(&format!("the server to be `running` on {}", host.name()), ATTACH, || {
            let found = self.any_api().list(&format!("/servers/{}/hosts", self.server));
            last.0 = found.into_iter().find(|item| item["host_id"] == id).unwrap_or_default();
            last.0["state"] == "running"
        });
    }

    /// A new user of the organization; returns the id.
    #[track_caller]
    pub(crate) fn user(&self, name: &str) -> String {
        let body = user_body(&self.organization, name);
        id(&self.any_api().post("/users", &body))
    }

    /// A new profile of a user for the server, as the file.
    #[track_caller]
    pub(crate) fn profile(&self, user: &str, name: &str) -> Profile {
        let api = self.any_api();
        let body = json!({ "server_id": self.server, "name": name });
        let path = format!("/users/{user}/profiles");
        let answer = api.send("POST", &path, Some(&body), "application/x-openvpn-profile").unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        let location = answer.location.expect("a 201 has a Location");
        let id = location.rsplit('/').next().unwrap_or_default().to_owned();
        let listed = api.get(&format!("/profiles/{id}"));
        let address = listed["address"].as_str().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {listed}"));
        Profile { id, user: user.to_owned(), address, text: answer.body }
    }

    /// A new user with one profile.
    #[track_caller]
    pub(crate) fn user_with_profile(&self, name: &str) -> Profile {
        let user = self.user(name);
        self.profile(&user, "laptop")
    }

    /// The live sessions of a profile.
    #[track_caller]
    pub(crate) fn sessions(&self, profile: &Profile) -> Vec<Value> {
        let sessions = self.any_api().list(&format!("/sessions?user_id={}", profile.user));
        sessions.into_iter().filter(|session| session["profile_id"] == profile.id.as_str()).collect()
    }

    /// Waits until exactly one session of a profile is listed, on `host`; returns it.
    #[track_caller]
    pub(crate) fn wait_session_on(&self, profile: &Profile, host: &Host) -> Value {
        let id = self.host_id(host);
        wait_for(&format!("one session of {} on {}", profile.id, host.name()), LISTED, || {
            let mut sessions = self.sessions(profile);
            (sessions.len() == 1 && sessions[0]["host_id"] == id).then(|| sessions.remove(0))
        })
    }

    /// A probe of the page from a client machine.
    pub(crate) fn probe(&self, machine: usize) -> Probe {
        Probe::start(self.lab.client(machine), PAGE)
    }

    /// Connects a client on machine 0 and probes the page from there. Returns them with the number of the host that
    /// the client came by; a fetch has succeeded, and the session is listed.
    #[track_caller]
    pub(crate) fn connect(&self, profile: &Profile) -> (Client, Probe, usize) {
        self.connect_of(OpenVpn::Installed, profile)
    }

    /// The same with a client of this generation of OpenVPN.
    #[track_caller]
    pub(crate) fn connect_of(&self, openvpn: OpenVpn, profile: &Profile) -> (Client, Probe, usize) {
        let client = Client::connect_of(&self.lab, openvpn, 0, &profile.text);
        let number = self.number_of(client.remote());
        let probe = self.probe(0);
        probe.wait_via(self.hosts[number].lan(), std::time::Instant::now(), Duration::from_secs(10));
        self.wait_session_on(profile, &self.hosts[number]);
        (client, probe, number)
    }
}

/// How an attachment was when it was last looked at; shown when it was waited for in vain, since `detail` says why.
struct LastWord(Value);

impl Drop for LastWord {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("  the attachment: {}", self.0);
        }
    }
}

/// The body that makes a user.
pub(crate) fn user_body(organization: &str, name: &str) -> Value {
    json!({ "organization_id": organization, "name": name, "email": format!("{name}@example.com") })
}

/// The id of an object of the API.
#[track_caller]
pub(crate) fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no `id` in {object}")).to_owned()
}
