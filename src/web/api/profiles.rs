//! `/users/{id}/profiles` and `/profiles`.

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        ids::{ProfileId, ServerId, UserId},
        profile::Profile,
        text::Name,
    },
    services::{ProfileFilter, Services, profiles::NewProfile},
    web::{
        answer::{Answer, Created, List, Single, created},
        extract::{At, Caller, Filter, IfMatch, Json, Query},
    },
};

/// The media type of a profile, as OpenVPN's clients register it.
const PROFILE: &str = "application/x-openvpn-profile";

/// A file name has at most so many characters, its ending included.
const FILE_NAME: usize = 64;

/// A new profile with its file.
#[derive(Serialize)]
struct Issued<'a> {
    profile: &'a Profile,
    config: &'a str,
}

/// Issues a profile. This answer is the only place where its private key ever is.
pub(super) async fn issue(
    State(services): State<Services>,
    Caller(act): Caller,
    At(user): At<UserId>,
    headers: HeaderMap,
    Json(new): Json<NewProfile>,
) -> Answer<Response> {
    let issued = services.issue_profile(&act, user, new).await?;
    let (profile, rev) = (&issued.profile.value, issued.profile.rev);
    let location = format!("/api/v1/profiles/{}", profile.id);
    let config = issued.config.expose().as_str();
    if accepts_profile(&headers) {
        let disposition = format!("attachment; filename=\"{}\"", file_name(&profile.name));
        let headers = [(header::CONTENT_TYPE, PROFILE), (header::CONTENT_DISPOSITION, &disposition)];
        return Ok(created((headers, config.to_owned()).into_response(), &location, rev));
    }
    Ok(Created { location, rev, body: Issued { profile, config } }.into_response())
}

fn accepts_profile(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(',')).filter_map(|range| range.split(';').next());
    types.any(|range| range.trim().eq_ignore_ascii_case(PROFILE))
}

/// What the file is called: what is left of the profile's name in plain letters, digits, dots, hyphens and underscores.
fn file_name(name: &Name) -> String {
    const ENDING: &str = ".ovpn";
    let mut stem = String::new();
    for c in name.as_str().chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            stem.push(c);
        } else if !stem.ends_with('-') {
            stem.push('-');
        }
    }
    stem.truncate(FILE_NAME - ENDING.len());
    let stem = stem.trim_matches(['.', '-', '_']);
    format!("{}{ENDING}", if stem.is_empty() { "profile" } else { stem })
}

/// Which profiles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileQuery {
    user_id: Option<UserId>,
    server_id: Option<ServerId>,
}

impl Filter for ProfileQuery {
    type Id = ProfileId;
}

pub(super) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    query: Query<ProfileQuery>,
) -> Answer<List<Profile>> {
    let filter = ProfileFilter { user_id: query.filter.user_id, server_id: query.filter.server_id };
    let page = services.profiles(&act, &filter, &query.page).await?;
    Ok(query.answer(page, |found| found.value))
}

pub(super) async fn show(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ProfileId>,
) -> Answer<Single<Profile>> {
    Ok(Single(services.profile(&act, id).await?))
}

pub(super) async fn revoke(
    State(services): State<Services>,
    Caller(act): Caller,
    At(id): At<ProfileId>,
    IfMatch(expected): IfMatch,
) -> Answer<Single<Profile>> {
    Ok(Single(services.revoke_profile(&act, id, expected).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain() {
        for (name, file) in [
            ("Laptop", "Laptop.ovpn"),
            ("Ana's \"work\" laptop", "Ana-s-work-laptop.ovpn"),
            ("../../etc/passwd", "etc-passwd.ovpn"),
            ("李小龍", "profile.ovpn"),
            ("a; filename=b", "a-filename-b.ovpn"),
        ] {
            assert_eq!(file_name(&name.parse().unwrap()), file);
        }
        assert_eq!(file_name(&"x".repeat(200).parse().unwrap()).len(), FILE_NAME);
    }

    #[test]
    fn only_who_asks_for_the_file_gets_it_bare() {
        let accepts = |text: &'static str| {
            accepts_profile(&HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(text))]))
        };
        assert!(accepts("application/x-openvpn-profile"));
        assert!(accepts("application/json;q=0.5, application/x-openvpn-profile;q=1"));
        assert!(!accepts("*/*") && !accepts("application/json"));
    }
}
