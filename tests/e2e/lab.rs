//! The laboratory: an internet, a management network and a private network, and the machines on them.
//!
//! ```text
//!   c1 c2 c3                 clients: on the internet only
//!    └──┴──┤ inet  203.0.113.0/24
//!   h1 h2 h3                 hosts: on all three
//!    └──┴──┤ core  10.92.0.0/24 ├── db       MongoDB, one member or three
//!    └──┴──┤ lan   10.93.0.0/24 ├── private  10.93.0.100 with the page; behind it 10.94.0.100
//! ```
//!
//! Some laboratories have a home as well: a client machine with a private address, whose router masquerades, as most
//! people's does, and on the internet a website that it reaches without any VPN ([`Lab::with_home`]).
//!
//! The private machine has no route to anything but its own network, so the page answers a client only if a host
//! masquerades. 10.94.0.100 is the same machine under an address that no server's routes name. Every laboratory has
//! the same addresses, in namespaces of its own, so any number can exist at a time.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mongodb::bson::{Document, doc};

use crate::mongod::Mongod;
use crate::netns::{Namespace, wire};
use crate::openvpn::OpenVpn;
use crate::page::Page;
use crate::support::mongosh;
use crate::wait::wait_until;
use crate::{mongod, netns};

/// The page, on the network that servers are made to route to.
pub(crate) const PAGE: Ipv4Addr = Ipv4Addr::new(10, 93, 0, 100);
/// The network of the page.
pub(crate) const LAN: &str = "10.93.0.0/24";
/// The same page under an address outside of that network. Hosts can reach it.
pub(crate) const OTHER_PAGE: Ipv4Addr = Ipv4Addr::new(10, 94, 0, 100);
/// A page on the internet, in laboratories with a home.
pub(crate) const WEBSITE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
/// The same page by IPv6.
pub(crate) const WEBSITE_SIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 200);
/// The number of the client machine at home.
pub(crate) const HOME: usize = CLIENTS as usize;
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 92, 0, 2);
const HOSTS: u8 = 3;
const CLIENTS: u8 = 3;

/// A machine of the laboratory which can be a host.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// `h1` and so on.
    pub(crate) name: String,
    /// Its network stack.
    pub(crate) namespace: Arc<Namespace>,
    /// The address at which clients find it.
    pub(crate) inet: Ipv4Addr,
    /// What profiles call it.
    pub(crate) public: String,
    /// The address on the management network.
    pub(crate) core: Ipv4Addr,
    /// The address on the private network, which the page sees.
    pub(crate) lan: Ipv4Addr,
}

/// The networks, the machines and what runs on them from the beginning. Gone without a trace when dropped.
pub(crate) struct Lab {
    page: Option<Page>,
    mongod: Option<Mongod>,
    machines: Vec<Machine>,
    clients: Vec<Arc<Namespace>>,
    portal: Option<String>,
    auth: bool,
    openvpn: OpenVpn,
    database: Arc<Namespace>,
    private: Arc<Namespace>,
    switch: Switch,
    others: Vec<Arc<Namespace>>,
    website: Option<Page>,
    folder: tempfile::TempDir,
    logs: Mutex<Vec<PathBuf>>,
}

impl Lab {
    /// Wires everything up and serves the page. No database yet. Employees reach all hosts under one address, the
    /// `portal`, or without one each under its own.
    pub(crate) fn new(portal: Option<&str>) -> Self {
        static SWEPT: std::sync::Once = std::sync::Once::new();
        SWEPT.call_once(netns::sweep);
        let switch = Switch::new();

        let machines = (1..=HOSTS)
            .map(|number| {
                let name = format!("h{number}");
                let namespace = Arc::new(Namespace::new(&name));
                let [inet, core, lan] =
                    [[203, 0, 113], [10, 92, 0], [10, 93, 0]].map(|[a, b, c]| Ipv4Addr::new(a, b, c, 10 + number));
                switch.plug(&namespace, "inet", inet);
                switch.plug(&namespace, "core", core);
                switch.plug(&namespace, "lan", lan);
                namespace.ip(&format!("route add {OTHER_PAGE}/32 via {PAGE}\n"));
                Machine { name, namespace, inet, public: inet.to_string(), core, lan }
            })
            .collect();

        let clients = (1..=CLIENTS)
            .map(|number| {
                let namespace = Arc::new(Namespace::new(&format!("c{number}")));
                switch.plug(&namespace, "inet", Ipv4Addr::new(203, 0, 113, 100 + number));
                namespace
            })
            .collect();

        let database = Arc::new(Namespace::new("db"));
        switch.plug(&database, "core", DATABASE);

        let private = Arc::new(Namespace::new("private"));
        switch.plug(&private, "lan", PAGE);
        private.ip(&format!("address add {OTHER_PAGE}/32 dev lo\n"));

        Self {
            page: Some(Page::serve(&private)),
            mongod: None,
            machines,
            clients,
            portal: portal.map(str::to_owned),
            auth: false,
            openvpn: OpenVpn::Installed,
            database,
            private,
            switch,
            others: Vec::new(),
            website: None,
            folder: tempfile::Builder::new().prefix("postern-e2e-").tempdir().unwrap(),
            logs: Mutex::default(),
        }
    }

