//! What people type into the search field of the sessions.
//!
//! It is read like a search among users, of which the sessions are: words, and the keys `user`, `server` and `host`. What
//! a key names is a name, a mailbox or an id; who and what that is, is for the caller to look up.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::ids::UserId;
use super::search::{LONGEST, SearchError, Term, UserSearch, fold, terms};

/// A search among sessions: words that find their users, and the keys `user`, `server` and `host`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SessionSearch {
    /// Each is the beginning of a word of the user's name or mailbox; folded.
    pub words: Vec<String>,
    /// Just this user.
    pub user: Option<UserId>,
    /// The name of the server, or its id.
    pub server: Option<String>,
    /// The name of the host, or its id.
    pub host: Option<String>,
}

impl SessionSearch {
    /// Whether it lets everything through.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whose sessions, as a search among users; nothing where it can be anybody's.
    pub fn users(&self) -> Option<UserSearch> {
        (!self.words.is_empty()).then(|| UserSearch { words: self.words.clone(), ..UserSearch::default() })
    }

    fn add(&mut self, key: String, value: String) -> Result<(), SearchError> {
        if value.trim().is_empty() {
            return Err(SearchError::Value { key, reason: "must not be empty".to_owned() });
        }
        let taken = match key.as_str() {
            "user" => match value.parse() {
                Ok(id) => self.user.replace(id).is_some(),
                Err(_a_name) => {
                    self.words.extend(value.split_whitespace().map(fold));
                    false
                }
            },
            "server" => self.server.replace(value).is_some(),
            "host" => self.host.replace(value).is_some(),
            _ => return Err(SearchError::Key { key, known: "user, server and host" }),
        };
        if taken { Err(SearchError::Twice { key }) } else { Ok(()) }
    }
}

impl FromStr for SessionSearch {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        let mut search = Self::default();
        for term in terms(text)? {
            match term {
                Term::Pair(key, value) => search.add(key, value)?,
                Term::Word(word) => search.words.extend(word.split_whitespace().map(fold)),
            }
        }
        Ok(search)
    }
}

impl TryFrom<String> for SessionSearch {
    type Error = SearchError;

    fn try_from(text: String) -> Result<Self, SearchError> {
        text.parse()
    }
}

impl PartialSchema for SessionSearch {
    fn schema() -> RefOr<Schema> {
        let about = "Words, each the beginning of a word of the user\u{2019}s name or e-mail address, and `user:`, `server:` \
            and `host:` with a name or an id; all of them hold. Values with spaces stand in double quotes.";
        let schema = ObjectBuilder::new().schema_type(Type::String).max_length(Some(LONGEST)).description(Some(about));
        schema.examples(["user:ana server:office host:vpn-2"]).into()
    }
}

impl ToSchema for SessionSearch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_servers_and_hosts_are_told_apart() {
        let search: SessionSearch = "Ana user:\"Maria Lind\" server:\"Main office\" host:vpn-2".parse().unwrap();
        assert_eq!(search.words, ["ana", "maria", "lind"]);
        assert_eq!((search.server.as_deref(), search.host.as_deref()), (Some("Main office"), Some("vpn-2")));
        assert_eq!(search.users().unwrap().words, search.words);
        let id = "usr_01KAS00000000000000000000A";
        assert_eq!(format!("user:{id}").parse::<SessionSearch>().unwrap().user, Some(id.parse().unwrap()));
        assert!("".parse::<SessionSearch>().unwrap().is_all());
        assert_eq!("host:x".parse::<SessionSearch>().unwrap().users(), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("group:ops", "no key “group”; there are user, server and host"),
            ("host:a host:b", "host twice"),
            ("server:", "server: must not be empty"),
        ] {
            let refused = text.parse::<SessionSearch>().unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
