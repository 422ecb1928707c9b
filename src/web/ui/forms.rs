//! Forms: what comes from our own pages, and only from there.

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::api::extract::read_body;
use crate::http::problem::{Code, Problem};
use crate::ui::page::{Employee, Visit, site_of};
use crate::ui::site::Site;
use services::Services;
use services::identity::logins::{FormToken, Person};

/// The field that holds the token of the login that the form was made for.
const TOKEN: &str = "form_token";

/// A form that one of our own pages sent. Where somebody is signed in, it was made for that very login (SEC-CSRF-01).
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let site = site_of(&parts)?;
        if !is_own(&site, &parts.headers) {
            return Err(Problem::new(Code::ForeignForm, "this form does not come from one of our pages"));
        }
        let wanted = parts.extensions.get::<FormToken>().cloned();
        let bytes = read_body(Request::from_parts(parts, body), state, Code::NotAForm).await?;
        let mut tokens = Vec::new();
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(&bytes) {
            if name == TOKEN {
                tokens.push(value);
            } else {
                rest.append_pair(&name, &value);
            }
        }
        let is_current = wanted.is_none_or(|wanted| matches!(&*tokens, [token] if wanted.is(token)));
        if !is_current {
            return Err(Problem::new(Code::StaleForm, "this form was made for another sign-in"));
        }
        serde_urlencoded::from_str(&rest.finish())
            .map(Self)
            .map_err(|error| Problem::new(Code::NotAForm, format!("the form cannot be read: {error}")))
    }
}

/// Whether browsers say that the request comes from a page of the site. `Sec-Fetch-Site` decides where it is sent;
/// older browsers send `Origin` with every POST. Neither can be set by a page.
fn is_own(site: &Site, headers: &HeaderMap) -> bool {
    let one = |name| {
        let mut lines = headers.get_all(name).iter();
        (lines.next(), lines.next())
    };
    match one("sec-fetch-site") {
        (Some(value), None) => value == "same-origin",
        (None, _) => match one(header::ORIGIN.as_str()) {
            (Some(origin), None) => origin == site.origin(),
            _ => false,
        },
        _ => false,
    }
}

/// A button that somebody who is signed in to the portal has pressed.
pub(crate) struct Pressed {
    pub(crate) services: Services,
    pub(crate) person: Person,
    pub(crate) visit: Visit,
}

impl FromRequest<Services> for Pressed {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Services) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Employee { services, person, visit } = Employee::from_request_parts(&mut parts, state).await?;
        let Form(Empty {}) = Form::from_request(Request::from_parts(parts, body), state).await?;
        Ok(Self { services, person, visit })
    }
}

/// A form that is a button and carries nothing besides its token.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use domain::login::Surface;

    #[test]
    fn only_our_own_pages_send_forms() {
        let site = Site::new(Surface::Portal, Some("https://vpn.example.com"), "127.0.0.1:1".parse().unwrap(), false);
        let own = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            is_own(&site, &headers)
        };
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "https://vpn.example.com")]));
        assert!(own(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        for bad in [
            &[][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://vpn.example.com")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("origin", "http://vpn.example.com")],
            &[("origin", "https://vpn.example.com.evil.example")],
            &[("origin", "https://vpn.example.com"), ("origin", "https://evil.example")],
            &[("referer", "https://vpn.example.com/")],
        ] {
            assert!(!own(bad), "{bad:?}");
        }
    }
}
