//! Why a client command did not do what it was asked, and the exit code that says so to scripts.

use std::{fmt, io};

use serde::Deserialize;

use crate::services::refusal::entry;

/// A refusal or a failure, as the command line tells it.
#[derive(Debug)]
pub(crate) struct ClientError {
    code: u8,
    sentence: String,
    details: Vec<String>,
    reader_left: bool,
}

/// Exit codes; scripts rely on them.
pub(super) mod exit {
    /// It failed.
    pub(in super::super) const FAILED: u8 = 1;
    /// The command line is wrong, or a value in it.
    pub(in super::super) const USAGE: u8 = 2;
    /// What it names does not exist.
    pub(in super::super) const NOT_FOUND: u8 = 3;
    /// It does not fit what is there.
    pub(in super::super) const CONFLICT: u8 = 4;
    /// Not signed in, or not allowed.
    pub(in super::super) const FORBIDDEN: u8 = 5;
    /// Unreachable or too slow: the same command may work later.
    pub(in super::super) const UNREACHABLE: u8 = 6;
    /// Some of it was done.
    pub(in super::super) const PARTLY: u8 = 7;
    /// It was looked at, and it is not as it should be.
    pub(in super::super) const DIFFERENT: u8 = 8;
}

/// What the API says of a refusal (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemDocument {
    detail: String,
    code: String,
    reason: String,
    request_id: Option<String>,
    errors: Vec<FieldError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldError {
    pointer: Option<String>,
    parameter: Option<String>,
    detail: String,
}

impl FieldError {
    /// The field and what is wrong with it, as people write fields.
    fn line(&self) -> Option<String> {
        let place = self.parameter.as_deref().or(self.pointer.as_deref())?.trim_start_matches('/');
        Some(format!("{}: {}", place.replace('/', "."), self.detail))
    }

    /// Whether the sentence of a whole answer says no more than this.
    fn is_all_of(&self, sentence: &str) -> bool {
        let place = self.parameter.as_ref().or(self.pointer.as_ref());
        sentence == self.detail || place.is_some_and(|place| sentence == format!("{place}: {}", self.detail))
    }
}

impl ClientError {
    pub(super) fn new(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), details: Vec::new(), reader_left: false }
    }

    /// The command line is wrong.
    pub(super) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(exit::USAGE, sentence)
    }

    /// With lines below the sentence.
    pub(super) fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// Whether nothing went wrong but that nobody reads the result any more.
    pub(super) fn reader_left(&self) -> bool {
        self.reader_left
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// The sentence alone.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What an answer of the API that is no success means.
    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        let document: ProblemDocument = serde_json::from_slice(body).unwrap_or_default();
        let code = match status {
            _ if document.code == "PST-HTTP-001" => exit::FAILED,
            404 | 410 => exit::NOT_FOUND,
            409 | 412 | 428 => exit::CONFLICT,
            401 | 403 => exit::FORBIDDEN,
            400 | 413 | 415 | 422 => exit::USAGE,
            408 | 429 | 502 | 503 | 504 => exit::UNREACHABLE,
            _ => exit::FAILED,
        };
        let sentence = match (document.detail.as_str(), document.code.as_str()) {
            ("", _) => format!("the answer was {status}, and not one of Postern's; is --url the address of its API?"),
            (detail, "PST-HTTP-001") => format!("{detail}; the hosts may run another release than this program"),
            (detail, _) => {
                let said = document.errors.iter().find(|error| error.is_all_of(detail));
                said.and_then(FieldError::line).unwrap_or_else(|| detail.to_owned())
            }
        };
        let mut details: Vec<_> =
            document.errors.iter().filter_map(FieldError::line).filter(|line| *line != sentence).collect();
        details.extend(entry(&document.reason).and_then(|entry| entry.command).map(str::to_owned));
        if !document.code.is_empty() {
            let request = document.request_id.map(|id| format!(", request {id}")).unwrap_or_default();
            details.push(format!("code {}{request}", document.code));
        }
        Self::new(code, sentence).with(details)
    }

    /// What it means that there was no answer.
    pub(super) fn unanswered(base: &str, error: &ureq::Error) -> Self {
        use ureq::Error as E;
        let tls = |error: &(dyn std::error::Error + 'static)| error.is::<tokio_rustls::rustls::Error>();
        match error {
            E::Timeout(_) => Self::new(exit::UNREACHABLE, format!("{base} did not answer in time"))
                .with(["a change may or may not have happened".to_owned()]),
            E::Io(io) if io.get_ref().is_some_and(|inner| tls(inner)) => Self::untrusted(base, io),
            E::Rustls(_) | E::Tls(_) | E::Pem(_) => Self::untrusted(base, error),
            E::HostNotFound | E::Io(_) | E::ConnectionFailed => {
                Self::new(exit::UNREACHABLE, format!("{base} cannot be reached: {error}"))
            }
            other => Self::new(exit::FAILED, format!("{base} gave no answer that can be read: {other}")),
        }
    }

    fn untrusted(base: &str, error: &dyn fmt::Display) -> Self {
        Self::new(exit::FAILED, format!("no secure connection to {base}: {error}"))
            .with(["--ca-file names the certificate authorities to trust".to_owned()])
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        self.details.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        let reader_left = error.kind() == io::ErrorKind::BrokenPipe;
        Self { reader_left, ..Self::new(exit::FAILED, format!("the result cannot be written: {error}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_refusal_has_its_exit_code() {
        let code = |status| ClientError::refused(status, br#"{"detail": "d", "code": "PST-DATA-001"}"#).code();
        for (status, expected) in [(404, 3), (409, 4), (412, 4), (401, 5), (403, 5), (422, 2), (503, 6), (500, 1)] {
            assert_eq!(code(status), expected, "{status}");
        }
        let no_such_path = ClientError::refused(404, br#"{"detail": "d", "code": "PST-HTTP-001"}"#);
        assert_eq!(no_such_path.code(), 1);
    }

    #[test]
    fn the_field_the_code_and_the_request_are_told() {
        let body = br#"{"detail": "a value cannot be taken", "code": "PST-DATA-002", "request_id": "req_1",
            "errors": [{"pointer": "/routes/0/network", "code": "PST-DATA-002", "detail": "must be a network"}]}"#;
        let told = ClientError::refused(422, body).to_string();
        let expected =
            "a value cannot be taken\n  routes.0.network: must be a network\n  code PST-DATA-002, request req_1";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_refusal_is_told_at_its_field_and_once() {
        let told = |body: &[u8]| ClientError::refused(409, body).to_string();
        let taken = br#"{"detail": "another server has this name", "code": "PST-DATA-003", "reason": "name_taken",
            "errors": [{"pointer": "/name", "code": "PST-DATA-003", "detail": "another server has this name"}]}"#;
        assert_eq!(told(taken), "name: another server has this name\n  code PST-DATA-003");
        let invalid = br#"{"detail": "/routes/1/network: stands in the list twice", "code": "PST-DATA-002",
            "errors": [{"pointer": "/routes/1/network", "code": "", "detail": "stands in the list twice"}]}"#;
        assert_eq!(told(invalid), "routes.1.network: stands in the list twice\n  code PST-DATA-002");
        let forcible = br#"{"detail": "it is in service", "code": "PST-DATA-003", "reason": "host_in_service"}"#;
        assert_eq!(told(forcible), "it is in service\n  --force removes it all the same\n  code PST-DATA-003");
    }

    #[test]
    fn an_answer_of_somebody_else_is_no_answer_of_ours() {
        assert!(ClientError::refused(404, b"<html>nginx</html>").to_string().contains("not one of Postern's"));
    }
}
