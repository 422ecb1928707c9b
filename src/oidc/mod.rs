//! Signing in at an identity provider: `OpenID` Connect Core 1.0, code flow with PKCE (RFC 9700), Google first.
//!
//! A sign-in has two halves. [`Provider::authorize_url`] makes the address that the browser is sent to; `state`, `nonce`
//! and the PKCE verifier are the caller's, who keeps them on the server. [`Provider::exchange`] turns the code that the
//! browser brings back into a [`VerifiedIdentity`]. That is the only thing which comes out: a token that was parsed but
//! not checked has no type outside of this folder, and access tokens are dropped unread.
//!
//! - [`error`]: each defect of a token apart, with a word that stays the same.
//! - `token`: the checks on the ID token. The signature comes first; no claim is read before it is right. They are ours
//!   rather than the crate's, because each defect has its own name, time is passed in, and Google's older issuer form
//!   (without `https://`) is not a URL.
//! - `issuer`: what is known about a provider: its metadata and keys, kept for an hour, and for as long as it is away.
//! - `keys`: its public keys. A token that names an unknown key leads to one refresh a minute, so a rotation needs no
//!   restart.
//! - `http`: how a provider is asked. Without redirects, within five seconds, a mebibyte at most, by https (http only on
//!   loopback), over connections that are kept for a few seconds.
//! - `address`: who may be asked. The issuer's own host is named by an admin, so it may stand in a private network; other
//!   hosts, which only the provider's documents name, must have public addresses, or a document could make Postern ask
//!   machines that are none of its business. Link-local addresses, where clouds keep their metadata, are never asked.
//! - `connect`: how connections are opened. All of them pass the rules of `address`, and the address that was looked at is
//!   the one that is connected to.
//! - `proxies`: who stands in between. A proxy resolves the names itself, so the rules for addresses become rules for names:
//!   a host that only a document names must have one of the public DNS, and an address that is written out is looked at as
//!   ever. What names lead to, seen from the proxy, is for the proxy to decide.
//!
//! Nothing here logs, and no error holds a code, a token or a part of one.

mod address;
mod connect;
pub mod error;
mod http;
mod issuer;
mod keys;
mod proxies;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    ExtraTokenFields, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

pub use self::error::{BadToken, OidcError};
use self::http::Http;
pub use self::http::HttpError;
use self::issuer::{Discovered, Issuer};
pub use self::proxies::{BadProxy, Proxies};
use domain::clock::Clock;
use domain::secret::Secret;
use domain::text::{Email, Name};

/// How Postern is registered with a provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer's URL, exactly as the provider writes it, such as `https://accounts.google.com`.
    pub issuer: String,
    /// Postern's name there.
    pub client_id: String,
    /// Postern's password there.
    pub client_secret: Secret<String>,
    /// Where the provider sends people back to, exactly as registered there.
    pub redirect_url: String,
}

/// Who somebody is, by a token that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedIdentity {
    /// The issuer as it is configured, whichever of its forms the token used.
    pub issuer: String,
    /// The provider's name for the person: 1 to 255 ASCII characters, the same for ever. With `issuer` it is the key of
    /// an account.
    pub subject: String,
    /// The e-mail address, in lower case.
    pub email: Option<Email>,
    /// Whether the provider has verified the address: boolean `true` in the token, nothing else.
    pub email_verified: bool,
    /// Google's `hd`, the company that the account belongs to, exactly as in the token.
    pub hosted_domain: Option<String>,
    /// What the person is called, if it is a name that Postern can show.
    pub name: Option<Name>,
}

/// What one sign-in adds to the authorize URL.
#[derive(Clone, Copy)]
pub struct AuthorizeRequest<'a> {
    /// Comes back with the browser; at least 128 random bits.
    pub state: &'a str,
    /// Comes back in the ID token; at least 128 random bits.
    pub nonce: &'a str,
    /// RFC 7636: 43 to 128 characters. Only its hash is sent now.
    pub pkce_verifier: &'a str,
    /// The company whose accounts Google should offer. A hint: what counts is the token.
    pub hosted_domain_hint: Option<&'a str>,
}

