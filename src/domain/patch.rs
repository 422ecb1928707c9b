//! What a merge patch (RFC 7396) says of a field.

use serde::{Deserialize, Deserializer};

/// A field of a merge patch (RFC 7396) that may be removed: absent, `null`, or a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Removable<T> {
    /// It stays as it is.
    #[default]
    Kept,
    /// It goes.
    Removed,
    /// It becomes this.
    Set(T),
}

impl<T: Clone> Removable<T> {
    /// What becomes of the field.
    pub fn over(&self, before: Option<&T>) -> Option<T> {
        match self {
            Self::Kept => before.cloned(),
            Self::Removed => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

/// No value: a field that a patch may only remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Never {}

impl Removable<Never> {
    /// What becomes of a field that can only be removed.
    pub fn unless_removed<T: Clone>(&self, before: Option<&T>) -> Option<T> {
        match self {
            Self::Kept => before.cloned(),
            Self::Removed => None,
            Self::Set(never) => match *never {},
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Removable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(Self::from)
    }
}

impl<T> From<Option<T>> for Removable<T> {
    /// The change to exactly this.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Removed, Self::Set)
    }
}

/// For a field of a merge patch that may not be removed: `null` is refused, not passed over.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
