//! One issuer: its metadata and keys, fetched together, and whether it answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::url::Url;
use openidconnect::{AdditionalProviderMetadata, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};

use super::error::OidcError;
use super::http::{Http, HttpClient, HttpError, not_a_url};
use super::keys::Keys;
use super::token::GOOGLE;
use domain::clock::Clock;

/// After this, what is known is asked for anew. While the provider is away, it stays in use.
const FRESH: Duration = Duration::from_hours(1);
/// The least time between two attempts while something is known, and between two that an unknown key asks for.
const PAUSE: Duration = Duration::from_mins(1);
/// The least time between two attempts while nothing is known, when every sign-in waits for the next.
const SHORT_PAUSE: Duration = Duration::from_secs(2);

/// What the metadata may say beyond `OpenID` Connect Discovery.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct Announced {
    /// RFC 9207.
    authorization_response_iss_parameter_supported: Option<bool>,
    /// Initiating User Registration via `OpenID` Connect 1.0, section 4.
    prompt_values_supported: Option<Vec<String>>,
}

impl AdditionalProviderMetadata for Announced {}

type Metadata = ProviderMetadata<
    Announced,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A provider's metadata and keys, as last fetched.
#[derive(Debug)]
pub(super) struct Discovered {
    pub(super) authorize: Url,
    pub(super) token: Url,
    pub(super) keys: Keys,
    /// Asks in its name.
    pub(super) http: HttpClient,
    metadata: Metadata,
    at: Timestamp,
}

impl Discovered {
    /// Whether responses carry `iss` (RFC 9207).
    pub(super) fn announces_response_issuer(&self) -> bool {
        self.metadata.additional_metadata().authorization_response_iss_parameter_supported == Some(true)
    }

    /// Whether `prompt=select_account` may be asked for: at Google, and wherever it is announced. Others may refuse the
    /// whole request for a prompt that they do not know.
    pub(super) fn offers_account_choice(&self) -> bool {
        let prompts = self.metadata.additional_metadata().prompt_values_supported.as_ref();
        let announced = prompts.is_some_and(|prompts| prompts.iter().any(|prompt| prompt == "select_account"));
        announced || self.metadata.issuer().as_str() == GOOGLE
    }

    /// Whether the client secret must go into the body, because the provider does not take it in the header.
    pub(super) fn wants_secret_in_body(&self) -> bool {
        self.metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
        })
    }
}

/// One issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    url: String,
    /// Asks in its name; absent if `url` is none.
    http: Option<HttpClient>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held during a fetch, so that many sign-ins lead to one request.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Arc<Discovered>>,
    /// When metadata and keys were last asked for.
    asked: Option<Timestamp>,
    /// When they were last asked for because of an unknown key.
    asked_for_key: Option<Timestamp>,
    /// What went wrong then, if it did.
    fault: Option<Arc<HttpError>>,
    away_since: Option<Timestamp>,
}

impl Issuer {
    /// Nothing known yet.
    pub(super) fn new(url: String, http: &Http, clock: Arc<dyn Clock>) -> Self {
        let http = url.parse().ok().map(|url| http.client_of(&url));
        Self { url, http, clock, state: Mutex::default(), asking: tokio::sync::Mutex::new(()) }
    }

