//! What people call things: an id, or a name that only one of its kind has.

use serde_json::Value;

use super::Client;
use super::error::{ClientError, exit};
use super::output::at;
use crate::domain::ids::{HostId, JoinTokenId, OrganizationId, ProfileId, ServerId, SessionId, TokenId, UserId};
use crate::domain::search::quoted;
use crate::domain::text::Email;

/// A kind of thing that commands name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NounKind {
    Organization,
    User,
    Profile,
    Server,
    Host,
    Session,
    Token,
    JoinToken,
}

impl NounKind {
    /// The noun in sentences.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::User => "user",
            Self::Profile => "profile",
            Self::Server => "server",
            Self::Host => "host",
            Self::Session => "session",
            Self::Token => "API token",
            Self::JoinToken => "join token",
        }
    }

    /// Where the API keeps them.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Organization => "/organizations",
            Self::User => "/users",
            Self::Profile => "/profiles",
            Self::Server => "/servers",
            Self::Host => "/hosts",
            Self::Session => "/sessions",
            Self::Token => "/tokens",
            Self::JoinToken => "/join-tokens",
        }
    }

    fn is_id(self, text: &str) -> bool {
        match self {
            Self::Organization => text.parse::<OrganizationId>().is_ok(),
            Self::User => text.parse::<UserId>().is_ok(),
            Self::Profile => text.parse::<ProfileId>().is_ok(),
            Self::Server => text.parse::<ServerId>().is_ok(),
            Self::Host => text.parse::<HostId>().is_ok(),
            Self::Session => text.parse::<SessionId>().is_ok(),
            Self::Token => text.parse::<TokenId>().is_ok(),
            Self::JoinToken => text.parse::<JoinTokenId>().is_ok(),
        }
    }
}

impl Client {
    /// The id of what `text` names: an id as it is, or the only one with this name (or e-mail address).
    pub(super) fn find(&self, kind: NounKind, text: &str) -> Result<String, ClientError> {
        self.find_among(kind, text, &[])
    }

    /// Like [`Self::find`], among those that a query of the list lets through.
    pub(super) fn find_among(
        &self,
        kind: NounKind,
        text: &str,
        query: &[(&str, String)],
    ) -> Result<String, ClientError> {
        if kind.is_id(text) {
            return Ok(text.to_owned());
        }
        let mut query = query.to_vec();
        if kind == NounKind::User {
            let by_address = text.parse::<Email>().is_ok();
            query.push(if by_address { ("email", text.to_owned()) } else { ("q", quoted(text)) });
        }
        let wanted = text.to_lowercase();
        let is_called = |item: &Value| {
            let called = |field| at(item, field).as_str().is_some_and(|name| name.to_lowercase() == wanted);
            called("name") || called("email") || called("host_name")
        };
        let mut found = Vec::new();
        self.each_page(kind.path(), &query, None, None, |items, _next| {
            found.extend(items.into_iter().filter(is_called));
            Ok(())
        })?;
        match found.as_slice() {
            [] => Err(ClientError::new(exit::NOT_FOUND, format!("there is no {} called {text}", kind.noun()))),
            [one] => Ok(at(one, "id").as_str().unwrap_or_default().to_owned()),
            several => {
                let sentence = format!("{} {}s are called {text}: say which by its id", several.len(), kind.noun());
                Err(ClientError::usage(sentence).with(several.iter().take(20).map(candidate)))
            }
        }
    }

    /// The id of what `text` names, if something was given.
    pub(super) fn find_given(&self, kind: NounKind, text: Option<&str>) -> Result<Option<String>, ClientError> {
        text.map(|text| self.find(kind, text)).transpose()
    }

    /// The ids of several.
    pub(super) fn find_all(&self, kind: NounKind, texts: &[String]) -> Result<Vec<String>, ClientError> {
        texts.iter().map(|text| self.find(kind, text)).collect()
    }

    /// What people call the thing with this id, for tables; the id itself where that cannot be found out.
    pub(super) fn name_of(&self, kind: NounKind, id: &str) -> String {
        if let Some(known) = self.names.borrow().get(id) {
            return known.clone();
        }
        let found =
            self.api.send(&super::api::Ask::get(&format!("{}/{id}", kind.path()))).and_then(|answer| answer.json());
        let called = |object: &Value| {
            let field = if kind == NounKind::User { "email" } else { "name" };
            at(object, field).as_str().or_else(|| at(object, "name").as_str()).map(str::to_owned)
        };
        let name = found.ok().as_ref().and_then(called).unwrap_or_else(|| id.to_owned());
        self.names.borrow_mut().insert(id.to_owned(), name.clone());
        name
    }
}

fn candidate(item: &Value) -> String {
    let email = at(item, "email").as_str().map(|email| format!(" {email}")).unwrap_or_default();
    format!("{} {}{email}", at(item, "id").as_str().unwrap_or_default(), at(item, "name").as_str().unwrap_or_default())
}
