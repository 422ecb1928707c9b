//! Why nobody was signed in, each cause apart.

use std::sync::Arc;

use jiff::Timestamp;

use super::http::HttpError;

/// Why the provider could not vouch for a person.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be reached, or answers with a fault of its own: worth trying again.
    #[error("the identity provider has not answered since {since}")]
    Away {
        /// When it was first missed.
        since: Timestamp,
        /// What happened at the last attempt.
        source: Arc<HttpError>,
    },
    /// The provider refused the code, with this error code (RFC 6749 section 5.2): the code is used up, too old, or was
    /// meant for another client or verifier.
    #[error("the identity provider refused the sign-in: {0}")]
    Refused(String),
    /// The provider answered, but not with something that proves who somebody is.
    #[error("the identity provider's answer proves nothing")]
    BadToken(#[from] BadToken),
    /// The settings, or the provider, must be changed by an admin.
    #[error("{sentence}")]
    Misconfigured {
        /// What is wrong, for an admin.
        sentence: String,
        /// What it was found by, if it was found by asking the provider.
        source: Option<Arc<HttpError>>,
    },
}

macro_rules! bad_token {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $text:literal;)*) => {
        /// What is wrong with the answer that came back, one variant per defect. Neither the text nor the code word holds
        /// anything of the token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum BadToken {
            $($(#[doc = $doc])+ #[error($text)] $variant,)*
        }

        impl BadToken {
            /// The stable word for logs, audit entries and pages.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

bad_token! {
    /// RFC 9207: the provider announces `iss` in its response, and it was not there.
    ResponseIssuerMissing = "response_issuer_missing", "the response does not name its issuer, though the provider announces it";
    /// RFC 9207: the response came from another issuer than the one that was asked.
    ResponseIssuer = "response_issuer", "the response comes from another issuer";
    /// The token endpoint's answer is not what RFC 6749 section 5.1 describes.
    Response = "response", "the token endpoint's answer cannot be read";
    /// There is no ID token in the answer.
    Missing = "missing", "the answer holds no ID token";
    /// Not three parts of base64url, or not JSON inside.
    Malformed = "malformed", "the ID token cannot be read";
    /// Another signature algorithm than RS256 or ES256, such as `none` or HS256.
    Algorithm = "algorithm", "the ID token is not signed with RS256 or ES256";
    /// The header names extensions that must be understood (RFC 7515 section 4.1.11); none are.
    Critical = "critical", "the ID token's header asks for an extension";
    /// The provider publishes no such key.
    UnknownKey = "unknown_key", "the ID token is signed with a key that the provider does not publish";
    /// The provider publishes the key, but it has fewer than 2048 bits.
    WeakKey = "weak_key", "the ID token is signed with an RSA key of fewer than 2048 bits";
    /// The signature does not fit.
    Signature = "signature", "the ID token's signature is wrong";
    /// `iss` is not the issuer that was asked.
    Issuer = "issuer", "the ID token is from another issuer";
    /// `aud` is not us, or not us alone.
    Audience = "audience", "the ID token is for another client";
    /// `azp` is there, and not us.
    AuthorizedParty = "authorized_party", "the ID token was asked for by another client";
    /// `exp` is missing or not a number.
    ExpiryMissing = "expiry_missing", "the ID token does not say when it expires";
    /// `exp` has passed.
    Expired = "expired", "the ID token has expired";
    /// `iat` is missing or not a number.
    IssuedAtMissing = "issued_at_missing", "the ID token does not say when it was issued";
    /// `iat` lies ahead.
    FromTheFuture = "from_the_future", "the ID token was issued in the future";
    /// `nbf` lies ahead, or is not a number.
    NotYetValid = "not_yet_valid", "the ID token is not valid yet";
    /// `nonce` is missing.
    NonceMissing = "nonce_missing", "the ID token carries no nonce";
    /// `nonce` is not the one that was sent.
    Nonce = "nonce", "the ID token belongs to another sign-in";
    /// `sub` is missing, empty, longer than 255 characters or not plain ASCII.
    Subject = "subject", "the ID token does not say who it is about";
    /// `email` is there and not one mailbox address.
    Email = "email", "the e-mail address in the ID token is not one";
    /// `email_verified` is there and not a boolean.
    EmailVerified = "email_verified", "the ID token does not say plainly whether the e-mail address is verified";
    /// `hd` is there and not a text.
    HostedDomain = "hosted_domain", "the hosted domain in the ID token is not a text";
}
