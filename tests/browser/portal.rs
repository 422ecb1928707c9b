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

/// A cluster behind its public address.
pub(crate) struct Portal {
    pub(crate) balancer: Door,
    pub(crate) cluster: Cluster,
}

impl Portal {
    /// Brings up so many hosts.
    pub(crate) fn start(hosts: usize) -> Self {
        let cluster = Cluster::start_in(Lab::new(Some(ORIGIN)), hosts, 1);
        let employee = cluster.lab.client(0);
        let targets = cluster.hosts.iter().map(address).collect();
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let balancer = Door::open(Some(employee), https, Some(NAME), Some(employee), targets);
        Self { balancer, cluster }
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