impl fmt::Debug for AuthorizeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeRequest").finish_non_exhaustive()
    }
}

/// Identity providers, with what is known about each. Clones share it.
#[derive(Debug, Clone)]
pub struct Provider {
    clock: Arc<dyn Clock>,
    http: Http,
    issuers: Arc<Mutex<HashMap<String, Arc<Issuer>>>>,
}

/// More issuers than this are only seen by somebody who tries settings out; the older ones are asked for anew.
const ISSUERS: usize = 16;

/// RFC 7636 section 4.1.
const VERIFIER_LENGTH: std::ops::RangeInclusive<usize> = 43..=128;

impl Provider {
    /// Knows no provider yet, and asks none before it has to.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, http: Http::new(), issuers: Arc::default() }
    }

    /// The same, which asks through `proxies`, and has asked nobody yet.
    #[must_use]
    pub fn through(self, proxies: Proxies) -> Self {
        Self { http: self.http.through(proxies), issuers: Arc::default(), ..self }
    }

    /// The address to send a browser to.
    ///
    /// # Errors
    /// [`OidcError::Away`] if the provider was never reached and is not now, [`OidcError::Misconfigured`].
    #[tracing::instrument(level = "error", name = "oidc", skip_all, fields(oidc.issuer = settings.issuer, oidc.step = "authorize"))]
    pub async fn authorize_url(
        &self,
        settings: &OidcSettings,
        request: AuthorizeRequest<'_>,
    ) -> Result<String, OidcError> {
        if !VERIFIER_LENGTH.contains(&request.pkce_verifier.len()) {
            return Err(misconfigured("the PKCE verifier must have 43 to 128 characters"));
        }
        let known = self.issuer(&settings.issuer).known().await?;
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(request.pkce_verifier.to_owned()));
        let client = client(settings, &known)?;
        let mut url = client
            .authorize_url(|| CsrfToken::new(request.state.to_owned()))
            .add_scopes(["openid", "email", "profile"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .add_extra_param("nonce", request.nonce);
        if known.offers_account_choice() {
            url = url.add_extra_param("prompt", "select_account");
        }
        if let Some(domain) = request.hosted_domain_hint {
            url = url.add_extra_param("hd", domain);
        }
        Ok(url.url().0.into())
    }

    /// Redeems `code` and says whom the ID token is about. `nonce` and `pkce_verifier` are those of the sign-in that the
    /// response belongs to, `iss` is the response's parameter of this name (RFC 9207).
    ///
    /// # Errors
    /// All of [`OidcError`]; a code is spent by the first try, so none of them is worth a second one.
    #[tracing::instrument(level = "error", name = "oidc", skip_all, fields(oidc.issuer = settings.issuer, oidc.step = "exchange"))]
    pub async fn exchange(
        &self,
        settings: &OidcSettings,
        code: &str,
        pkce_verifier: &str,
        nonce: &str,
        iss: Option<&str>,
    ) -> Result<VerifiedIdentity, OidcError> {
        let issuer = self.issuer(&settings.issuer);
        let known = issuer.known().await?;
        match iss {
            Some(iss) if !token::is_issuer(iss, &settings.issuer) => return Err(BadToken::ResponseIssuer.into()),
            None if known.announces_response_issuer() => return Err(BadToken::ResponseIssuerMissing.into()),
            _ => {}
        }
        let token = self.redeem(settings, &issuer, &known, code, pkce_verifier).await?;
        let signed = token::Signed::read(token.expose())?;
        let claims = match signed.open(&known.keys) {
            Err(BadToken::UnknownKey) => signed.open(&issuer.renewed(&known).await?.keys)?,
            answer => answer?,
        };
        let expected =
            token::Expected { issuer: &settings.issuer, client_id: &settings.client_id, nonce, now: self.clock.now() };
        Ok(token::check(&claims, &expected)?)
    }

    /// Since when `issuer` has not answered, if it was asked and did not.
    pub fn away_since(&self, issuer: &str) -> Option<Timestamp> {
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner).get(issuer)?.away_since()
    }

    fn issuer(&self, url: &str) -> Arc<Issuer> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if issuers.len() >= ISSUERS && !issuers.contains_key(url) {
            issuers.clear();
        }
        Arc::clone(
            issuers
                .entry(url.to_owned())
                .or_insert_with(|| Arc::new(Issuer::new(url.to_owned(), &self.http, Arc::clone(&self.clock)))),
        )
    }

    /// The ID token for `code`, unread.
    async fn redeem(
        &self,
        settings: &OidcSettings,
        issuer: &Issuer,
        known: &Discovered,
        code: &str,
        pkce_verifier: &str,
    ) -> Result<Secret<String>, OidcError> {
        let client = client(settings, known)?;
        // Owns what it needs: a future that borrows could not cross threads (rust-lang/rust#110338).
        let send = |request| {
            let http = known.http.clone();
            async move { http.send(request).await }
        };
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(pkce_verifier.to_owned()))
            .request_async(&send)
            .await;
        match answer {
            Ok(answer) => {
                issuer.answered();
                answer.extra_fields().id_token.clone().map(Secret::new).ok_or_else(|| BadToken::Missing.into())
            }
            Err(RequestTokenError::Request(fault)) => Err(issuer.missed(Arc::new(fault))),
            Err(RequestTokenError::ServerResponse(refusal)) => {
                issuer.answered();
                Err(refused(refusal.error().as_ref()))
            }
            // What these hold may be a part of the answer, so it ends here.
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                issuer.answered();
                Err(BadToken::Response.into())
            }
        }
    }
}

