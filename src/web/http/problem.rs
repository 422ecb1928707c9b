//! Refusals and failures as the outside sees them: RFC 9457 documents with a stable code.
//!
//! Handlers and extractors return a [`Problem`]; it travels as an extension of an empty answer until the outermost
//! layer ([`crate::http::middleware`]) writes it out, because only that layer knows the request's id and path. So there is one
//! form for all of them, those of the router and of panics included, and the cause is logged in one place.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::rate_headers::tell;
use crate::ui::text::sentence;
use domain::Revision;
use domain::ids::RequestId;
use domain::limits::{Allowance, Limit};
use domain::login::Surface;
use services::{Refusal, ServiceError};

pub(crate) use runtime::causes::chain;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:ident, $retryable:literal;)*) => {
        /// The catalogue of codes. A code never changes its meaning and is never given to another.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// The code as programs read it.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The status that goes with it.
            pub(crate) fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// Whether the same request can succeed later.
            pub(crate) fn is_retryable(self) -> bool {
                match self {
                    $(Self::$name => $retryable,)*
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Code] = &[$(Code::$name),*];
    };
}

codes! {
    /// No route has this path.
    NoSuchPath = "PST-HTTP-001", NOT_FOUND, false;
    /// The path exists, for other methods.
    MethodNotAllowed = "PST-HTTP-002", METHOD_NOT_ALLOWED, false;
    /// The body is no JSON.
    NotJson = "PST-HTTP-003", BAD_REQUEST, false;
    /// A query parameter is unknown or wrong.
    BadParameter = "PST-HTTP-004", BAD_REQUEST, false;
    /// A header is wrong.
    BadHeader = "PST-HTTP-005", BAD_REQUEST, false;
    /// The path has an encoded separator, a dot segment or similar.
    BadPath = "PST-HTTP-006", BAD_REQUEST, false;
    /// The body is not declared as JSON.
    NotDeclaredJson = "PST-HTTP-007", UNSUPPORTED_MEDIA_TYPE, false;
    /// The body is too large.
    TooLarge = "PST-HTTP-008", PAYLOAD_TOO_LARGE, false;
    /// The body did not arrive in time.
    TooSlow = "PST-HTTP-009", REQUEST_TIMEOUT, true;
    /// The `Host` is not one of this listener.
    Misdirected = "PST-HTTP-010", MISDIRECTED_REQUEST, false;
    /// Too often.
    TooMany = "PST-HTTP-011", TOO_MANY_REQUESTS, true;
    /// The body is no form.
    NotAForm = "PST-HTTP-012", BAD_REQUEST, false;
    /// A request with this idempotency key is being done.
    KeyBusy = "PST-HTTP-013", CONFLICT, true;
    /// The idempotency key was sent with another request.
    KeyReused = "PST-HTTP-014", UNPROCESSABLE_ENTITY, false;
    /// A request with this idempotency key was begun, and its reply cannot be given again.
    KeySpent = "PST-HTTP-015", CONFLICT, false;
    /// There is no token.
    NoToken = "PST-AUTH-001", UNAUTHORIZED, false;
    /// The token is unknown, wrong or over.
    BadToken = "PST-AUTH-002", UNAUTHORIZED, false;
    /// The token's role may not.
    Forbidden = "PST-AUTH-003", FORBIDDEN, false;
    /// The form was made for another login.
    StaleForm = "PST-AUTH-004", FORBIDDEN, false;
    /// The form does not come from one of our pages.
    ForeignForm = "PST-AUTH-005", FORBIDDEN, false;
    /// There is no such thing.
    NotFound = "PST-DATA-001", NOT_FOUND, false;
    /// A value cannot be taken.
    Invalid = "PST-DATA-002", UNPROCESSABLE_ENTITY, false;
    /// It does not fit what is there.
    Conflict = "PST-DATA-003", CONFLICT, false;
    /// It was changed since it was read.
    Stale = "PST-DATA-004", PRECONDITION_FAILED, false;
    /// The database is away.
    DatabaseAway = "PST-SYS-001", SERVICE_UNAVAILABLE, true;
    /// This process has no master key.
    NoMasterKey = "PST-SYS-002", SERVICE_UNAVAILABLE, false;
    /// It took too long.
    Deadline = "PST-SYS-003", SERVICE_UNAVAILABLE, true;
    /// Too many requests are being answered already.
    Busy = "PST-SYS-004", SERVICE_UNAVAILABLE, true;
    /// The cluster is paused.
    Paused = "PST-SYS-006", SERVICE_UNAVAILABLE, true;
    /// Our fault.
    Internal = "PST-SYS-005", INTERNAL_SERVER_ERROR, false;
}

