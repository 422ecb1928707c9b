//! The trace that a request belongs to, if whoever sent it keeps one: the header `traceparent` of W3C Trace Context,
//! section 3.2. Postern makes no spans of its own; its log lines name the trace, so that they are found from there.

use std::fmt;

use axum::http::HeaderMap;

/// The id of a trace: 16 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 16]);

impl TraceId {
    /// The one that a request names. A header that is not sound counts as none, as the recommendation wants it.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all("traceparent").iter();
        match (given.next(), given.next()) {
            (Some(value), None) => Self::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    /// `version "-" trace-id "-" parent-id "-" flags`, in lower case hexadecimal digits. Versions to come may add more
    /// behind it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = digits::<1>(parts.next()?)?;
        let trace = digits::<16>(parts.next()?)?;
        let parent = digits::<8>(parts.next()?)?;
        digits::<1>(parts.next()?)?;
        let is_sound = match version {
            [0xff] => false,
            [0] => parts.next().is_none(),
            _ => true,
        };
        (is_sound && trace != [0; 16] && parent != [0; 8]).then_some(Self(trace))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_sound_header_names_its_trace() {
        for text in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-00"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later"),
        ] {
            assert_eq!(TraceId::parse(&text).unwrap().to_string(), TRACE, "{text}");
        }
    }

    #[test]
    fn anything_else_counts_as_none() {
        for text in [
            String::new(),
            TRACE.to_owned(),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!("00-{TRACE}\u{20ac}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(TraceId::parse(&text), None, "{text}");
        }
    }
}
