//! Text that may stand in a command.

use std::fmt;

/// A sentence for the person at the other end, safe to stand inside a quoted management parameter.
///
/// Printable ASCII without `"` and `\`, 1 to [`Text::MAX`] bytes, and not one of the words by which clients recognise
/// a machine-readable refusal (`TEMP`, `CRV1:`, `SESSION:`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

/// Why a text may not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing to say.
    #[error("the text is empty")]
    Empty,
    /// OpenVPN refuses parameters over 255 bytes, and cuts lines over that silently.
    #[error("the text has {0} bytes, more than fit into one line")]
    TooLong(usize),
    /// A byte that would end the line or the quotes, or that terminals do not print.
    #[error("the text has a character that may not be sent: {0:?}")]
    Unprintable(char),
    /// A client would read it as an instruction.
    #[error("the text begins with {0}, which clients take as an instruction")]
    Reserved(&'static str),
}

/// Words that clients interpret after `AUTH_FAILED,`.
const RESERVED: [&str; 3] = ["TEMP", "CRV1:", "SESSION:"];

impl Text {
    /// The longest text in bytes: a parameter's 255, less the longest prefix we put before it.
    pub const MAX: usize = 200;

    /// Checks a text.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(TextError::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|&c| !is_safe(c)) {
            return Err(TextError::Unprintable(bad));
        }
        if let Some(word) = RESERVED.into_iter().find(|word| text.starts_with(word)) {
            return Err(TextError::Reserved(word));
        }
        Ok(Self(text))
    }
}

/// Whether a character may stand inside a quoted parameter or line.
pub(super) fn is_safe(c: char) -> bool {
    matches!(c, ' '..='~') && c != '"' && c != '\\'
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_break_a_line_is_refused() {
        for bad in ["a\nb", "a\"b", "a\\b", "a\rb", "a\0b", "caf\u{e9}", "a\u{7f}"] {
            assert!(matches!(Text::new(bad), Err(TextError::Unprintable(_))), "{bad:?}");
        }
        assert_eq!(Text::new(""), Err(TextError::Empty));
        assert_eq!(Text::new("x".repeat(201)), Err(TextError::TooLong(201)));
        assert!(Text::new("x".repeat(200)).is_ok());
    }

    #[test]
    fn text_that_a_client_would_obey_is_refused() {
        assert_eq!(Text::new("TEMP:come back"), Err(TextError::Reserved("TEMP")));
        assert_eq!(Text::new("SESSION:expired"), Err(TextError::Reserved("SESSION:")));
    }
}