/// One value of the request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where in the body it stands (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// Which parameter of the query or which header it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// The code, as in the catalogue.
    pub(crate) code: &'static str,
    /// What is wrong with it.
    pub(crate) detail: String,
}

/// A refusal or a failure on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    current: Option<Revision>,
    after: Option<Duration>,
    limit: Option<Limit>,
    /// What a service said: the reason of a refusal, or the cause of a failure, which is for the log only.
    error: Option<Arc<ServiceError>>,
}

/// The document of RFC 9457, section 3, with our extensions.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong, as a sentence.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    /// What kind of refusal or failure it is; a code never changes its meaning.
    #[schema(example = "PST-DATA-002")]
    code: &'static str,
    request_id: RequestId,
    /// Why it was refused, where that is one of the reasons of `docs/refusals.md`; a reason never changes its meaning,
    /// and releases to come have others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "server_not_open")]
    reason: Option<&'static str>,
    /// What the reason depends on: names, ids, counts.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(required = false)]
    parameters: Map<String, Value>,
    /// Which values were refused, if it was for values.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// Whether the same request can succeed later.
    retryable: bool,
}

/// After how many seconds a retry is worth it.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// A move of the database takes minutes.
const PAUSE: Duration = Duration::from_secs(30);

impl Problem {
    /// A problem in words for the one who asked.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), current: None, after: None, limit: None, error: None }
    }

    /// The same, worth another try after some time.
    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after: Some(after), ..self }
    }

    /// Whether it is certain that the request changed nothing.
    pub(crate) fn changed_nothing(&self) -> bool {
        let refused_early = matches!(self.code, Code::Busy | Code::Paused | Code::NoMasterKey);
        self.code.status().is_client_error() || refused_early
    }

    /// A value of the body that cannot be taken; `pointer` as of RFC 6901, empty for the body itself.
    pub(crate) fn field(pointer: String, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let place = if pointer.is_empty() { "the body" } else { pointer.as_str() };
        let sentence = format!("{place}: {detail}");
        let error = FieldError { pointer: Some(pointer), parameter: None, code: Code::Invalid.as_str(), detail };
        Self { errors: vec![error], ..Self::new(Code::Invalid, sentence) }
    }

    /// A parameter of the query that cannot be taken.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::named(Code::BadParameter, name, detail)
    }

    /// A header that cannot be taken.
    pub(crate) fn header(name: &str, detail: impl Into<String>) -> Self {
        Self::named(Code::BadHeader, name, detail)
    }

    fn named(code: Code, name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let sentence = format!("{name}: {detail}");
        let error = FieldError { pointer: None, parameter: Some(name.to_owned()), code: code.as_str(), detail };
        Self { errors: vec![error], ..Self::new(code, sentence) }
    }

    /// A reason of the catalogue, at its field if it is about one.
    fn refusal(refusal: &Refusal) -> Self {
        let detail = refusal.to_string();
        let at = |field: &str| FieldError {
            pointer: Some(format!("/{field}")),
            parameter: None,
            code: Code::Conflict.as_str(),
            detail: detail.clone(),
        };
        Self { errors: refusal.field().map(at).into_iter().collect(), ..Self::new(Code::Conflict, detail) }
    }

    /// The cause, for the log only.
    pub(crate) fn cause(&self) -> Option<&ServiceError> {
        self.error.as_deref().filter(|error| matches!(error, ServiceError::Unavailable(_) | ServiceError::Internal(_)))
    }

    /// Whether it says that nobody knows who asks, or that they may not.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What the pages of a surface say about it.
    pub(crate) fn words(&self, surface: Surface) -> String {
        match self.error.as_deref() {
            Some(ServiceError::Conflict(refusal)) => sentence(&refusal.on(surface).to_string()),
            _ => sentence(&self.detail),
        }
    }

    /// When it is worth another try, if that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.after
    }

    /// The document to send, for the request `id` to the path `instance`.
    pub(crate) fn document(&self, id: RequestId, instance: &str) -> Body {
        serde_json::to_vec(&self.told(id, instance)).map_or_else(|_never| Body::empty(), Body::from)
    }

    fn told<'a>(&'a self, id: RequestId, instance: &'a str) -> Document<'a> {
        let status = self.code.status();
        let (reason, parameters) = self.error.as_ref().and_then(|error| error.reason()).unzip();
        Document {
            // The code is the type; there is no page to link to that says more than the detail.
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.detail,
            instance,
            code: self.code.as_str(),
            request_id: id,
            reason,
            parameters: parameters.unwrap_or_default(),
            errors: &self.errors,
            retryable: self.code.is_retryable(),
        }
    }

    /// The headers that go with it.
    pub(crate) fn set_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code.is_retryable() && self.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_SECONDS);
        }
        if let Some(after) = self.after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().saturating_add(1)));
        }
        if let Some(limit) = self.limit {
            tell(&Allowance { limit, left: 0, full_in: self.after.unwrap_or_default() }, headers);
        }
        let challenge = match self.code {
            Code::NoToken => Some(r#"Bearer realm="postern""#),
            Code::BadToken => Some(r#"Bearer realm="postern", error="invalid_token""#),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(tag) = self.current.and_then(etag) {
            headers.insert(ETAG, tag);
        }
    }
}