    /// The provider's metadata and keys, fetched if they are due. A call during a fetch takes what there is, or waits.
    pub(super) async fn known(&self) -> Result<Arc<Discovered>, OidcError> {
        if let Some(answer) = self.at_hand() {
            return answer;
        }
        let last = self.state().known.clone();
        let _turn = match (self.asking.try_lock(), last) {
            (Ok(turn), _) => turn,
            (Err(_), Some(last)) => return Ok(last),
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some(answer) = self.at_hand() {
            return answer;
        }
        let fault = match self.ask().await {
            Ok(known) => return Ok(known),
            Err(fault) => fault,
        };
        let last = self.state().known.clone();
        last.ok_or_else(|| self.missed(fault))
    }

    /// The present metadata and keys, for a token whose key is not in `used`.
    pub(super) async fn renewed(&self, used: &Arc<Discovered>) -> Result<Arc<Discovered>, OidcError> {
        let _turn = self.asking.lock().await;
        let now = self.clock.now();
        {
            let mut state = self.state();
            if let Some(known) = state.known.as_ref().filter(|known| !Arc::ptr_eq(known, used)) {
                return Ok(Arc::clone(known));
            }
            if !has_passed(state.asked_for_key, PAUSE, now) {
                let fault = state.fault.clone();
                drop(state);
                return fault.map_or_else(|| Ok(Arc::clone(used)), |fault| Err(self.missed(fault)));
            }
            state.asked_for_key = Some(now);
        }
        self.ask().await.map_err(|fault| self.missed(fault))
    }

    /// Notes that the provider gave no usable answer, and says so.
    pub(super) fn missed(&self, fault: Arc<HttpError>) -> OidcError {
        if !fault.may_pass() {
            let sentence = format!("the identity provider cannot be used: {fault}");
            return OidcError::Misconfigured { sentence, source: Some(fault) };
        }
        let now = self.clock.now();
        let since = *self.state().away_since.get_or_insert(now);
        OidcError::Away { since, source: fault }
    }

    /// Notes that the provider answered.
    pub(super) fn answered(&self) {
        self.state().away_since = None;
    }

    /// Since when it does not answer.
    pub(super) fn away_since(&self) -> Option<Timestamp> {
        self.state().away_since
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer that needs no question: what is fresh, or what was just asked in vain.
    fn at_hand(&self) -> Option<Result<Arc<Discovered>, OidcError>> {
        let now = self.clock.now();
        let state = self.state();
        match (&state.known, &state.fault) {
            (Some(known), _) => {
                let usable = !has_passed(Some(known.at), FRESH, now) || !has_passed(state.asked, PAUSE, now);
                usable.then(|| Ok(Arc::clone(known)))
            }
            (None, Some(fault)) if !has_passed(state.asked, SHORT_PAUSE, now) => {
                let fault = Arc::clone(fault);
                drop(state);
                Some(Err(self.missed(fault)))
            }
            (None, _) => None,
        }
    }

    async fn ask(&self) -> Result<Arc<Discovered>, Arc<HttpError>> {
        let now = self.clock.now();
        let answer = self.fetch(now).await;
        let mut state = self.state();
        state.asked = Some(now);
        match answer {
            Ok(known) => {
                let known = Arc::new(known);
                state.known = Some(Arc::clone(&known));
                state.fault = None;
                state.away_since = None;
                Ok(known)
            }
            Err(fault) => {
                tracing::debug!(
                    error = &fault as &dyn std::error::Error,
                    "the identity provider's metadata cannot be used"
                );
                let fault = Arc::new(fault);
                state.fault = Some(Arc::clone(&fault));
                if fault.may_pass() {
                    state.away_since.get_or_insert(now);
                }
                Err(fault)
            }
        }
    }

    /// Metadata (`OpenID` Connect Discovery section 4) and keys.
    async fn fetch(&self, now: Timestamp) -> Result<Discovered, HttpError> {
        let http = self.http.clone().ok_or_else(|| HttpError::Url(self.url.clone()))?;
        let base = IssuerUrl::new(self.url.clone()).map_err(|cause| not_a_url(&self.url, cause))?;
        let place = base.join(".well-known/openid-configuration").map_err(|cause| not_a_url(&self.url, cause))?;
        let metadata: Metadata =
            document(&http.get(&place).await?, &place, "OpenID metadata", |json| serde_json::from_slice(json))?;
        if metadata.issuer().as_str() != self.url {
            return Err(HttpError::OtherIssuer(place.host_str().unwrap_or_default().to_owned()));
        }
        let token = metadata.token_endpoint().map(|endpoint| endpoint.url().clone());
        let token = token.ok_or_else(|| HttpError::NoTokenEndpoint(place.host_str().unwrap_or_default().to_owned()))?;
        let authorize = metadata.authorization_endpoint().url().clone();
        for endpoint in [&authorize, &token, metadata.jwks_uri().url()] {
            if !http.allows(endpoint) {
                return Err(HttpError::Url(endpoint.to_string()));
            }
        }
        let place = metadata.jwks_uri().url();
        let keys = document(&http.get(place).await?, place, "a key set", Keys::read)?;
        Ok(Discovered { authorize, token, keys, http, metadata, at: now })
    }
}

/// Whether `pause` lies between `since` and `now`; a clock that was set back counts as passed.
fn has_passed(since: Option<Timestamp>, pause: Duration, now: Timestamp) -> bool {
    since.is_none_or(|since| {
        Duration::try_from(now.duration_since(since)).is_ok_and(|gone| gone >= pause) || now < since
    })
}

fn document<T>(
    body: &[u8],
    from: &Url,
    expected: &'static str,
    read: impl FnOnce(&[u8]) -> serde_json::Result<T>,
) -> Result<T, HttpError> {
    let host = from.host_str().unwrap_or_default().to_owned();
    read(body).map_err(|source| HttpError::Document { host, expected, source })
}
