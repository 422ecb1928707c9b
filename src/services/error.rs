//! Why a service did not do what it was asked: in words for the one who asked, named by what they can do about it.

use serde_json::{Map, Value};

use domain::Revision;
use domain::limits::Limit;
use keys::KeyError;
use pki::PkiError;
use store::StoreError;

use crate::refusal::{InvalidReason, Missing, Refusal};

/// The refusals and failures of services.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such thing, or none that the asker may know of.
    #[error("{0}")]
    NotFound(Missing),
    /// A value cannot be taken; nothing was changed.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which one: a JSON pointer (RFC 6901) into the body, without the leading slash.
        field: String,
        /// What is wrong with it.
        reason: InvalidReason,
    },
    /// It does not fit what is there; nothing was changed.
    #[error("{0}")]
    Conflict(Refusal),
    /// Somebody changed it since the asker read it; nothing was changed.
    #[error("it was changed in the meantime (now at revision {}); read it again", .current.0)]
    Stale {
        /// Its revision now.
        current: Revision,
    },
    /// The asker may not.
    #[error("this needs a role that may {0}")]
    Forbidden(&'static str),
    /// The token is unknown, wrong or over.
    #[error("the token is not valid")]
    Unauthenticated,
    /// Too often; nothing was done.
    #[error("too many attempts; try again in {} seconds", .after.as_secs().max(1))]
    TooMany {
        /// What there was too much of.
        limit: Limit,
        /// When it is worth another try.
        after: std::time::Duration,
    },
    /// Not now: the database is away. A change may or may not have happened.
    #[error("Postern cannot reach its database right now; VPN connections are not affected")]
    Unavailable(#[source] StoreError),
    /// Not now: the database is being moved; nothing was changed.
    #[error(
        "Postern is paused while its database is being moved: nothing can be changed until that is done; VPN connections \
         are not affected"
    )]
    Paused,
    /// This process has no master key, so it cannot issue or change secrets.
    #[error("this process has no master key; ask one with the role console or portal")]
    NoMasterKey,
    /// Our fault.
    #[error("something is wrong inside Postern; its log says what")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ServiceError {
    /// A value that cannot be taken.
    pub fn invalid(field: impl Into<String>, reason: InvalidReason) -> Self {
        Self::Invalid { field: field.into(), reason }
    }

    /// The reason by its stable code and its parameters, where the request was refused for one of the catalogue.
    pub fn reason(&self) -> Option<(&'static str, Map<String, Value>)> {
        match self {
            Self::Conflict(refusal) => Some((refusal.code(), refusal.parameters())),
            Self::Invalid { reason, .. } => Some((reason.code(), reason.parameters())),
            Self::NotFound(missing) => Some((missing.code(), missing.parameters())),
            _ => None,
        }
    }

    /// Takes the objection of a unique index for the refusal that it stands for.
    pub(super) fn taken(refusal: Refusal) -> impl FnOnce(StoreError) -> Self {
        move |error| match error {
            StoreError::Conflict { .. } => Self::Conflict(refusal),
            other => other.into(),
        }
    }
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        Self::Conflict(refusal)
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Paused => Self::Paused,
            error if error.is_unavailable() => Self::Unavailable(error),
            error => Self::Internal(Box::new(error)),
        }
    }
}

impl From<KeyError> for ServiceError {
    fn from(error: KeyError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<PkiError> for ServiceError {
    fn from(error: PkiError) -> Self {
        Self::Internal(Box::new(error))
    }
}
