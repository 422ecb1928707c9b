//! Links, made from ids: a page cannot lead to something that is none of ours.

use std::fmt;
use std::fmt::{Display, Formatter};

use askama::filters::HtmlSafe;

use domain::group::GroupId;
use domain::ids::{HostId, JoinTokenId, OrganizationId, ServerId, SessionId, TokenId, UserId};

/// A path of the console. Paths are made of our words and of ids, which need no escaping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link(String);

/// An id whose noun has a page.
pub(crate) trait Linked: Display {
    /// Where the list of its kind is.
    const LIST: &'static str;
}

macro_rules! linked {
    ($($id:ty => $list:literal;)*) => {
        $(impl Linked for $id { const LIST: &'static str = $list; })*
    };
}

linked! {
    OrganizationId => "/organizations";
    UserId => "/users";
    GroupId => "/groups";
    SessionId => "/sessions";
    ServerId => "/servers";
    HostId => "/hosts";
    TokenId => "/tokens";
    JoinTokenId => "/hosts/join";
}

impl Link {
    /// To the page of one thing.
    pub(crate) fn to<T: Linked>(id: &T) -> Self {
        Self(format!("{}/{id}", T::LIST))
    }

    /// To the list of a kind of things.
    pub(crate) fn list<T: Linked>() -> Self {
        Self(T::LIST.to_owned())
    }

    /// To the settings of the cluster.
    pub(crate) fn settings() -> Self {
        Self("/settings".to_owned())
    }

    /// To the way from nothing to the first connection.
    pub(crate) fn setup() -> Self {
        Self("/setup".to_owned())
    }

    /// To the periodic jobs, which have words for ids.
    pub(crate) fn jobs() -> Self {
        Self("/jobs".to_owned())
    }

    /// To what is under the page of one thing, or under a list.
    pub(crate) fn and(&self, part: &'static str) -> Self {
        Self(format!("{}/{part}", self.0))
    }

    /// To something of another kind, as a part of the page of one thing.
    pub(crate) fn within<T: Linked>(&self, part: &'static str, id: &T) -> Self {
        Self(format!("{}/{part}/{id}", self.0))
    }

    /// The path.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Link {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Link {}