/// The strong validator of a revision.
pub(crate) fn etag(revision: Revision) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{}\"", revision.0)).ok()
}

/// What was found, or nothing where there is no such thing.
pub(crate) fn found<T>(result: Result<T, ServiceError>) -> Result<Option<T>, Problem> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(ServiceError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The one place where refusals of services become answers.
impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        let problem = match &error {
            ServiceError::NotFound(_) => Self::new(Code::NotFound, detail),
            ServiceError::Invalid { field, reason } => Self::field(format!("/{field}"), reason.to_string()),
            ServiceError::Conflict(refusal) => Self::refusal(refusal),
            ServiceError::Stale { current } => Self { current: Some(*current), ..Self::new(Code::Stale, detail) },
            ServiceError::Forbidden(_) => Self::new(Code::Forbidden, detail),
            ServiceError::Unauthenticated => Self::new(Code::BadToken, detail),
            ServiceError::TooMany { limit, after } => {
                Self { limit: Some(*limit), ..Self::new(Code::TooMany, detail).after(*after) }
            }
            ServiceError::Paused => Self::new(Code::Paused, detail).after(PAUSE),
            ServiceError::NoMasterKey => Self::new(Code::NoMasterKey, detail),
            ServiceError::Unavailable(_) => Self::new(Code::DatabaseAway, detail),
            ServiceError::Internal(_) => Self::new(Code::Internal, detail),
        };
        Self { error: Some(Arc::new(error)), ..problem }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;
    use domain::samples;
    use services::InvalidReason;

    #[test]
    fn no_code_is_given_twice() {
        let words: HashSet<_> = ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ALL.len());
        assert!(ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }

    #[test]
    fn a_refusal_tells_its_reason_and_its_field() {
        let told = |error: ServiceError| serde_json::to_value(Problem::from(error).told(samples::id(1), "/")).unwrap();
        let refusal = told(ServiceError::Conflict(Refusal::NameTaken { what: "server" }));
        assert_eq!(
            (&refusal["code"], &refusal["reason"], &refusal["parameters"]),
            (&json!("PST-DATA-003"), &json!("name_taken"), &json!({ "what": "server" }))
        );
        assert_eq!(
            (&refusal["errors"][0]["pointer"], &refusal["errors"][0]["detail"]),
            (&json!("/name"), &refusal["detail"])
        );
        let invalid = told(ServiceError::invalid("routes/1/network", InvalidReason::Repeated));
        assert_eq!(
            (&invalid["code"], &invalid["reason"], &invalid["errors"][0]["pointer"]),
            (&json!("PST-DATA-002"), &json!("repeated"), &json!("/routes/1/network"))
        );
        let whole = told(ServiceError::Conflict(Refusal::LastOwner));
        assert_eq!((&whole["errors"], &whole["parameters"]), (&Value::Null, &Value::Null), "{whole}");
        let other = told(ServiceError::NotFound(services::Missing::User));
        assert_eq!((&other["code"], &other["reason"]), (&json!("PST-DATA-001"), &json!("user_not_found")));
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let problem = Problem::from(ServiceError::Internal("the secret cause".into()));
        assert!(!problem.detail.contains("secret cause"));
        assert!(chain(problem.cause().unwrap()).contains("the secret cause"));
    }
}
