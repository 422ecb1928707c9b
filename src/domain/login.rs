//! Browser sign-ins, to the portal and to the console.

use std::net::IpAddr;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ids::{LoginId, UserId};

/// Which pages a login is for. What was made for one surface opens nothing on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// The public pages, for employees.
    #[default]
    Portal,
    /// The admin pages, for users with a role.
    Console,
}

impl Surface {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Console => "console",
        }
    }

    /// A login that was not used for this long is over.
    pub fn idle(self) -> SignedDuration {
        match self {
            Self::Portal => SignedDuration::from_mins(60),
            Self::Console => SignedDuration::from_mins(15),
        }
    }

    /// A login is over this long after it began, used or not.
    pub fn longest(self) -> SignedDuration {
        match self {
            Self::Portal => SignedDuration::from_hours(12),
            Self::Console => SignedDuration::from_hours(8),
        }
    }
}

/// Whose login it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A user, by the account at the identity provider.
    User(UserId),
    /// Whoever opened a link that `postern owner-link` printed: an owner without a name.
    OwnerLink,
}

/// Somebody signed in with a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its id, which opens nothing.
    pub id: LoginId,
    /// Who signed in.
    pub who: Who,
    /// To which pages.
    pub surface: Surface,
    /// Which browser: family and major version.
    pub label: String,
    /// From where.
    pub address: IpAddr,
    /// Since when.
    pub since: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
}

impl Login {
    /// When it is over unless it is used again.
    pub fn ends_at(&self) -> Timestamp {
        (self.seen_at + self.surface.idle()).min(self.since + self.surface.longest())
    }
}

/// The pages that somebody may be sent to after signing in, by the first part of their path: those of the portal, then
/// those of the console.
const PAGES: &[&str] = &[
    "",
    "profiles",
    "sessions",
    "my-data",
    "help",
    "status",
    "organizations",
    "servers",
    "hosts",
    "audit",
    "jobs",
    "tokens",
    "authorities",
    "migrations",
    "settings",
    "setup",
    "users",
    "groups",
    "explain",
];

/// Where somebody goes after signing in: a path of ours, and nothing that a browser could read as another site's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnPath(Box<str>);

/// A text that is no path to return to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path that a sign-in may lead to")]
pub struct ReturnPathError;

impl ReturnPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ReturnPath {
    fn default() -> Self {
        Self("/".into())
    }
}

impl FromStr for ReturnPath {
    type Err = ReturnPathError;

    /// Takes slashes, letters, digits, `-` and `_` only: what cannot be written needs no decoding, so nobody can read
    /// it in another way than we do. No host (`//`), no scheme, no query, no percent signs, no backslash.
    fn from_str(text: &str) -> Result<Self, ReturnPathError> {
        let rest = text.strip_prefix('/').ok_or(ReturnPathError)?;
        let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b));
        let known = rest.split('/').next().is_some_and(|first| PAGES.contains(&first));
        (text.len() <= 200 && plain && known && !text.contains("//")).then(|| Self(text.into())).ok_or(ReturnPathError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_pages_of_ours_only() {
        for good in ["/", "/profiles", "/profiles/new", "/profiles/prf_01ARZ3NDEKTSV4RRFFQ69G5FAV", "/help/ios"] {
            assert_eq!(good.parse::<ReturnPath>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/profiles//evil.example",
            "/%2fevil.example",
            "/%5cevil.example",
            "/profiles/..",
            "/./evil",
            "/\tevil",
            "/\r\nLocation: //evil.example",
            "/profiles%0d%0aLocation:x",
            "/@evil.example",
            "/profiles?next=//evil.example",
            "/profiles#x",
            "/\u{2044}evil.example",
            "/ſessions",
            " /",
            "/ ",
            "evil",
            "/sign-out",
            "/p/0123",
            "/oauth/callback",
            "/api",
        ] {
            assert_eq!(bad.parse::<ReturnPath>(), Err(ReturnPathError), "{bad:?}");
        }
        assert!(format!("/help/{}", "x".repeat(200)).parse::<ReturnPath>().is_err());
    }
}
