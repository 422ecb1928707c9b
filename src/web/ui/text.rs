//! Words of services, as pages say them.

/// A sentence of a service as part of a page: with a capital letter, a full stop, and without the name of a field.
pub(crate) fn sentence(text: &str) -> String {
    let text = match text.split_once(": ") {
        Some((field, rest)) if field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => rest,
        _ => text,
    };
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
