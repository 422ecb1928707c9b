//! Sentences and numbers, as pages say them.

use std::fmt::Display;

/// "1 host", "3 hosts".
pub(crate) fn counted(count: impl Copy + Display + PartialEq + From<u8>, noun: &str) -> String {
    let is_one = count == 1.into();
    format!("{count} {noun}{}", if is_one { "" } else { "s" })
}

/// A clause of a service as a sentence of a page: with a capital letter and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
