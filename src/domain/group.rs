//! Groups: names that users carry and that servers can be open to. A group is there as long as a user or a server names
//! it, so nothing has to be made before a name is used, and nothing is left when nobody uses it any more.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::ids::{IdError, ServerId};
use super::text::GroupName;

const PREFIX: &str = "grp";

/// The name of a group in a form that stands in any address. It is the name, so it changes with it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(GroupName);

impl GroupId {
    /// The name.
    pub fn name(&self) -> &GroupName {
        &self.0
    }
}

impl From<GroupName> for GroupId {
    fn from(name: GroupName) -> Self {
        Self(name)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}", BASE64URL_NOPAD.encode(self.0.as_str().as_bytes()))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GroupId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let name = || {
            let bytes = BASE64URL_NOPAD.decode(text.strip_prefix(PREFIX)?.strip_prefix('_')?.as_bytes()).ok()?;
            String::from_utf8(bytes).ok()?.parse().ok()
        };
        name().map(Self).ok_or(IdError { prefix: PREFIX })
    }
}

impl Serialize for GroupId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GroupId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl PartialSchema for GroupId {
    fn schema() -> RefOr<Schema> {
        let about = "A group: `grp_` and its name in base64url without padding.";
        let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        schema.pattern(Some("^grp_[A-Za-z0-9_-]+$")).examples(["grp_b3Bz"]).into()
    }
}

impl ToSchema for GroupId {}

/// A group, and who and what names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: GroupName,
    /// How many users are in it.
    pub users: u64,
    /// The servers that are open to it.
    pub servers: Vec<ServerId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_in_an_address() {
        for name in ["ops", "/company/VPN users", "CN=ops,OU=x", "Größe", "..", "a?b#c%2f"] {
            let id = GroupId::from(name.parse::<GroupName>().unwrap());
            let text = id.to_string();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{text}");
            assert_eq!(text.parse(), Ok(id));
        }
        for bad in ["", "grp_", "ops", "b3Bz", "grp_b3Bz=", "grp_/w", "grp_AA"] {
            assert!(bad.parse::<GroupId>().is_err(), "{bad}");
        }
    }
}
