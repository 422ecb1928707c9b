//! X.509: the cluster's two roots and what they sign. The only place that names `rcgen`.
//!
//! A *client* root signs the certificates in profiles, a *server* root those of the hosts' daemons. A profile holds
//! the server root only and a daemon trusts the client root only, so neither kind can play the other's part; the
//! extended key usage says the same once more. All keys are ECDSA P-256. Private keys are made where they are used
//! ([`request::LeafKey`]): on the host, which hands in a request, or at the delivery of a profile, once.
//!
//! What a certificate says is ours: of a request only the public key is taken, after the proof that its owner has the
//! private half. Subjects hold ids, never names of people.
//!
//! Validity begins [`authority::SKEW`] before the moment asked for, since clocks differ, and ends with the root at the
//! latest, since a leaf that outlives its root is refused by everybody while it still looks valid.

pub mod authority;
mod key;
pub mod read;
pub mod request;

use domain::authority::AuthorityKind;

/// Why a certificate could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Not a certificate in PEM form.
    #[error("not a certificate: {reason}")]
    InvalidCertificate {
        /// What is wrong with it.
        reason: String,
    },
    /// Not a request that may be signed: broken, not proven, or for a key that is not P-256.
    #[error("not a certificate request to sign: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a private key for ECDSA P-256 in PKCS #8 PEM form.
    #[error("not a P-256 private key in PKCS #8 form")]
    InvalidKey,
    /// A name that does not belong into a certificate; see [`authority`].
    #[error("a name in a certificate is 1 to 40 letters, digits, '.', '-' or '_'")]
    InvalidName,
    /// The certificate and the private key of an authority are not of one pair, or it is no authority.
    #[error("not an authority: {reason}")]
    NotAnAuthority {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A client authority was asked for a host's certificate, or the reverse.
    #[error("a {} authority does not sign this kind of certificate", authority::word(*kind))]
    WrongKind {
        /// The kind of the authority that was asked.
        kind: AuthorityKind,
    },
    /// The certificate would have ended before it began.
    #[error("the authority or the certificate would have expired by {not_after}")]
    Expired {
        /// The end of the validity that was found.
        not_after: jiff::Timestamp,
    },
    /// The library failed to make the certificate.
    #[error("the certificate cannot be made")]
    Signing(#[from] rcgen::Error),
}
