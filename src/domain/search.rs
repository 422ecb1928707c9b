//! What people type into the search field of a list, and how a user is found by it.
//!
//! A search is words and `key:value` pairs, separated by white space; all of them must hold. A word is the beginning of
//! any word of a name or an e-mail address, in any case. A value with white space stands in double quotes. Reading one
//! takes a single pass over a text of bounded length; nothing in it is a pattern.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use serde::Deserialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::ids::OrganizationId;
use super::role::Role;
use super::text::{Email, GroupName, Name, breaks_a_line};

/// A search has at most so many characters.
pub const LONGEST: usize = 300;

/// A search has at most so many words and pairs.
pub const MOST: usize = 12;

/// Why a search was refused; the sentence is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// Too much of it.
    #[error("must have at most {LONGEST} characters and {MOST} words")]
    TooLong,
    /// A control character.
    #[error("must not contain control characters or line breaks")]
    Control,
    /// A quote without the one that ends it.
    #[error("has a quote that is not closed")]
    Unclosed,
    /// A key that this list does not have.
    #[error("has no key “{key}”; there are {known}. Put text with a colon in quotes")]
    Key {
        /// The one that was typed.
        key: String,
        /// Those that there are.
        known: &'static str,
    },
    /// A value that its key does not take.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A key that has one value at most.
    #[error("has {key} twice")]
    Twice {
        /// The key.
        key: String,
    },
}

/// A part of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A word.
    Word(String),
    /// A key and its value.
    Pair(String, String),
}

/// The parts of a search, in their order.
///
/// # Errors
/// What is wrong with its form; keys and values are for the list to judge.
pub fn terms(text: &str) -> Result<Vec<Term>, SearchError> {
    if text.chars().count() > LONGEST {
        return Err(SearchError::TooLong);
    }
    if text.chars().any(breaks_a_line) {
        return Err(SearchError::Control);
    }
    let mut rest = text.chars().peekable();
    let mut found = Vec::new();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(found);
        }
        if found.len() == MOST {
            return Err(SearchError::TooLong);
        }
        found.push(term(&mut rest)?);
    }
}

fn term(rest: &mut Peekable<Chars<'_>>) -> Result<Term, SearchError> {
    let mut text = String::new();
    if rest.peek() != Some(&'"') {
        while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
            let is_key = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if c == ':' && is_key {
                return Ok(Term::Pair(text, value(rest)?));
            }
            text.push(c);
        }
        return Ok(Term::Word(text));
    }
    value(rest).map(Term::Word)
}

/// What stands up to the next white space, or in quotes. A backslash in quotes stands before a quote or a backslash.
fn value(rest: &mut Peekable<Chars<'_>>) -> Result<String, SearchError> {
    let mut text = String::new();
    if rest.next_if_eq(&'"').is_none() {
        while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
            text.push(c);
        }
        return Ok(text);
    }
    loop {
        match rest.next() {
            Some('"') => return Ok(text),
            Some('\\') => text.push(rest.next().ok_or(SearchError::Unclosed)?),
            Some(c) => text.push(c),
            None => return Err(SearchError::Unclosed),
        }
    }
}

/// A text as a value of a search that means just this text.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An organization as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrganizationRef {
    /// By its id.
    Id(OrganizationId),
    /// By its name.
    Name(Name),
}

/// A search among users: words, and the keys `group` (may stand several times), `role`, `state` and `org`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UserSearch {
    /// Each is the beginning of a word of the name or of the e-mail address; folded.
    pub words: Vec<String>,
    /// The user is in all of these.
    pub groups: Vec<GroupName>,
    /// What the user may do in the console.
    pub role: Option<Role>,
    /// Whether the user is disabled.
    pub disabled: Option<bool>,
    /// Whom the user belongs to.
    pub organization: Option<OrganizationRef>,
}

impl UserSearch {
    /// Those in a group.
    pub fn of_group(group: GroupName) -> Self {
        Self { groups: vec![group], ..Self::default() }
    }

    fn add(&mut self, key: String, value: &str) -> Result<(), SearchError> {
        let wrong = |reason: &dyn ToString| SearchError::Value { key: key.clone(), reason: reason.to_string() };
        let taken = match key.as_str() {
            "group" => {
                self.groups.push(value.parse().map_err(|error| wrong(&error))?);
                false
            }
            "role" => self.role.replace(value.parse().map_err(|error: String| wrong(&error))?).is_some(),
            "state" => {
                let disabled = match value {
                    "enabled" => false,
                    "disabled" => true,
                    _ => return Err(wrong(&"must be enabled or disabled")),
                };
                self.disabled.replace(disabled).is_some()
            }
            "org" => {
                let by_id = value.parse().ok().map(OrganizationRef::Id);
                let named = || value.parse().map(OrganizationRef::Name).map_err(|error| wrong(&error));
                self.organization.replace(by_id.map_or_else(named, Ok)?).is_some()
            }
            _ => return Err(SearchError::Key { key, known: "group, role, state and org" }),
        };
        if taken { Err(SearchError::Twice { key }) } else { Ok(()) }
    }
}