    /// The database is to ask who one is; its users are those of `deploy/mongodb`.
    pub(crate) fn asking(mut self) -> Self {
        self.auth = true;
        self
    }

    /// Adds the home, its router, which is on the internet and on the management network, and the website.
    pub(crate) fn with_home(mut self) -> Self {
        let [router, home, website] = ["router", "home", "website"].map(|name| Arc::new(Namespace::new(name)));
        self.switch.plug(&router, "inet", Ipv4Addr::new(203, 0, 113, 50));
        self.switch.plug(&router, "core", Ipv4Addr::new(10, 92, 0, 50));
        self.switch.plug(&website, "inet", WEBSITE);
        wire(&router, "home", &home, "home");
        router.ip("address add 192.168.7.1/24 dev home\naddress add 2001:db8:7::1/64 dev home nodad\n");
        home.ip("address add 192.168.7.2/24 dev home\naddress add 2001:db8:7::2/64 dev home nodad\n");
        home.ip("route add default via 192.168.7.1\nroute add default via 2001:db8:7::1\n");
        router.run("sysctl", &["--quiet", "--write", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        let masquerade = "add table ip home; add chain ip home out { type nat hook postrouting priority srcnat; }; \
            add rule ip home out oifname != \"home\" masquerade";
        router.run("nft", &[masquerade]);
        // IPv6 needs no masquerading: whoever is on the internet finds the way back.
        router.ip("address add 2001:db8:113::50/64 dev inet nodad\n");
        website.ip(&format!("address add {WEBSITE_SIX}/64 dev inet nodad\n"));
        let machines = self.machines.iter().map(|machine| (&machine.namespace, machine.inet.octets()[3]));
        for (machine, last) in machines {
            machine.ip(&format!("address add {}/64 dev inet nodad\n", six(last)));
        }
        for there in self.machines.iter().map(|machine| &machine.namespace).chain([&website]) {
            there.ip("route add 2001:db8:7::/64 via 2001:db8:113::50\n");
        }
        self.website = Some(Page::serve(&website));
        self.clients.push(home);
        self.others.extend([router, website]);
        self
    }

    /// Clients reach the hosts on the management network, inside of 10.0.0.0/8: the first by its address, the others by
    /// names.
    pub(crate) fn reached_on_core(mut self) -> Self {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (number, machine) in self.machines.iter_mut().enumerate() {
            machine.inet = machine.core;
            machine.public = machine.core.to_string();
            if number > 0 {
                machine.public = format!("{}.postern.test", machine.name);
                hosts.extend([&machine.core.to_string(), " ", &machine.public, "\n"]);
            }
        }
        let everybody = self.machines.iter().map(|machine| &machine.namespace).chain(&self.clients);
        everybody.for_each(|namespace| namespace.know(&hosts));
        self
    }

    /// Clients reach the hosts by IPv6 alone.
    pub(crate) fn reached_by_ipv6(mut self) -> Self {
        for machine in &mut self.machines {
            machine.public = six(machine.inet.octets()[3]).to_string();
        }
        self
    }

    /// The hosts are to run this OpenVPN.
    pub(crate) fn running(mut self, openvpn: OpenVpn) -> Self {
        self.openvpn = openvpn;
        self
    }

    /// The OpenVPN that hosts run.
    pub(crate) fn openvpn(&self) -> OpenVpn {
        self.openvpn
    }

    /// The address under which employees reach a machine's pages.
    pub(crate) fn portal_of(&self, machine: &Machine) -> String {
        self.portal.clone().unwrap_or_else(|| format!("http://{}:8443", machine.inet))
    }

    /// Starts MongoDB on the management network, and waits until each member holds the data: until then, the others
    /// could not elect another primary.
    pub(crate) fn start_database(&mut self, members: usize) {
        let netns = Some(self.database.name().to_owned());
        let auth = self.auth;
        self.mongod = Some(Mongod::start(mongod::Options { members, bind: DATABASE.into(), netns, auth }));
        wait_until("all members of the database to hold the data", Duration::from_mins(1), || {
            let is = |member, what| self.hello(member).is_some_and(|hello| hello.get_bool(what).unwrap_or(false));
            (0..members).all(|member| is(member, "secondary") || is(member, "isWritablePrimary"))
        });
        if auth {
            mongosh::apply(self.database.command(mongosh::program()), self.mongod().uri(), "postern");
        }
    }

    /// Whether the database asks who one is.
    pub(crate) fn has_login(&self) -> bool {
        self.auth
    }

    /// The connection string of a web process; [`Self::mongod`] has that of the database's administrator.
    pub(crate) fn uri(&self) -> String {
        let administrator = self.mongod().uri();
        if self.auth {
            mongosh::uri_of(administrator, "web", mongosh::WEB_PASSWORD, "postern")
        } else {
            administrator.to_owned()
        }
    }

    /// Starts another database in the place of the first; answers the first, which runs on until it is dropped.
    pub(crate) fn start_another_database(&mut self, members: usize) -> Mongod {
        let first = self.mongod.take().expect("start_database was called");
        self.start_database(members);
        first
    }

    /// The database, which has been started.
    pub(crate) fn mongod(&self) -> &Mongod {
        self.mongod.as_ref().expect("start_database was called")
    }

    /// The member that is primary now, of so many.
    pub(crate) fn primary(&self, members: usize) -> Option<usize> {
        let is = |hello: Document| hello.get_bool("isWritablePrimary").unwrap_or(false);
        (0..members).find(|member| self.hello(*member).is_some_and(is))
    }

    /// What a member of the database says about itself, if it answers.
    fn hello(&self, member: usize) -> Option<Document> {
        let port = self.mongod().port(member);
        let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=500");
        self.database.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = mongodb::Client::with_uri_str(uri).await.unwrap();
                client.database("admin").run_command(doc! { "hello": 1 }).await.ok()
            })
        })
    }

    /// The names of all users of the database.
    pub(crate) fn users(&self) -> Vec<String> {
        let found = self.command("admin", doc! { "usersInfo": { "forAllDBs": true } });
        let users = found.get_array("users").unwrap().iter();
        users.map(|user| user.as_document().unwrap().get_str("user").unwrap().to_owned()).collect()
    }

    /// Runs a command on a database, which must take it.
    pub(crate) fn command(&self, database: &str, command: Document) -> Document {
        let uri = self.mongod().uri();
        self.database.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = mongodb::Client::with_uri_str(uri).await.unwrap();
                client.database(database).run_command(command).await.unwrap()
            })
        })
    }

    /// The machines that can be hosts: `h1` is number 0.
    pub(crate) fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The namespace of a client machine, 0 to 2.
    pub(crate) fn client(&self, number: usize) -> &Arc<Namespace> {
        &self.clients[number]
    }

    /// The machine with the page, on the private network.
    pub(crate) fn private(&self) -> &Arc<Namespace> {
        &self.private
    }

    /// A folder for the files of this test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Names a log whose tail is worth reading when the test fails; returns its path.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        let path = self.folder().join(format!("{name}.log"));
        self.logs.lock().unwrap().push(path.clone());
        path
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in self.logs.lock().unwrap().iter() {
                print_tail(log);
            }
        }
        self.page.take();
        self.website.take();
    }
}

/// The address by IPv6 of the machine on the internet with this last octet.
fn six(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, last.into())
}

fn print_tail(log: &Path) {
    const LINES: usize = 40;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    eprintln!("---- {name}: the last {} of {} lines", lines.len() - skipped, lines.len());
    lines.iter().skip(skipped).for_each(|line| eprintln!("{line}"));
}

/// The three networks: one bridge each, in a namespace of their own.
struct Switch {
    namespace: Arc<Namespace>,
}

impl Switch {
    fn new() -> Self {
        let namespace = Arc::new(Namespace::new("switch"));
        for bridge in ["inet", "core", "lan"] {
            namespace.ip(&format!("link add {bridge} type bridge\nlink set {bridge} up\n"));
        }
        Self { namespace }
    }

    /// Connects a machine to a network, by an interface of the same name. All networks are /24.
    fn plug(&self, machine: &Namespace, network: &str, address: Ipv4Addr) {
        let port = format!("{network}{}", address.octets()[3]);
        wire(machine, network, &self.namespace, &port);
        self.namespace.ip(&format!("link set {port} master {network}\n"));
        machine.ip(&format!("address add {address}/24 dev {network}\n"));
    }
}
