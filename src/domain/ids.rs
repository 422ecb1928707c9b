//! One type per kind of id. An id is a ULID behind the kind's prefix (`usr_01J…`): opaque to the outside, unique
//! without coordination, and ordered by the time it was made, which lists rely on.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_…")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

/// What all kinds of ids have in common.
pub trait Id: Copy + Eq + Ord + fmt::Display + FromStr<Err = IdError> {
    /// The text before the underscore.
    const PREFIX: &'static str;

    /// An id made at `at`; `random` gives the 80 bits that make it unique.
    fn from_parts(at: Timestamp, random: u128) -> Self;
}

macro_rules! id {
    ($($(#[doc = $doc_text:literal])* $name:ident = $prefix:literal;)*) => {$(
        $(#[doc = $doc_text])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn from_parts(at: Timestamp, random: u128) -> Self {
                let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
                Self(Ulid::from_parts(millis, random))
            }
        }

        impl $name {
            /// The 16 bytes behind the text form, for hashing.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|body| Ulid::from_string(body).ok())
                    .map(Self)
                    // One text per id: lower case and other spellings that a lenient decoder takes are refused.
                    .filter(|id| id.to_string() == text)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let body = "01KAS00000000000000000000A";
                let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(concat!($($doc_text,)*).trim()));
                schema
                    .pattern(Some(concat!("^", $prefix, "_[0-7][0-9A-HJKMNP-TV-Z]{25}$")))
                    .examples([format!("{}_{body}", $prefix)])
                    .into()
            }
        }

        impl ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

id! {
    /// A set of users under one name.
    OrganizationId = "org";
    /// A person, or a named machine, of one organization.
    UserId = "usr";
    /// One issued credential: one user, one server, one device.
    ProfileId = "prf";
    /// A virtual VPN server.
    ServerId = "srv";
    /// A machine that runs `postern serve`.
    HostId = "hst";
    /// One VPN connection of one profile through one host.
    SessionId = "ses";
    /// A certificate authority.
    AuthorityId = "aut";
    /// A browser sign-in.
    LoginId = "lgn";
    /// An API token.
    TokenId = "tok";
    /// A join token.
    JoinTokenId = "jtk";
    /// An entry of the audit log.
    AuditId = "aud";
    /// A chain of the audit log: what one process recorded, in its order.
    ChainId = "chn";
    /// One running process of Postern.
    InstanceId = "ins";
    /// One HTTP request.
    RequestId = "req";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> UserId {
        UserId::from_parts(Timestamp::from_second(1_764_000_000).unwrap(), 7)
    }

    #[test]
    fn an_id_survives_its_text_form() {
        let text = sample().to_string();
        assert!(text.starts_with("usr_"));
        assert_eq!(text.parse(), Ok(sample()));
        assert_eq!(serde_json::from_str::<UserId>(&format!("{text:?}")).unwrap(), sample());
    }

    #[test]
    fn other_spellings_are_refused() {
        let text = sample().to_string();
        for bad in
            ["", "usr_", "usr_1", &text.to_lowercase(), &text.replace("usr", "org"), &format!("{text} "), "usr_'; --"]
        {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?} must not be an id");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let later = UserId::from_parts(Timestamp::from_second(1_764_000_001).unwrap(), 0);
        assert!(later > sample());
        assert!(later.to_string() > sample().to_string());
    }
}
