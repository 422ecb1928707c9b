//! What can go wrong with the database, named by what a caller can do about it.
//!
//! The driver's errors are told apart here and nowhere else. The list of codes follows the server's
//! `error_codes.yml`; a failover, a full pool and a silent network all mean the same to a caller: not now.

use std::error::Error as StdError;
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::error::{
    Error, ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
    WriteFailure,
};

/// A cause, kept for the log.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another document holds a value that must be unique.
    #[error("another document has the same value, which must be unique{}{}", if .fields.is_empty() { "" } else { ": " }, .fields.join(", "))]
    Conflict {
        /// The fields of the unique index that refused; none after an insert, of which the driver passes on no more than
        /// words.
        fields: Vec<String>,
    },
    /// The database cannot be reached, has no primary or did not answer in time. A write may or may not have happened.
    #[error("the database is unavailable")]
    Unavailable {
        /// What the driver or the deadline said.
        source: Cause,
    },
    /// The cluster is paused: nothing may change until it is resumed.
    #[error("the cluster is paused")]
    Paused,
    /// A stored document is not what this release can read.
    #[error("the document {id} of {collection} cannot be read")]
    Corrupt {
        /// Collection of the document.
        collection: &'static str,
        /// Its `_id`.
        id: String,
        /// What is wrong with it, where that is known.
        source: Option<Cause>,
    },
    /// The settings or the database's set-up must be changed by a person.
    #[error("{problem}{}{}", if .advice.is_some() { "; " } else { "" }, .advice.as_deref().unwrap_or_default())]
    Misconfigured {
        /// What is wrong, for a person.
        problem: String,
        /// What to do about it.
        advice: Option<String>,
    },
    /// A bug, or a server that behaves as none we know.
    #[error("the database answered in an unexpected way")]
    Unexpected {
        /// What it said.
        source: Cause,
    },
}

/// The cause of an [`StoreError::Unavailable`] that no driver error explains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The deadline of the call passed.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// No primary has been known for a while, so the call was not tried.
    #[error("no primary for {0:?}")]
    NoPrimary(Duration),
    /// No primary answered the first command; in words, with what the driver saw.
    #[error("no primary of the database answers: {0}")]
    Unreachable(String),
    /// This process is shutting down.
    #[error("shutting down")]
    Stopping,
}

impl StoreError {
    /// A refusal that a person must act on.
    pub fn misconfigured(problem: impl Into<String>) -> Self {
        Self::Misconfigured { problem: problem.into(), advice: None }
    }

    /// A refusal that a person must act on, and how.
    pub fn mendable(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Misconfigured { problem: problem.into(), advice: Some(advice.into()) }
    }

    /// A document that does not convert.
    pub(crate) fn corrupt(collection: &'static str, id: impl Into<String>) -> Self {
        Self::Corrupt { collection, id: id.into(), source: None }
    }

    /// The same with what is wrong with the document.
    pub(crate) fn because(self, why: impl Into<Cause>) -> Self {
        match self {
            Self::Corrupt { collection, id, .. } => Self::Corrupt { collection, id, source: Some(why.into()) },
            other => other,
        }
    }

    /// Something that should not happen.
    pub fn unexpected(source: impl Into<Cause>) -> Self {
        Self::Unexpected { source: source.into() }
    }

    /// The word for metrics and health; `None` for what is an answer rather than a failure.
    pub fn class(&self) -> Option<&'static str> {
        match self {
            Self::Conflict { .. } | Self::Paused => None,
            Self::Unavailable { source } => Some(match source.downcast_ref() {
                Some(Outage::Deadline(_)) => "timeout",
                Some(Outage::NoPrimary(_) | Outage::Unreachable(_)) => "no_primary",
                Some(Outage::Stopping) => return None,
                None => "connection",
            }),
            Self::Corrupt { .. } => Some("corrupt"),
            Self::Misconfigured { .. } => Some("misconfigured"),
            Self::Unexpected { .. } => Some("unexpected"),
        }
    }

    /// Whether the database knows this user and does not let it, or does not know it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Misconfigured { .. })
    }

    /// Whether trying again later can help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<Outage> for StoreError {
    fn from(outage: Outage) -> Self {
        Self::Unavailable { source: Box::new(outage) }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        // Without the driver's error as its cause: that holds the value, which may be an e-mail address.
        if code(&error) == Some(DUPLICATE_KEY) {
            return Self::Conflict { fields: unique_fields(&error).unwrap_or_default() };
        }
        if is_unavailable(&error) {
            return Self::Unavailable { source: Box::new(error) };
        }
        if is_refused(&error) {
            return Self::misconfigured(format!(
                "the database refuses this user (wrong credentials or missing role readWrite on Postern's database): {}",
                message(&error)
            ));
        }
        Self::Unexpected { source: Box::new(error) }
    }
}

/// Code of a unique index's refusal.
pub(crate) const DUPLICATE_KEY: i32 = 11000;

/// The server's code of an error, if the server said it: of the command, the write, the first refused write of many,
/// or the write concern.
pub(crate) fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        ErrorKind::InsertMany(many) => {
            let first = many.write_errors.iter().flatten().next().map(|write| write.code);
            first.or_else(|| many.write_concern_error.as_ref().map(|concern| concern.code))
        }
        _ => None,
    }
}

/// The server's own words about an error; the driver's where there are none.
pub(crate) fn message(error: &Error) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => command.message.clone(),
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.message.clone(),
        ErrorKind::InvalidArgument { message, .. }
        | ErrorKind::Authentication { message, .. }
        | ErrorKind::ServerSelection { message, .. }
        | ErrorKind::InvalidTlsConfig { message, .. }
        | ErrorKind::DnsResolve { message, .. } => message.clone(),
        _ => error.to_string(),
    }
}

/// The fields of the unique index that refused, from the server's answer.
fn unique_fields(error: &Error) -> Option<Vec<String>> {
    let answer = Document::try_from(error.server_response()?.as_ref()).ok()?;
    // One document that is changed has it in the answer itself, a list of writes in the entry of the one that failed.
    let failed = answer.get_array("writeErrors").ok().and_then(|writes| writes.first()?.as_document());
    let pattern = failed.unwrap_or(&answer).get_document("keyPattern").ok()?;
    Some(pattern.keys().cloned().collect())
}

fn is_unavailable(error: &Error) -> bool {
    // Network, shutting down, stepping down, recovering, no longer primary, no majority in time, time limits.
    const NOT_NOW: [i32; 17] = [6, 7, 50, 64, 89, 91, 112, 134, 189, 202, 262, 9001, 10107, 11600, 11602, 13435, 13436];
    const LABELS: [&str; 3] = [RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT];
    let kind = matches!(
        error.kind.as_ref(),
        ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Shutdown
    );
    kind || LABELS.iter().any(|label| error.contains_label(label))
        || code(error).is_some_and(|code| NOT_NOW.contains(&code))
}

fn is_refused(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Authentication { .. }) || matches!(code(error), Some(13 | 18))
}
