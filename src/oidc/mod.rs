//! OpenID Connect: where a person's identity comes from.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{
    clock::Clock,
    secret::Secret,
    text::{Email, Name},
};

/// How Postern is known to an issuer.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer's identifier, a URL.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our password there.
    pub client_secret: Secret<String>,
    /// Where the issuer sends people back to.
    pub redirect_url: String,
}

/// Who somebody is, as a token says that was checked in every way.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `email`.
    pub email: Option<Email>,
    /// `email_verified`.
    pub email_verified: bool,
    /// `hd`.
    pub hosted_domain: Option<String>,
    /// `name`.
    pub name: Option<Name>,
}

/// What goes into the address that a browser is sent to.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizeRequest<'a> {
    /// `state`.
    pub state: &'a str,
    /// `nonce`.
    pub nonce: &'a str,
    /// What `code_challenge` is the hash of.
    pub pkce_verifier: &'a str,
    /// `hd`.
    pub hosted_domain_hint: Option<&'a str>,
}

/// What is wrong with a token.
#[derive(Debug, thiserror::Error)]
#[error("the token is not valid")]
pub struct BadToken;

/// Why nobody can be signed in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The issuer cannot be reached.
    #[error("the identity provider cannot be reached")]
    Away {
        /// Since when.
        since: Timestamp,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The issuer said no.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// The token is not what it should be.
    #[error("the identity provider's answer is not valid")]
    BadToken(#[source] BadToken),
    /// The settings must be changed.
    #[error("{sentence}")]
    Misconfigured {
        /// What is wrong.
        sentence: String,
    },
}

/// The issuer.
#[derive(Clone)]
pub struct Provider(Arc<dyn Clock>);

impl Provider {
    /// Knows nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    /// Where to send a browser.
    #[expect(clippy::unused_async, reason = "the signature that callers know")]
    pub async fn authorize_url(&self, _: &OidcSettings, _: AuthorizeRequest<'_>) -> Result<String, OidcError> {
        Err(self.away())
    }

    /// Who came back.
    #[expect(clippy::unused_async, reason = "the signature that callers know")]
    pub async fn exchange(
        &self,
        _: &OidcSettings,
        _code: &str,
        _pkce_verifier: &str,
        _nonce: &str,
        _iss: Option<&str>,
    ) -> Result<VerifiedIdentity, OidcError> {
        Err(self.away())
    }

    /// Since when an issuer cannot be reached.
    pub fn away_since(&self, _issuer: &str) -> Option<Timestamp> {
        None
    }

    fn away(&self) -> OidcError {
        OidcError::Away { since: self.0.now(), source: "no issuer".into() }
    }
}
