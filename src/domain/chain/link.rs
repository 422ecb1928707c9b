//! The place of an entry in its chain, and the digests that chains are made of.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::ids::ChainId;

/// Bytes that are written as lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^([0-9a-f]{2})+$")]
pub struct Hex<const N: usize>(pub [u8; N]);

/// A SHA-256.
pub type Hash = Hex<32>;

/// An Ed25519 signature.
pub type Signature = Hex<64>;

/// The `prev` of whatever is first.
pub const NOTHING: Hash = Hex([0; 32]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| D::Error::custom(format!("must be {} lower-case hexadecimal digits", 2 * N)))
    }
}

/// An entry's place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Which chain.
    pub chain: ChainId,
    /// Its place, from 1.
    pub seq: u64,
    /// The hash of the entry before it; zeros for the first.
    #[schema(value_type = String)]
    pub prev: Hash,
    /// Its own hash.
    #[schema(value_type = String)]
    pub hash: Hash,
}
