//! `/explain`.

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::answer::{Answer, Plain};
use crate::api::extract::{Call, Parameters};
use crate::http::problem::Problem;
use domain::ids::{ProfileId, UserId};
use services::ServiceError;
use services::access::explain::{Explanation, Subject, Target};

/// Who wants to get where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainQuery {
    /// A user, with any of the user's profiles; or else `profile_id`.
    user_id: Option<UserId>,
    /// One profile; or else `user_id`.
    profile_id: Option<ProfileId>,
    /// An IPv4 address or a network.
    destination: Target,
    /// As of when, for what expires; now if absent.
    at: Option<Timestamp>,
}

pub(crate) async fn show(
    Call(services, act): Call,
    Parameters(query): Parameters<ExplainQuery>,
) -> Answer<Plain<Explanation>> {
    let subject = match (query.user_id, query.profile_id) {
        (Some(user), None) => Subject::User(user),
        (None, Some(profile)) => Subject::Profile(profile),
        _ => return Err(Problem::parameter("user_id", "give either user_id or profile_id")),
    };
    let explained = services.access().explain(&act, subject, query.destination, query.at).await;
    Ok(Plain(explained.map_err(|error| unknown(&subject, error))?))
}

/// Whoever is asked about stands in the query, so that it is the query that is wrong.
fn unknown(subject: &Subject, error: ServiceError) -> Problem {
    let name = match subject {
        Subject::User(_) => "user_id",
        Subject::Profile(_) => "profile_id",
    };
    match error {
        ServiceError::NotFound(missing) => Problem::parameter(name, missing.to_string()),
        other => other.into(),
    }
}
