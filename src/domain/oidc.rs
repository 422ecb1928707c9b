//! How people sign in: which issuer, and whom of its accounts Postern takes for its own.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use url::{Host, Url};
use utoipa::ToSchema;

use super::ids::OrganizationId;
use super::text::{ClientId, DnsName, TextError};

/// Google's issuer.
const GOOGLE: &str = "https://accounts.google.com";

/// The settings of sign-in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Oidc {
    /// Who vouches for people.
    pub issuer: Issuer,
    /// Our name there; sign-in is off without one.
    pub client_id: Option<ClientId>,
    /// Our password there. The outside learns only whether there is one.
    #[serde(rename(serialize = "credentials_set"), serialize_with = "is_set", skip_deserializing)]
    #[schema(rename = "credentials_set", value_type = bool)]
    pub client_secret: Option<SealedSecret>,
    /// The company's domains at the issuer; accounts of others are refused.
    pub allowed_domains: BTreeSet<DnsName>,
    /// Where people go whom nobody prepared; without one only prepared people get in.
    pub default_organization_id: Option<OrganizationId>,
    /// Takes the domain of a verified e-mail address for the company, where the issuer does not name the company itself
    /// (no claim `hd`). Right only for an issuer whose accounts are all the company's own; never for Google.
    pub trust_email_domain: bool,
}

impl Oidc {
    /// Whether people can sign in.
    pub fn is_complete(&self) -> bool {
        self.client_id.is_some() && self.client_secret.is_some() && !self.allowed_domains.is_empty()
    }

    /// Whether `domain` is the company's, letter by letter.
    pub fn allows(&self, domain: &str) -> bool {
        self.allowed_domains.iter().any(|allowed| allowed.as_str() == domain)
    }
}

/// A secret as it rests: sealed, and of no use to who reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(pub Vec<u8>);

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(…)")
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde wants")]
fn is_set<S: Serializer>(secret: &Option<SealedSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(secret.is_some())
}

/// The identifier of an issuer: an `https` URL without query and fragment (`OpenID` Connect Discovery 1.0, section 4),
/// or `http` on loopback. Kept as it was written, because identifiers are compared letter by letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "https://accounts.google.com")]
pub struct Issuer(Box<str>);

impl Issuer {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is Google, whose accounts belong to a company only if the token says which.
    pub fn is_google(&self) -> bool {
        self.as_str() == GOOGLE
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self(GOOGLE.into())
    }
}

impl FromStr for Issuer {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let form = TextError::Form {
            expected: "an https URL such as https://accounts.google.com, without query (http on loopback only)",
        };
        if text.len() > 500 {
            return Err(TextError::TooLong { max: 500 });
        }
        let url = Url::parse(text).map_err(|_unparsable| form.clone())?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let bare =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        let secure = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        // As the parser would write it, but for the slash that it adds to a bare host: nothing to be read in two ways.
        let plain = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
        (bare && secure && plain).then(|| Self(text.into())).ok_or(form)
    }
}

impl TryFrom<String> for Issuer {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_https_or_on_loopback() {
        for good in [
            "https://accounts.google.com",
            "https://login.example.com/realms/a",
            "https://login.example.com/",
            "http://127.0.0.1:4000",
            "http://[::1]:4000/oidc",
            "http://localhost:4000",
        ] {
            assert_eq!(good.parse::<Issuer>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "accounts.google.com",
            "http://accounts.google.com",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "ftp://127.0.0.1",
            "https://user@accounts.google.com",
            "https://accounts.google.com?x=1",
            "https://accounts.google.com#x",
            "HTTPS://accounts.google.com",
            "https://Accounts.google.com",
            " https://accounts.google.com",
            "https://accounts.google.com\n",
            "https://a.example/../b",
            "file:///etc/passwd",
        ] {
            assert!(bad.parse::<Issuer>().is_err(), "{bad:?}");
        }
        assert!(Issuer::default().is_google());
    }

    #[test]
    fn nothing_of_the_secret_is_serialised() {
        let oidc = Oidc { client_secret: Some(SealedSecret(b"sealed".to_vec())), ..Oidc::default() };
        let text = serde_json::to_string(&oidc).unwrap();
        assert!(
            text.contains("\"credentials_set\":true") && !text.contains("sealed\"") && !text.contains("115"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Oidc>(&text).unwrap().client_secret, None);
        assert_eq!(format!("{:?}", oidc.client_secret), "Some(SealedSecret(…))");
    }
}
