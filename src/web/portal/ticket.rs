//! One-time links: `GET /p/{ticket}` and `POST /p/{ticket}`.
//!
//! A link spends itself only when somebody means it. A person does by the button of the page that a browser shows. A
//! VPN app cannot press it: OpenVPN Connect, given `openvpn://import-profile/https://…`, sends one plain GET and takes
//! nothing but the profile (SEC-PROF-04, the one exception to "GET changes nothing"). [`is_vpn_app`] tells the two
//! apart, and whatever is neither gets the page: previews, scanners, prefetches, HEAD.

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderMap, Method, StatusCode, header};

use crate::api::download::{accepts, accepts_profile, download};
use crate::http::problem::found;
use crate::portal::ready::import_link;
use crate::ui::page::Answer;
use crate::ui::page::unreferred;
use crate::ui::{Chrome, Empty, Form, Visit, When};
use domain::secret::Secret;
use services::identity::tickets::TicketView;

/// What OpenVPN's clients name themselves in `User-Agent`, in any case of letters. What they send there stands in no
/// public document of OpenVPN; their own name is what tells them from anybody else's program, so a release that sends
/// only the name of its HTTP library (`okhttp`, `CFNetwork`) gets the page, whose button gives the file.
const APP: &str = "openvpn";

/// Whoever looks ahead says so.
const AHEAD: [&str; 4] = ["purpose", "sec-purpose", "x-purpose", "x-moz"];

/// Whether a VPN app asks for the profile itself: a plain GET, by a program that is known to import profiles or that
/// names their type, without any sign of a browser.
fn is_vpn_app(method: &Method, headers: &HeaderMap) -> bool {
    let ahead = AHEAD.iter().any(|name| headers.contains_key(*name));
    let browser = headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")) || accepts(headers, "text/html");
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let agent = agent.to_ascii_lowercase();
    let named = agent.contains(APP) && !agent.contains("bot");
    method == Method::GET && !ahead && !browser && (named || accepts_profile(headers))
}

/// The page of a link.
#[derive(Template)]
#[template(path = "portal/ticket.html")]
pub(crate) struct TicketPage {
    pub(crate) chrome: Chrome,
    pub(crate) ticket: Option<Shown>,
    pub(crate) request_id: String,
}

impl TicketPage {
    fn new(visit: &Visit, ticket: Option<Shown>) -> Self {
        Self { chrome: visit.chrome.clone(), ticket, request_id: visit.request_id() }
    }
}

/// A link that is still good.
pub(crate) struct Shown {
    pub(crate) view: TicketView,
    pub(crate) secret: String,
    /// What an app opens it with.
    pub(crate) import: String,
}

impl Shown {
    /// What its holder may know.
    pub(crate) fn new(view: TicketView, secret: String, origin: &str) -> Self {
        Self { view, import: import_link(&format!("{origin}/p/{secret}")), secret }
    }

    fn until(&self) -> When {
        When::clock(self.view.expires_at)
    }
}

pub(crate) async fn look(visit: Visit, Path(secret): Path<String>, method: Method, headers: HeaderMap) -> Answer {
    let secret = Secret::new(secret);
    if is_vpn_app(&method, &headers) {
        return spend(&visit, secret.expose()).await;
    }
    let view = found(visit.services.identity().look_at_ticket(secret.expose(), &visit.browser()).await)?;
    let shown = view.map(|view| Shown::new(view, secret.expose().clone(), visit.site.origin()));
    let status = if shown.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok(unreferred(visit.show_as(status, &TicketPage::new(&visit, shown))))
}

pub(crate) async fn redeem(visit: Visit, Path(secret): Path<String>, Form(Empty {}): Form<Empty>) -> Answer {
    let secret = Secret::new(secret);
    spend(&visit, secret.expose()).await
}

async fn spend(visit: &Visit, secret: &str) -> Answer {
    let issued = found(visit.services.identity().redeem_ticket(secret, &visit.browser()).await)?;
    let gone = || visit.show_as(StatusCode::NOT_FOUND, &TicketPage::new(visit, None));
    Ok(unreferred(issued.map_or_else(gone, |issued| download(&issued, visit.company()))))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn is_app(method: &Method, lines: &[(&'static str, &'static str)]) -> bool {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        is_vpn_app(method, &lines.iter().map(line).collect())
    }

    #[test]
    fn vpn_apps_get_the_profile() {
        for agent in ["OpenVPN Connect/3.7.1 (iOS)", "OpenVPN/3.11", "OpenVPN%20Connect/1 CFNetwork/1.0"] {
            assert!(is_app(&Method::GET, &[("user-agent", agent), ("accept", "*/*")]), "{agent}");
        }
        assert!(is_app(&Method::GET, &[("user-agent", "x"), ("accept", "application/x-openvpn-profile")]));
    }

    /// SEC-PROF-04: nothing but what OpenVPN's clients send spends a link.
    #[test]
    fn browsers_previews_and_scanners_do_not() {
        const APP: (&str, &str) = ("user-agent", "OpenVPN Connect/3.7.1");
        assert!(!is_app(&Method::HEAD, &[APP]));
        for lines in [
            &[][..],
            &[APP, ("purpose", "prefetch")],
            &[APP, ("sec-purpose", "prefetch;prerender")],
            &[APP, ("x-moz", "prefetch")],
            &[APP, ("sec-fetch-mode", "navigate")],
            &[APP, ("accept", "text/html,application/xhtml+xml")],
            &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0"), ("accept", "*/*")],
            &[("user-agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"), ("accept", "*/*")],
            &[("user-agent", "WhatsApp/2.23"), ("accept", "*/*")],
            &[("user-agent", "curl/8.5.0"), ("accept", "*/*")],
            &[("user-agent", "python-requests/2.32"), ("accept", "*/*")],
            &[("user-agent", "okhttp/4.12.0"), ("accept", "*/*")],
            &[("user-agent", "CFNetwork/1494.0.7 Darwin/23.4.0"), ("accept", "*/*")],
            &[("user-agent", "axios/1.7.2"), ("accept", "application/json, text/plain, */*")],
            &[("user-agent", "TelegramBot (like okhttp/4)"), ("accept", "*/*")],
        ] {
            assert!(!is_app(&Method::GET, lines), "{lines:?}");
        }
    }
}
