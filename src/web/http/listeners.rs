//! The listeners: opened first, so that a host says why it cannot listen, and answered on when the services are there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::Uri;
use axum::{Router, middleware};
use ipnet::IpNet;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::listen::{TlsFiles, WebError};
use crate::http::middleware::{Frame, Hosts, frame};
use crate::http::ops::{Ops, StatusSource};
use crate::http::patience::Places;
use crate::http::{listen, ops, pin, route};
use crate::ui::site;
use crate::ui::site::Site;
use crate::{admin_routes, portal};
use domain::host::ProcessRole;
use domain::login::Surface;
use services::hosts::joining::JoinAddress;
use services::{Builder, Services};

/// What the listeners are to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For employees; opened by the role portal.
    pub public: Listener,
    /// For the console and the API; opened by the role console.
    pub admin: Listener,
    /// For health and numbers; always open, never TLS.
    pub ops: Listener,
    /// From these `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What this process does.
    pub roles: BTreeSet<ProcessRole>,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its address as browsers and programs know it; other `Host`s are then refused.
    pub url: Option<String>,
    /// Certificate and key; absent is plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// Where the listeners listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundAddresses {
    /// The public one, with the role portal.
    pub public: Option<SocketAddr>,
    /// The admin one, with the role console.
    pub admin: Option<SocketAddr>,
    /// The ops one.
    pub ops: SocketAddr,
}

/// The listeners of this process's roles: open, so that what they are called is known, and not yet answering.
pub struct Listeners {
    public: Option<Opened>,
    admin: Option<Opened>,
    ops: Opened,
    trusted_proxies: Arc<[IpNet]>,
    /// How browsers reach each surface, be it by a listener of this process or of another one.
    urls: Vec<(Surface, String)>,
}

impl Listeners {
    /// Opens them.
    ///
    /// # Errors
    /// [`WebError`]; nothing listens then.
    pub async fn open(settings: Settings) -> Result<Self, WebError> {
        let Settings { public, admin, ops, trusted_proxies, roles } = settings;
        let urls = [(Surface::Portal, &public), (Surface::Console, &admin)].into_iter();
        let urls = urls.filter_map(|(surface, listener)| Some((surface, listener.url.clone()?))).collect();
        let is = |role| roles.contains(&role);
        let public = if is(ProcessRole::Portal) { Some(Opened::open("public", public).await?) } else { None };
        let admin = if is(ProcessRole::Console) { Some(Opened::open("admin", admin).await?) } else { None };
        let ops = Opened::open("ops", Listener { tls: None, ..ops }).await?;
        Ok(Self { public, admin, ops, trusted_proxies: Arc::from(trusted_proxies), urls })
    }

    /// Where they listen.
    pub fn addresses(&self) -> BoundAddresses {
        let address = |opened: &Option<Opened>| opened.as_ref().map(|opened| opened.address);
        BoundAddresses { public: address(&self.public), admin: address(&self.admin), ops: self.ops.address }
    }

    /// Tells the services how browsers and new machines reach them.
    #[must_use]
    pub fn describe(&self, services: Builder, now: Timestamp) -> Builder {
        let services = self.urls.iter().fold(services, |services, (surface, url)| services.url(*surface, url));
        match &self.admin {
            Some(admin) => services.join_address(admin.join_address(now)),
            None => services,
        }
    }

    /// Answers on them, in tasks of `tracker`, until `stop`. Then nothing new is accepted, and requests at hand have two
    /// seconds to finish.
    pub fn serve(
        self,
        services: &Services,
        status: Arc<dyn StatusSource>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Self { public, admin, ops, trusted_proxies, urls: _ } = self;
        let certificates_end = [&public, &admin].into_iter().flatten().filter_map(|open| open.certificate_end).min();
        let answer = |opened: Opened, surface: Option<Surface>, router: Router| {
            let state = opened.frame(services.clone(), Arc::clone(&trusted_proxies), surface);
            let router = router.layer(middleware::from_fn_with_state(Arc::new(state), frame));
            let places = Places::new(Arc::clone(&trusted_proxies));
            listen::serve(opened.socket, opened.tls, router, places, tracker, stop.clone());
        };
        if let Some(opened) = public {
            let router = route::router(portal::routes(), services, tracker, services.clone());
            answer(opened, Some(Surface::Portal), router);
        }
        if let Some(opened) = admin {
            let router = route::router(admin_routes(), services, tracker, services.clone());
            answer(opened, Some(Surface::Console), router);
        }
        let state = Ops { source: status, metrics: services.metrics().clone(), certificates_end };
        answer(ops, None, route::router(ops::routes(), services, tracker, state));
    }
}

/// A listener that is ready to answer.
struct Opened {
    listener: Listener,
    url: Option<Uri>,
    address: SocketAddr,
    socket: tokio::net::TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    certificate_end: Option<Timestamp>,
}

impl Opened {
    async fn open(name: &'static str, listener: Listener) -> Result<Self, WebError> {
        let certificate_end = listener.tls.as_ref().and_then(listen::certificate_end);
        let tls = listener.tls.as_ref().map(listen::tls).transpose()?;
        let url = listener.url.as_deref().map(|url| parse_url(name, url)).transpose()?;
        let socket = listen::bind(name, listener.listen).await?;
        let local = socket.local_addr();
        let address = local.map_err(|source| WebError::Bind { name, address: listener.listen, source })?;
        Ok(Self { listener, url, address, socket, tls, certificate_end })
    }

    fn frame(&self, services: Services, trusted_proxies: Arc<[IpNet]>, surface: Option<Surface>) -> Frame {
        let https = self.tls.is_some() || self.url.as_ref().is_some_and(|url| url.scheme_str() == Some("https"));
        let hosts = self.url.as_ref().and_then(|url| Hosts::new(url, self.address));
        let site = surface.map(|surface| {
            let site = Site::new(surface, self.listener.url.as_deref(), self.address, self.tls.is_some());
            Arc::new(site.with_command_line(services.command_line().clone()))
        });
        Frame::new(services, trusted_proxies, hosts, https, site)
    }

    /// Where join tokens lead: the configured URL, or else the address that we listen on.
    fn join_address(&self, now: Timestamp) -> JoinAddress {
        let Listener { url, tls, .. } = &self.listener;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = url.as_deref().map_or_else(|| format!("{scheme}://{}", self.address), site::origin_of);
        let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(ToOwned::to_owned)).unwrap_or_default();
        let pin = tls.as_ref().and_then(|files| pin::pin(files, &host, now));
        JoinAddress { url, pin }
    }
}

fn parse_url(name: &'static str, url: &str) -> Result<Uri, WebError> {
    let wrong = || WebError::Url { name, url: url.to_owned() };
    let parsed: Uri = url.parse().map_err(|_unparsable| wrong())?;
    let usable = matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.host().is_some();
    usable.then_some(parsed).ok_or_else(wrong)
}
