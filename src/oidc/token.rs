//! The ID token: a signed JWT (RFC 7515, RFC 7519) and the checks of `OpenID` Connect Core section 3.1.3.7.
//!
//! [`Signed`] is a token whose claims cannot be had yet; [`Signed::open`] gives them once a key of the provider fits.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use openidconnect::core::CoreJwsSigningAlgorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::VerifiedIdentity;
use super::error::BadToken;
use super::keys::{KeyReference, Keys};

/// How far the provider's clock may be from ours, in seconds.
const SKEW: f64 = 60.0;

/// The default issuer.
pub(super) const GOOGLE: &str = "https://accounts.google.com";
/// The other form that Google documents for `iss` ("`OpenID` Connect", section "Validating an ID token").
const GOOGLE_BARE: &str = "accounts.google.com";

/// Whether `iss` names the issuer that is configured as `issuer`: the same text, or Google's other form.
pub(super) fn is_issuer(iss: &str, issuer: &str) -> bool {
    iss == issuer || (issuer == GOOGLE && iss == GOOGLE_BARE)
}

/// A token that was taken apart, but not believed.
pub(super) struct Signed<'a> {
    message: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    wanted: KeyReference,
}

/// The claims of a token whose signature is right.
pub(super) struct Claims(Map<String, Value>);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Signed<'a> {
    /// Takes `token` apart and looks at its header.
    pub(super) fn read(token: &'a str) -> Result<Self, BadToken> {
        let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(BadToken::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| BadToken::Malformed)?;
        let algorithm = match header.alg.as_str() {
            "RS256" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            "ES256" => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            _ => return Err(BadToken::Algorithm),
        };
        if header.crit.is_some() {
            return Err(BadToken::Critical);
        }
        Ok(Self {
            message,
            payload,
            signature: decode(signature)?,
            wanted: KeyReference { algorithm, kid: header.kid },
        })
    }

    /// The claims, if one of `keys` signed them.
    pub(super) fn open(&self, keys: &Keys) -> Result<Claims, BadToken> {
        keys.verify(&self.wanted, self.message.as_bytes(), &self.signature)?;
        serde_json::from_slice(&decode(self.payload)?).map(Claims).map_err(|_| BadToken::Malformed)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, BadToken> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| BadToken::Malformed)
}

/// What a token must fit.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

/// Checks every claim; what comes out may be believed.
pub(super) fn check(claims: &Claims, expected: &Expected<'_>) -> Result<VerifiedIdentity, BadToken> {
    let claim = |name: &str| claims.0.get(name).filter(|value| !value.is_null());
    let text = |name: &str| claim(name).and_then(Value::as_str);

    text("iss").filter(|iss| is_issuer(iss, expected.issuer)).ok_or(BadToken::Issuer)?;
    let for_us = match claim("aud") {
        Some(Value::Array(audience)) => {
            matches!(audience.as_slice(), [only] if only.as_str() == Some(expected.client_id))
        }
        Some(audience) => audience.as_str() == Some(expected.client_id),
        None => false,
    };
    for_us.then_some(()).ok_or(BadToken::Audience)?;
    if claim("azp").is_some_and(|azp| azp.as_str() != Some(expected.client_id)) {
        return Err(BadToken::AuthorizedParty);
    }
    check_times(claims, expected.now)?;
    match claim("nonce") {
        None => return Err(BadToken::NonceMissing),
        Some(nonce) if nonce.as_str() != Some(expected.nonce) => return Err(BadToken::Nonce),
        Some(_) => {}
    }

    let subject = text("sub").filter(|sub| is_subject(sub)).ok_or(BadToken::Subject)?;
    let email = match claim("email") {
        None => None,
        Some(email) => {
            let email = email.as_str().and_then(|email| email.to_ascii_lowercase().parse().ok());
            Some(email.ok_or(BadToken::Email)?)
        }
    };
    let email_verified = match claim("email_verified") {
        None => false,
        Some(verified) => verified.as_bool().ok_or(BadToken::EmailVerified)?,
    };
    let hosted_domain = match claim("hd") {
        None => None,
        Some(domain) => Some(domain.as_str().ok_or(BadToken::HostedDomain)?.to_owned()),
    };
    Ok(VerifiedIdentity {
        issuer: expected.issuer.to_owned(),
        subject: subject.to_owned(),
        email,
        email_verified,
        hosted_domain,
        name: text("name").and_then(|name| name.parse().ok()),
    })
}

/// RFC 7519 section 2: times are seconds since 1970, possibly with a fraction.
fn check_times(claims: &Claims, now: Timestamp) -> Result<(), BadToken> {
    let time = |name: &str| claims.0.get(name).and_then(Value::as_f64);
    let now = now.as_duration().as_secs_f64();
    if now >= time("exp").ok_or(BadToken::ExpiryMissing)? + SKEW {
        return Err(BadToken::Expired);
    }
    if time("iat").ok_or(BadToken::IssuedAtMissing)? > now + SKEW {
        return Err(BadToken::FromTheFuture);
    }
    match claims.0.get("nbf") {
        Some(_) if time("nbf").is_none_or(|nbf| nbf > now + SKEW) => Err(BadToken::NotYetValid),
        _ => Ok(()),
    }
}

/// `OpenID` Connect Core section 2: at most 255 ASCII characters. Control characters would break a log.
fn is_subject(sub: &str) -> bool {
    (1..=255).contains(&sub.len()) && sub.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
