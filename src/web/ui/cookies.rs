//! The cookies of the sites. Each site has names of its own: two listeners of one machine may share a host name, and
//! browsers do not tell ports apart.
//!
//! Their names begin with `__Host-` where the site is reached by TLS, which makes browsers insist on `Secure`, `Path=/`
//! and no `Domain` (RFC 6265bis, section 4.1.3.2). Whether it is comes from configuration ([`Site`]), never from the
//! request. A request that carries one name twice carries none: somebody may have planted the other.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::ui::site::Site;
use domain::login::Surface;

/// A cookie of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Who is signed in.
    Login,
    /// That a sign-in was begun in this browser.
    SignIn,
    /// What the page before wants to have said: one word of a closed set, so there is nothing to forge.
    Flash,
}

impl Cookie {
    /// Its name on this site.
    pub(crate) fn name(self, site: &Site) -> String {
        let word = match self {
            Self::Login => "login",
            Self::SignIn => "sign-in",
            Self::Flash => "flash",
        };
        let surface = match site.surface() {
            Surface::Portal => "",
            Surface::Console => "console-",
        };
        format!("{}postern-{surface}{word}", if site.is_https() { "__Host-" } else { "" })
    }

    /// Its value in a request.
    pub(crate) fn read(self, site: &Site, headers: &HeaderMap) -> Option<String> {
        let name = self.name(site);
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        values.next().filter(|value| !value.is_empty() && values.next().is_none())
    }

    /// The header that sets it. The lifetime of a login is the server's business, so the browser forgets it when it
    /// ends; the others last for a moment.
    pub(crate) fn set(self, site: &Site, value: &str) -> Option<HeaderValue> {
        let age = match self {
            Self::Login => "",
            Self::SignIn => "; Max-Age=600",
            Self::Flash => "; Max-Age=60",
        };
        HeaderValue::try_from(format!("{}={value}{age}{}", self.name(site), self.attributes(site))).ok()
    }

    /// The header that removes it.
    pub(crate) fn clear(self, site: &Site) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}=; Max-Age=0{}", self.name(site), self.attributes(site))).ok()
    }

    /// No page of another site may so much as open a page of the console in somebody's name (SEC-SESS-01). The cookie
    /// of a sign-in that was begun must come back from the identity provider.
    fn attributes(self, site: &Site) -> String {
        let same_site = match (self, site.surface()) {
            (Self::Login, Surface::Console) => "Strict",
            _ => "Lax",
        };
        format!("; Path=/; HttpOnly; SameSite={same_site}{}", if site.is_https() { "; Secure" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Site {
        Site::new(Surface::Portal, Some(url), "127.0.0.1:1".parse().unwrap(), false)
    }

    #[test]
    fn the_console_has_cookies_of_its_own() {
        let console = |url| Site::new(Surface::Console, Some(url), "127.0.0.1:1".parse().unwrap(), false);
        let set = Cookie::Login.set(&console("https://admin.example.com"), "abc").unwrap();
        assert_eq!(set, "__Host-postern-console-login=abc; Path=/; HttpOnly; SameSite=Strict; Secure");
        let set = Cookie::SignIn.set(&console("http://127.0.0.1:9443"), "abc").unwrap();
        assert_eq!(set, "postern-console-sign-in=abc; Max-Age=600; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn cookies_are_bound_to_the_host_where_there_is_tls() {
        let set = Cookie::Login.set(&site("https://vpn.example.com"), "abc").unwrap();
        assert_eq!(set, "__Host-postern-login=abc; Path=/; HttpOnly; SameSite=Lax; Secure");
        let set = Cookie::SignIn.set(&site("http://127.0.0.1:8080"), "abc").unwrap();
        assert_eq!(set, "postern-sign-in=abc; Max-Age=600; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn only_the_one_cookie_of_the_right_name_counts() {
        let read = |line: &'static str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(line))]);
            Cookie::Login.read(&site("https://vpn.example.com"), &headers)
        };
        assert_eq!(read("a=b; __Host-postern-login=x; c=d").as_deref(), Some("x"));
        for bad in ["postern-login=x", "__Host-postern-login=x; __Host-postern-login=y", "__Host-postern-login=", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
