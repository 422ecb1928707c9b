//! The portal as employees find it: one public address, behind it a balancer, behind that the hosts.
//!
//! ```text
//!   c1   the employee's machine: browser and VPN client
//!    │   https://vpn.example.com ── balancer (ends TLS) ── h1, h2, h3 :8443
//!    │   http://127.0.0.1:PORT   ── way ── the identity provider
//!   h1 h2 h3: the same way to the identity provider
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::json;

use crate::browser::{Browser, Options};
use crate::cluster::Cluster;
use crate::door::Door;
use crate::host::Host;
use crate::lab::Lab;
use crate::netns::Namespace;
use crate::oidc_provider;
use crate::oidc_provider::OidcProvider;
use crate::visitor::Visitor;

/// The address that employees are told.
pub(crate) const ORIGIN: &str = "https://vpn.example.com";
const NAME: &str = "vpn.example.com";

/// Somebody of the company.
pub(crate) const ANA: &str = "ana@example.com";

/// A cluster behind its public address.
pub(crate) struct Portal {
    pub(crate) balancer: Door,
    pub(crate) cluster: Cluster,
    issuer: String,
    _ways: Vec<Door>,
    _provider: Option<OidcProvider>,
}

impl Portal {
    /// Brings up so many hosts, which trust the certified provider.
    pub(crate) fn start(hosts: usize) -> Self {
        let callback = format!("{ORIGIN}/oauth/callback");
        let redirect_uris = &[callback.as_str()];
        let provider =
            OidcProvider::start(oidc_provider::Options { redirect_uris, ..oidc_provider::Options::default() });
        let portal = Self::trusting(hosts, &provider.issuer, &provider.client_id, &provider.client_secret);
        Self { _provider: Some(provider), ..portal }
    }

    /// Brings up so many hosts, which trust an issuer on this machine's loopback.
    pub(crate) fn trusting(hosts: usize, issuer: &str, client_id: &str, client_secret: &str) -> Self {
        let cluster = Cluster::start_in(Lab::new(Some(ORIGIN)), hosts, 1);
        let employee = cluster.lab.client(0);
        let targets = cluster.hosts.iter().map(address).collect();
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let balancer = Door::open(Some(employee), https, Some(NAME), Some(employee), targets);

        // The same address on every machine, so that the issuer is the same for hosts and browsers.
        let at: SocketAddr = issuer.strip_prefix("http://").unwrap().parse().unwrap();
        let machines = cluster.hosts.iter().map(|host| &host.machine().namespace).chain([employee]);
        let ways = machines.map(|machine| Door::open(Some(machine), at, None, None, vec![at])).collect();
        let oidc = json!({
            "issuer": issuer,
            "client_id": client_id,
            "client_secret": client_secret,
            "allowed_domains": ["example.com"],
            "default_organization_id": cluster.organization,
        });
        let settings = json!({ "company_name": "Example", "contact": "it@example.com", "oidc": oidc });
        cluster.any_api().patch("/settings", &settings);
        let issuer = issuer.to_owned();
        Self { balancer, cluster, issuer, _ways: ways, _provider: None }
    }

    /// Waits until the browser has come to the identity provider.
    #[track_caller]
    pub(crate) fn wait_issuer(&self, browser: &Browser) {
        browser.wait_url(&self.issuer);
    }

    /// Signs a person in at the identity provider, where the browser is or is on its way to, and waits until it is back.
    #[track_caller]
    pub(crate) fn sign_in(&self, browser: &Browser, mail: &str) {
        self.wait_issuer(browser);
        browser.fill("input[name=login]", mail);
        browser.press("Sign in");
        browser.wait_url(ORIGIN);
    }

    /// The employee's machine.
    pub(crate) fn employee(&self) -> &Arc<Namespace> {
        self.cluster.lab.client(0)
    }

    /// A browser on the employee's machine.
    pub(crate) fn browser(&self) -> Browser {
        self.browser_with(&Options::default())
    }

    /// The same, with options; where it stands and what names mean is seen to.
    pub(crate) fn browser_with(&self, options: &Options) -> Browser {
        let namespace = Some(Arc::clone(self.employee()));
        let names = Some(format!("MAP {NAME} 127.0.0.1"));
        Browser::start(&Options { namespace, names, ..options.clone() })
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
