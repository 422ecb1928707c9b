//! A site, of the portal or of the console, as configured: under which address browsers know it, and what every page says about the company.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use domain::command_line::CommandLine;
use domain::login::Surface;
use services::cluster::pause::PauseFacts;
use services::identity::outcome::SignInFacts;
use services::{ServiceError, Services};

/// What pages say about the company may be so old.
const FRESH: SignedDuration = SignedDuration::from_secs(5);

/// A page does not wait longer than this for what it could also say from memory.
const PATIENCE: Duration = Duration::from_millis(800);

/// A site. Everything here follows from configuration, nothing from a request (SEC-NET-02).
pub(crate) struct Site {
    surface: Surface,
    origin: String,
    https: bool,
    command_line: CommandLine,
    facts: Remembered<SignInFacts>,
    pause: Remembered<Option<PauseFacts>>,
}

/// What was read last, and when: pages say what was true a few seconds ago rather than ask for it each.
struct Remembered<T>(Mutex<Option<(Timestamp, T)>>);

impl<T: Clone> Remembered<T> {
    const fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    /// What is remembered, of whatever age.
    fn last(&self) -> Option<T> {
        self.entry().map(|(_, value)| value)
    }

    /// What is remembered, or else what `read` finds; while that fails, what was found last.
    async fn fresh(&self, now: Timestamp, read: impl Future<Output = Result<T, ServiceError>>) -> Option<T> {
        if let Some((at, value)) = self.entry()
            && now.duration_since(at) < FRESH
        {
            return Some(value);
        }
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(value)) => {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, value.clone()));
                Some(value)
            }
            Ok(Err(_)) | Err(_) => self.last(),
        }
    }

    fn entry(&self) -> Option<(Timestamp, T)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Site {
    /// The site under a configured `url`, or, without one, under the address that it listens on.
    pub(crate) fn new(surface: Surface, url: Option<&str>, listen: SocketAddr, tls: bool) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let origin = url.map_or_else(|| format!("{scheme}://{listen}"), origin_of);
        Self {
            surface,
            https: origin.starts_with("https://"),
            origin,
            command_line: CommandLine::default(),
            facts: Remembered::nothing(),
            pause: Remembered::nothing(),
        }
    }

    /// The same on a machine where commands are called like this.
    pub(crate) fn with_command_line(self, command_line: CommandLine) -> Self {
        Self { command_line, ..self }
    }

    /// Whose pages it has.
    pub(crate) fn surface(&self) -> Surface {
        self.surface
    }

    /// How commands are called on the machine that serves this site.
    pub(crate) fn command_line(&self) -> &CommandLine {
        &self.command_line
    }

    /// Scheme, host and port, as browsers send it in `Origin`.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether browsers reach the site by TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// What is known about the company, without asking.
    pub(crate) fn known(&self) -> SignInFacts {
        self.facts.last().unwrap_or_else(nothing)
    }

    /// What is known about the company, and whether anything is: at most some seconds old, older while the database is
    /// away.
    pub(crate) async fn facts(&self, services: &Services) -> (SignInFacts, bool) {
        let found = self.facts.fresh(services.now(), services.identity().sign_in_facts(self.surface)).await;
        let is_known = found.is_some();
        (found.unwrap_or_else(nothing), is_known)
    }

    /// The pause that the cluster is in, as old as that.
    pub(crate) async fn pause(&self, services: &Services) -> Option<PauseFacts> {
        self.pause.fresh(services.now(), services.cluster().pause_facts()).await.flatten()
    }
}

fn nothing() -> SignInFacts {
    SignInFacts { company_name: None, contact: None, issuer: None, is_google: true, away_since: None }
}

/// What of a URL is its origin (RFC 6454): scheme, host, and a port that is not the scheme's own.
pub(crate) fn origin_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let scheme = scheme.to_ascii_lowercase();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}", authority.strip_suffix(usual).unwrap_or(&authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for (url, origin) in [
            ("https://vpn.example.com", "https://vpn.example.com"),
            ("https://VPN.example.com:443/", "https://vpn.example.com"),
            ("http://127.0.0.1:8080/x?y#z", "http://127.0.0.1:8080"),
            ("http://localhost:80", "http://localhost"),
        ] {
            assert_eq!(origin_of(url), origin);
        }
    }

    #[test]
    fn tls_is_decided_by_the_configured_url() {
        let listen = "127.0.0.1:8443".parse().unwrap();
        assert!(Site::new(Surface::Portal, Some("https://vpn.example.com"), listen, false).is_https());
        assert!(!Site::new(Surface::Portal, Some("http://127.0.0.1:8443"), listen, true).is_https());
        assert_eq!(Site::new(Surface::Portal, None, listen, false).origin(), "http://127.0.0.1:8443");
    }
}
