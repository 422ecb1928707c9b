//! The portal as employees find it: one public address, behind it a balancer, behind that the hosts.
//!
//! ```text
//!   c1   the employee's machine: browser and VPN client
//!    │   https://vpn.example.com ── balancer (ends TLS) ── h1, h2, h3 :8443
//!    │   http://127.0.0.1:PORT   ── way ── the identity provider
//!   h1 h2 h3: the same way to the identity provider
//! ```

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use serde_json::json;

use crate::{
    browser::{Browser, Options},
    cluster::Cluster,
    door::Door,
    host::Host,
    lab::Lab,
    netns::Namespace,
    visitor::Visitor,
};

/// The address that employees are told.
pub(crate) const ORIGIN: &str = "https://vpn.example.com";
const NAME: &str = "vpn.example.com";

/// Somebody of the company.
pub(crate) const ANA: &str = "ana@example.com";

/// A cluster behind its public address.
pub(crate) struct Portal {
    pub(crate) balancer: Door,
    pub(crate) cluster: Cluster,
    issuer: SocketAddr,
    _ways: Vec<Door>,
    provider: std::process::Child,
}

impl Drop for Portal {
    fn drop(&mut self) {
        let _ = self.provider.kill();
        let _ = self.provider.wait();
    }
}

impl Portal {
    /// Brings up so many hosts.
    pub(crate) fn start(hosts: usize) -> Self {
        let cluster = Cluster::start_in(Lab::new(Some(ORIGIN)), hosts, 1);
        let employee = cluster.lab.client(0);
        let targets = cluster.hosts.iter().map(address).collect();
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let balancer = Door::open(Some(employee), https, Some(NAME), Some(employee), targets);

        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let provider = std::process::Command::new("node")
            .args(["/tmp/k-oidc/provider.mjs", &port.to_string(), &format!("{ORIGIN}/oauth/callback")])
            .spawn()
            .unwrap();
        let issuer = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        crate::wait::wait_until("issuer", std::time::Duration::from_secs(10), || {
            std::net::TcpStream::connect(issuer).is_ok()
        });
        let machines = cluster.hosts.iter().map(|host| &host.machine().namespace).chain([employee]);
        let ways = machines.map(|machine| Door::open(Some(machine), issuer, None, None, vec![issuer])).collect();
        cluster.any_api().patch(
            "/settings",
            &json!({
                "company_name": "Example",
                "contact": "it@example.com",
                "oidc": {
                    "issuer": format!("http://{issuer}"),
                    "client_id": "postern",
                    "client_secret": "secret-of-postern",
                    "allowed_domains": ["example.com"],
                    "default_organization_id": cluster.organization,
                },
            }),
        );
        Self { balancer, cluster, issuer, _ways: ways, provider }
    }

    /// Waits until the browser has come to the identity provider.
    #[track_caller]
    pub(crate) fn wait_issuer(&self, browser: &Browser) {
        browser.wait_url(&format!("http://{}/", self.issuer));
    }

    /// Signs a person in at the identity provider, where the browser is or is on its way to, and waits until it is back.
    #[track_caller]
    pub(crate) fn sign_in(&self, browser: &Browser, mail: &str) {
        self.wait_issuer(browser);
        browser.fill("input[name=login]", mail);
        browser.fill("input[name=password]", "not a secret");
        browser.press("Sign-in");
        browser.press("Continue");
        browser.wait_url(ORIGIN);
    }

    /// The employee's machine.
    pub(crate) fn employee(&self) -> &Arc<Namespace> {
        self.cluster.lab.client(0)
    }

    /// A browser on the employee's machine.
    pub(crate) fn browser(&self) -> Browser {
        self.browser_with(Options::default())
    }

    /// The same, with options; where it stands and what names mean is seen to.
    pub(crate) fn browser_with(&self, options: Options) -> Browser {
        let namespace = Some(Arc::clone(self.employee()));
        let names = Some(format!("MAP {NAME} 127.0.0.1"));
        Browser::start(Options { namespace, names, ..options })
    }

    /// A program on the employee's machine.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(self.employee(), ORIGIN)
    }

    /// A program that holds a browser's cookies of the portal.
    pub(crate) fn visitor_as(&self, browser: &Browser) -> Visitor {
        let mut visitor = self.visitor();
        browser.cookies().into_iter().for_each(|(name, value)| visitor.take_cookie(name, value));
        visitor
    }

    /// Whether a host has answered at a route.
    pub(crate) fn has_served(&self, number: usize, route: &str) -> bool {
        let log = self.cluster.lab.folder().join(format!("{}.log", self.cluster.hosts[number].name()));
        let log = std::fs::read_to_string(log).unwrap();
        log.contains(&format!("\"route\":\"{route}\""))
    }

    /// The portal of one host.
    pub(crate) fn host(&self, number: usize) -> SocketAddr {
        address(&self.cluster.hosts[number])
    }
}

fn address(host: &Host) -> SocketAddr {
    (host.inet(), 8443).into()
}
