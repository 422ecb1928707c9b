//! How much of a limit is left, in the headers of an answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use domain::limits::Allowance;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Says how much of a limit is left (draft-ietf-httpapi-ratelimit-headers-10).
pub(crate) fn tell(allowance: &Allowance, headers: &mut HeaderMap) {
    let (name, rate) = (allowance.limit.as_str(), allowance.limit.rate());
    let policy = format!("\"{name}\";q={};w={}", rate.most, rate.per.as_secs());
    let left = format!("\"{name}\";r={};t={}", allowance.left, allowance.full_in.as_secs_f64().ceil());
    for (header, value) in [(POLICY, policy), (LEFT, left)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
}