/// The one field of the token endpoint's answer that matters.
#[derive(Clone, Deserialize, Serialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl fmt::Debug for IdTokenField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenField(…)")
    }
}

impl ExtraTokenFields for IdTokenField {}

type CodeClient = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdTokenField, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

fn client(settings: &OidcSettings, known: &Discovered) -> Result<CodeClient, OidcError> {
    let unusable = |what: &str, url: &str, cause| OidcError::Misconfigured {
        sentence: format!("the {what} is not a URL"),
        source: Some(Arc::new(http::not_a_url(url, cause))),
    };
    let redirect = RedirectUrl::new(settings.redirect_url.clone())
        .map_err(|cause| unusable("redirect address", &settings.redirect_url, cause))?;
    let authorize = AuthUrl::new(known.authorize.to_string())
        .map_err(|cause| unusable("authorize endpoint", known.authorize.as_str(), cause))?;
    let token = TokenUrl::new(known.token.to_string())
        .map_err(|cause| unusable("token endpoint", known.token.as_str(), cause))?;
    let auth = if known.wants_secret_in_body() { AuthType::RequestBody } else { AuthType::BasicAuth };
    Ok(Client::new(ClientId::new(settings.client_id.clone()))
        .set_client_secret(ClientSecret::new(settings.client_secret.expose().clone()))
        .set_auth_type(auth)
        .set_redirect_uri(redirect)
        .set_auth_uri(authorize)
        .set_token_uri(token))
}

fn misconfigured(sentence: &str) -> OidcError {
    OidcError::Misconfigured { sentence: sentence.to_owned(), source: None }
}

/// RFC 6749 section 5.2. The provider's word goes to pages and logs, so it must be one.
fn refused(code: &str) -> OidcError {
    match code {
        "invalid_client" | "unauthorized_client" => {
            misconfigured("the identity provider does not accept our client id and secret")
        }
        _ if code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            OidcError::Refused(code.to_owned())
        }
        _ => OidcError::Refused("unreadable".to_owned()),
    }
}