impl PartialSchema for UserSearch {
    fn schema() -> RefOr<Schema> {
        let about = "Words, each the beginning of a word of the name or the e-mail address, and `group:`, `role:`, `state:` \
            (`enabled` or `disabled`) and `org:` with a value; all of them hold. Values with spaces stand in double quotes.";
        let schema = ObjectBuilder::new().schema_type(Type::String).max_length(Some(LONGEST)).description(Some(about));
        schema.examples(["ana group:ops state:disabled"]).into()
    }
}

impl ToSchema for UserSearch {}

impl FromStr for UserSearch {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        let mut search = Self::default();
        for term in terms(text)? {
            match term {
                Term::Pair(key, value) => search.add(key, &value)?,
                Term::Word(word) => search.words.extend(word.split_whitespace().map(fold)),
            }
        }
        Ok(search)
    }
}

impl TryFrom<String> for UserSearch {
    type Error = SearchError;

    fn try_from(text: String) -> Result<Self, SearchError> {
        text.parse()
    }
}

/// The words that a user is found by: those of the name, with the parts of compound ones, the address, and the parts of
/// what stands before its `@`; all folded.
pub fn words_of(name: &Name, email: Option<&Email>) -> BTreeSet<String> {
    let parts = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(fold).collect()
    };
    let mut words: BTreeSet<String> = name.as_str().split_whitespace().map(fold).collect();
    words.extend(parts(name.as_str()));
    if let Some(email) = email {
        words.insert(fold(email.as_str()));
        words.extend(parts(email.local_part().as_str()));
    }
    words
}

/// A text without the difference between capital and small letters.
pub fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<UserSearch>().unwrap_err().to_string()
    }

    #[test]
    fn words_and_pairs_are_told_apart() {
        let search: UserSearch =
            r#" Ana  group:ops group:"VPN \"users\"" role:admin state:disabled org:Acme "#.parse().unwrap();
        assert_eq!(search.words, ["ana"]);
        assert_eq!(search.groups, ["ops".parse().unwrap(), "VPN \"users\"".parse().unwrap()]);
        assert_eq!((search.role, search.disabled), (Some(Role::Admin), Some(true)));
        assert_eq!(search.organization, Some(OrganizationRef::Name("Acme".parse().unwrap())));
        assert_eq!("".parse::<UserSearch>().unwrap(), UserSearch::default());
        assert_eq!(
            r#""a:b" 10:30 ana@example.com"#.parse::<UserSearch>().unwrap().words,
            ["a:b", "10:30", "ana@example.com"]
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("grup:ops", "no key “grup”; there are group, role, state and org"),
            ("role:boss", "role: must be one of owner"),
            ("state:gone", "state: must be enabled or disabled"),
            ("state:enabled state:disabled", "state twice"),
            ("group:", "group: must not be empty"),
            ("\"ana", "not closed"),
            ("group:\"a\\", "not closed"),
            ("a\u{0}", "control characters"),
        ] {
            assert!(refused(text).contains(part), "{text}: {}", refused(text));
        }
        assert!(refused(&"x".repeat(LONGEST + 1)).contains("at most 300"));
        assert!(refused(&"x ".repeat(MOST + 1)).contains("12 words"));
    }

    #[test]
    fn a_user_is_found_by_each_word_in_any_case() {
        let words = words_of(&"Zoë O'Neil-LIND".parse().unwrap(), Some(&"z.lind@example.com".parse().unwrap()));
        for word in ["Zoë", "ZOË", "o'neil-lind", "neil", "Lind", "z.lind@example.com", "z"] {
            let UserSearch { words: wanted, .. } = word.parse().unwrap();
            assert!(wanted.iter().all(|wanted| words.contains(wanted)), "{word}: {words:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(search) = text.parse::<UserSearch>() {
                prop_assert!(search.groups.len() <= MOST && search.words.iter().map(String::len).sum::<usize>() <= LONGEST * 12);
            }
        }

        #[test]
        fn a_quoted_text_is_one_value(text in "[^\\p{C}\u{2028}\u{2029}]{1,100}") {
            prop_assert_eq!(terms(&format!("x {} key:{}", quoted(&text), quoted(&text))).unwrap(), [
                Term::Word("x".to_owned()), Term::Word(text.clone()), Term::Pair("key".to_owned(), text.clone()),
            ]);
        }
    }
}
