//! The proxies between this machine and the providers.

use std::fmt;
use std::sync::Arc;

use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use openidconnect::url::Url;

use super::address;

/// What a proxy may be.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// The proxies through which providers are asked. The default is none.
///
/// Providers are asked by https, so `HTTPS_PROXY` counts, then `ALL_PROXY`, each also in lower case, unless `NO_PROXY`
/// names the host. `HTTP_PROXY` is for what is asked without TLS, and that is only ever this machine itself, which is never
/// asked through a proxy.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Matcher>>);

/// A variable of the environment does not name a proxy. The value may hold a password, so it is not shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not name a proxy: http://, https:// or socks5://, then host and port")]
pub struct BadProxy(&'static str);

impl Proxies {
    /// The proxies that the variables of an environment name, each looked up by `find`.
    ///
    /// # Errors
    /// A value that is not the address of a proxy of a kind that can be used.
    pub fn from_environment<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Result<Self, BadProxy> {
        let first = |upper, lower| {
            [upper, lower].into_iter().find_map(|name| Some((name, find(name).filter(|value| !value.is_empty())?)))
        };
        let (https, all) = (first("HTTPS_PROXY", "https_proxy"), first("ALL_PROXY", "all_proxy"));
        for (name, value) in https.into_iter().chain(all) {
            check(name, value)?;
        }
        if https.is_none() && all.is_none() {
            return Ok(Self::default());
        }
        let value = |found: Option<(_, &'a str)>| found.map_or("", |(_, value)| value);
        let no = first("NO_PROXY", "no_proxy");
        let matcher = Matcher::builder().https(value(https)).all(value(all)).no(value(no)).build();
        Ok(Self(Some(Arc::new(matcher))))
    }

    /// The proxy through which `url` is asked, if any.
    pub(super) fn towards(&self, url: &Url, to: &Uri) -> Option<Intercept> {
        self.0.as_ref().filter(|_| !address::is_loopback(url))?.intercept(to)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(matcher) => matcher.fmt(f),
            None => f.write_str("none"),
        }
    }
}

fn check(name: &'static str, value: &str) -> Result<(), BadProxy> {
    let proxy = Matcher::builder().https(value).build().intercept(&Uri::from_static("https://any.example"));
    let usable = proxy.is_some_and(|proxy| proxy.uri().scheme_str().is_some_and(|scheme| SCHEMES.contains(&scheme)));
    usable.then_some(()).ok_or(BadProxy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(environment: &[(&str, &'static str)]) -> Result<Proxies, BadProxy> {
        Proxies::from_environment(|name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    fn towards(environment: &[(&str, &'static str)], url: &str) -> Option<String> {
        let proxy = proxies(environment).unwrap().towards(&url.parse().unwrap(), &url.parse().unwrap());
        proxy.map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn https_proxy_counts_before_all_proxy_and_both_in_either_case() {
        let url = "https://sso.example.com/";
        for (environment, proxy) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://a:3128")], Some("http://a:3128/")),
            (&[("https_proxy", "b:3128")], Some("http://b:3128/")),
            (&[("ALL_PROXY", "socks5h://c:1080")], Some("socks5h://c:1080/")),
            (&[("all_proxy", "https://d")], Some("https://d/")),
            (&[("HTTPS_PROXY", "http://a"), ("ALL_PROXY", "http://c")], Some("http://a/")),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "http://b")], Some("http://b/")),
            (&[("HTTP_PROXY", "http://a"), ("http_proxy", "http://a")], None),
        ] {
            assert_eq!(towards(environment, url).as_deref(), proxy, "{environment:?}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_and_networks_and_this_machine_needs_no_entry() {
        for name in ["NO_PROXY", "no_proxy"] {
            let environment = [("ALL_PROXY", "http://a:3128"), (name, "corp.example, 10.0.0.0/8")];
            for (url, direct) in [
                ("https://sso.corp.example/", true),
                ("https://corp.example/", true),
                ("https://notcorp.example/", false),
                ("https://10.1.2.3/", true),
                ("https://11.1.2.3/", false),
                ("http://localhost:9/", true),
                ("http://127.0.0.2:9/", true),
                ("https://[::1]/", true),
            ] {
                assert_eq!(towards(&environment, url).is_none(), direct, "{url}");
            }
        }
        assert_eq!(towards(&[("HTTPS_PROXY", "http://a"), ("NO_PROXY", "*")], "https://sso.example.com/"), None);
    }

    #[test]
    fn a_value_that_is_no_proxy_is_refused_without_being_shown() {
        for value in ["ftp://s3cret@a", "http://", "a b", "socks4://a:1080", "/s3cret"] {
            let refused = proxies(&[("all_proxy", value)]).unwrap_err();
            assert_eq!(refused, BadProxy("all_proxy"), "{value}");
            assert!(!refused.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        let shown = format!("{:?}", proxies(&[("HTTPS_PROXY", "http://u:s3cret@a:3128")]).unwrap());
        assert!(shown.contains("a:3128") && !shown.contains("s3cret"), "{shown}");
    }
}
